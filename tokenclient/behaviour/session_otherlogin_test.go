package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestOtherLogin: a request that began with alice's login, and that has to wait for a token
// or is refused, is not sent with that of another login, unless it is known to be alice's
// too. The next request is. It does not matter which process logged in; but if it was another
// one, and the request had not been sent, and the login is found at once, then it was there
// before.
func TestOtherLogin(t *testing.T) {
	const (
		refused = "refused"
		expired = "expired, and it waits"
		idle    = "expired"
	)
	for name, relogin := range map[string]func(t *testing.T, here, there *sessiontest.Rig, next *tokenclient.Token){
		"another process, after a logout": func(t *testing.T, _, there *sessiontest.Rig, next *tokenclient.Token) {
			there.Logout(t)
			there.Give(t, next)
		},
		"another process, alone": func(t *testing.T, _, there *sessiontest.Rig, next *tokenclient.Token) { there.Give(t, next) },
		"this process, alone":    func(t *testing.T, here, _ *sessiontest.Rig, next *tokenclient.Token) { here.Give(t, next) },
	} {
		for _, why := range []string{refused, expired, idle} {
			for user, tc := range map[string]struct {
				opaque bool
				known  bool
			}{"bob": {}, "alice": {known: true}, "opaque": {opaque: true}} {
				sessiontest.Bubble(t, name+"/"+why+"/"+user, func(t *testing.T) {
					shared := sessiontest.Kept(&callingStore{Store: new(store.Memory)})
					var here *sessiontest.Rig
					reached, goOn := make(chan struct{}), make(chan struct{})
					held := false
					here = sessiontest.New(t, &tokentest.Options{InMemory: true, Opaque: tc.opaque}, func(c *tokenclient.Config, srv *tokentest.Server) {
						shared(c, srv)
						st := c.Store.(*callingStore)
						next := *st
						next.refresh = func(context.Context) error {
							if !held { // where the other login comes in between
								held = true
								close(reached)
								<-goOn
							}
							return nil
						}
						c.Store = &next
					})
					there := here.Another(t, shared)
					here.Login(t)
					here.WantGet(t, 200)
					if why == refused {
						here.Server.RevokeAccess("alice")
					} else {
						time.Sleep(20 * time.Minute)
					}

					type answer struct {
						status int
						err    error
					}
					answers := make(chan answer, 1)
					go func() {
						status, err := here.Get(t.Context())
						answers <- answer{status, err}
					}()
					<-reached
					synctest.Wait()
					relogin(t, here, there, here.Server.Issue(map[bool]string{true: "bob", false: "alice"}[user == "bob"]))
					if why == expired {
						time.Sleep(2 * time.Second)
					}
					close(goOn)
					a := <-answers
					same := tc.known || why == idle && name != "this process, alone"
					switch {
					case same && (a.err != nil || a.status != 200):
						t.Errorf("status %d, error %v", a.status, a.err)
					case !same:
						sessiontest.WantErr(t, "GET", a.err, tokenclient.ErrReplaced)
						if errors.Is(a.err, tokenclient.ErrLoginRequired) {
							t.Errorf("%v: nobody has to log in", a.err)
						}
					}
					here.WantGet(t, 200)
				})
			}
		}
	}
}

// TestOtherLoginToken: who asks for a token, and has sent nothing with one before, gets that
// of the new login.
func TestOtherLoginToken(t *testing.T) {
	for name, ask := range map[string]func(*tokenclient.Session, context.Context) (*tokenclient.Token, error){
		"Token": (*tokenclient.Session).Token, "Refresh": (*tokenclient.Session).Refresh,
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			r := sessiontest.New(t, slow(), nil)
			r.Login(t)
			time.Sleep(20 * time.Minute)
			bob := r.Server.Issue("bob")
			go func() {
				time.Sleep(time.Second)
				if err := r.Session.SetToken(context.Background(), bob); err != nil {
					t.Error(err)
				}
			}()
			if got, err := ask(r.Session, t.Context()); err != nil || got.AccessToken != bob.AccessToken {
				t.Errorf("%v, error %v; want bob's", got, err)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestOtherLoginRefreshRejected: what is tried again in the place of a refused call is not
// tried as somebody else.
func TestOtherLoginRefreshRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, slow(), nil)
		alice := r.Login(t)
		go func() {
			time.Sleep(time.Second)
			if err := r.Session.SetToken(context.Background(), r.Server.Issue("bob")); err != nil {
				t.Error(err)
			}
		}()
		held, err := r.Session.Token(t.Context())
		if err != nil || held.AccessToken != alice.AccessToken {
			t.Fatal(held, err)
		}
		got, err := r.Session.RefreshRejected(t.Context(), held)
		if sessiontest.WantErr(t, "RefreshRejected", err, tokenclient.ErrReplaced); got != nil {
			t.Errorf("a token: %v", got)
		}
		time.Sleep(time.Minute)
	})
}

// TestOtherLoginDuringThePresentation: another process logs in while the token endpoint is at
// work. A request that waited, and was not sent before, has begun before that.
func TestOtherLoginDuringThePresentation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := sessiontest.Kept(new(store.Memory))
		here := sessiontest.New(t, &tokentest.Options{InMemory: true, Latency: 500 * time.Millisecond}, kept)
		there := here.Another(t, kept)
		here.Login(t)
		time.Sleep(20 * time.Minute)
		go func() {
			time.Sleep(100 * time.Millisecond)
			if err := there.Session.SetToken(context.Background(), here.Server.Issue("bob")); err != nil {
				t.Error(err)
			}
		}()
		_, err := here.Get(t.Context())
		sessiontest.WantErr(t, "GET", err, tokenclient.ErrReplaced)
		here.WantGet(t, 200)
	})
}

// TestOtherLoginAudience: a login is that of all audiences, and so is what follows for the
// requests of each.
func TestOtherLoginAudience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, slow(), func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Audiences = []tokenclient.Audience{{Name: "api", Origins: c.Origins, Refresher: c.Refresher}}
			c.Origins = []string{"https://other.example.com"}
		})
		r.Login(t)
		go func() {
			time.Sleep(time.Second)
			if err := r.Session.SetToken(context.Background(), r.Server.Issue("bob")); err != nil {
				t.Error(err)
			}
		}()
		_, err := r.Get(t.Context()) // waits for its first token
		sessiontest.WantErr(t, "GET", err, tokenclient.ErrReplaced)
		time.Sleep(time.Minute)
		r.WantGet(t, 200)
	})
}

// TestOtherLoginHeader: a client that goes on to send alice's token itself sends it for alice.
// It is not the session's any more, and does not become bob's.
func TestOtherLoginHeader(t *testing.T) {
	for name, relogin := range map[string]func(t *testing.T, here, there *sessiontest.Rig){
		"this process": func(t *testing.T, here, _ *sessiontest.Rig) { here.Give(t, here.Server.Issue("bob")) },
		"another process": func(t *testing.T, here, there *sessiontest.Rig) {
			there.Give(t, here.Server.Issue("bob"))
			if _, err := here.Session.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"after the end": func(t *testing.T, here, there *sessiontest.Rig) {
			there.Logout(t)
			if _, err := here.Session.Refresh(t.Context()); err == nil {
				t.Fatal("the session goes on after another process's logout")
			}
			here.Give(t, here.Server.Issue("bob"))
		},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			kept := sessiontest.Kept(new(store.Memory))
			here := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
				r := srv.OAuth2Refresher()
				r.RevocationURL = "" // alice's token goes on to work
				c.Refresher = r
				kept(c, srv)
			})
			there := here.Another(t, func(c *tokenclient.Config, srv *tokentest.Server) {
				r := srv.OAuth2Refresher()
				r.RevocationURL = ""
				c.Refresher = r
				kept(c, srv)
			})
			alice := here.Login(t)
			relogin(t, here, there)
			sends := &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
				r := req.Clone(req.Context())
				r.Header.Set("Authorization", "Bearer "+alice.AccessToken)
				return here.Client.Transport.RoundTrip(r)
			})}
			for client, want := range map[*http.Client]string{sends: "alice", here.Client: "bob"} {
				if got, err := sessiontest.Subject(t.Context(), client, here.Server.URL); err != nil || got != want {
					t.Errorf("sent as %q, error %v; want %s", got, err, want)
				}
			}
		})
	}
}

// slowLoads is a Store that takes a second to be read.
type slowLoads struct{ tokenclient.Store }

func (s slowLoads) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	time.Sleep(time.Second)
	return s.Store.Load(ctx, key)
}

// TestOtherLoginWhileWaiting: a request that has not been sent, and waits for the refresh of a token
// that others were refused with, or for a look at the store, does not go out for who logs in meanwhile.
func TestOtherLoginWhileWaiting(t *testing.T) {
	for _, refresher := range []bool{true, false} {
		for name, c := range map[string]struct {
			logout, login bool
			want          error
		}{
			"login":            {login: true, want: tokenclient.ErrReplaced},
			"logout":           {logout: true, want: tokenclient.ErrLoginRequired},
			"logout and login": {logout: true, login: true, want: tokenclient.ErrLoggedOut},
		} {
			sessiontest.Bubble(t, fmt.Sprintf("%s, Refresher %v", name, refresher), func(t *testing.T) {
				refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
					time.Sleep(10 * time.Second)
					return sessiontest.Pair("alice-2", "refresh-2", time.Hour), nil
				}
				var sent []string
				serve := func(req *http.Request) (*http.Response, error) {
					token := req.Header.Get("Authorization")
					if req.Method == http.MethodPost {
						sent = append(sent, token)
					}
					if token == "Bearer alice" {
						return sessiontest.Reply(req, 401), nil
					}
					return sessiontest.Reply(req, 200), nil
				}
				r := sessiontest.NewFake(t, refresh, serve, func(cfg *tokenclient.Config) {
					if !refresher {
						cfg.Refresher, cfg.Renewed = nil, tokenclient.RenewedHeader("X-Token")
						cfg.Store, cfg.Key = slowLoads{new(store.Memory)}, "alice"
					}
				})
				r.Give(t, sessiontest.Pair("alice", "refresh-1", time.Minute))
				if refresher {
					go func() { _, _ = r.Get(t.Context()) }() // is refused, and has the token refreshed
				} else {
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				waiting := make(chan error)
				go func() {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Server.URL+"/api/", nil)
					if err == nil {
						var resp *http.Response
						if resp, err = r.Client.Do(req); err == nil {
							_ = resp.Body.Close()
						}
					}
					waiting <- err
				}()
				synctest.Wait()
				if c.logout {
					r.Logout(t)
				}
				if c.login {
					r.Give(t, sessiontest.Pair("bob", "refresh-9", time.Hour))
				}
				sessiontest.WantErr(t, "POST", <-waiting, c.want)
				if len(sent) > 0 {
					t.Errorf("sent with %q", sent)
				}
				time.Sleep(time.Minute)
			})
		}
	}
}
