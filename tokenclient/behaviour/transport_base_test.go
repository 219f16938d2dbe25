package behaviour_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestBaseAnswersNothing: a RoundTripper that breaks its contract is named, and neither a
// panic nor the end of a session.
func TestBaseAnswersNothing(t *testing.T) {
	nothing := sessiontest.RoundTrip(func(*http.Request) (*http.Response, error) { return nil, nil })
	for name, change := range map[string]func(*tokenclient.Config){
		"rejected by status": nil,
		"rejected by function": func(c *tokenclient.Config) {
			c.Rejected = func(resp *http.Response) bool { return resp.StatusCode == 403 }
		},
		"renewed": func(c *tokenclient.Config) {
			c.Renewed = func(resp *http.Response) (*tokenclient.Token, bool) { return nil, resp.StatusCode == 200 }
		},
	} {
		s := sessiontest.LoggedIn(t, change)
		for _, to := range []string{sessiontest.URL, "https://other.example.com/"} {
			_, err := s.Wrap(&http.Client{Transport: nothing}).Get(to)
			if err == nil || !strings.Contains(err.Error(), "sessiontest.RoundTrip, returned neither a response nor an error") {
				t.Errorf("%s, %s: error %v", name, to, err)
			}
		}
	}
	sessiontest.Bubble(t, "token endpoint", func(t *testing.T) {
		for name, endpoint := range map[string]func(srv *tokentest.Server, c *http.Client) tokenclient.Refresher{
			"OAuth2": func(srv *tokentest.Server, c *http.Client) tokenclient.Refresher {
				r := srv.OAuth2Refresher()
				r.HTTPClient = c
				return r
			},
			"JSON": func(srv *tokentest.Server, c *http.Client) tokenclient.Refresher {
				r := srv.JSONRefresher()
				r.HTTPClient = c
				return r
			},
		} {
			client := &http.Client{Transport: nothing}
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
				c.Refresher = endpoint(srv, client)
			})
			r.Login(t)
			_, err := r.Session.Refresh(t.Context())
			if sessiontest.WantTransient(t, name, err); !strings.Contains(err.Error(), "sessiontest.RoundTrip, returned neither a response nor an error") {
				t.Errorf("%s: %v", name, err)
			}
			client.Transport = r.Server.Client().Transport
			time.Sleep(time.Minute)
			r.Server.RevokeAccess("alice")
			r.WantGet(t, 200)
		}
	})
}

// TestBaseAnswersWithoutBody: an answer whose Body is nil, as fakes of tests make them, is one
// with nothing in it, also for a request that ends while it waits for something.
func TestBaseAnswersWithoutBody(t *testing.T) {
	refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
		return sessiontest.Pair("refreshed", "refresh", time.Hour), nil
	}
	for name, tc := range map[string]struct {
		header string
		stepUp func(context.Context, *tokenclient.Session, tokenclient.Demand) error
	}{
		"young": {},
		"step-up": {demandsScope, func(ctx context.Context, _ *tokenclient.Session, _ tokenclient.Demand) error {
			<-ctx.Done()
			return ctx.Err()
		}},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			r := sessiontest.NewFake(t, refresh, func(req *http.Request) (*http.Response, error) {
				resp := sessiontest.Reply(req, 401)
				resp.Body = nil
				if tc.header != "" {
					resp.Header.Set("Www-Authenticate", tc.header)
				}
				return resp, nil
			}, func(c *tokenclient.Config) { c.StepUp = tc.stepUp })
			r.Give(t, sessiontest.Pair("login", "refresh", time.Hour))
			if _, err := r.Session.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			_, err := r.Get(ctx)
			sessiontest.WantErr(t, "GET", err, context.Canceled)
			time.Sleep(10 * time.Second)
			if tc.stepUp == nil {
				r.WantGet(t, 401)
			}
		})
	}
}

// foreign is a wrapper of another package, that looks up http.DefaultTransport when it is
// used, as that of x/oauth2 does.
var foreign = sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(req.Clone(req.Context()))
})

// wrapper hands each request to the RoundTripper that it holds.
type wrapper struct{ http.RoundTripper }

// TestBaseLeadsBack: a Transport that becomes http.DefaultTransport with nothing beneath it
// says so, and says what to write; one with something beneath it works.
func TestBaseLeadsBack(t *testing.T) {
	network := http.DefaultTransport
	defer func() { http.DefaultTransport = network }()
	for name, tc := range map[string]struct {
		install func(s *tokenclient.Session, base http.RoundTripper)
		works   bool
	}{
		"nil": {func(s *tokenclient.Session, _ http.RoundTripper) {
			http.DefaultTransport = s.Transport(nil)
		}, false},
		"client": {func(s *tokenclient.Session, _ http.RoundTripper) {
			http.DefaultTransport = s.Client().Transport
		}, false},
		"twice": {func(s *tokenclient.Session, _ http.RoundTripper) {
			http.DefaultTransport = s.Wrap(s.Client()).Transport
		}, false},
		"in a foreign one": {func(s *tokenclient.Session, _ http.RoundTripper) {
			http.DefaultTransport = wrapper{s.Transport(nil)}
		}, false},
		"around a foreign one": {func(s *tokenclient.Session, _ http.RoundTripper) {
			http.DefaultTransport = s.Transport(foreign)
		}, false},
		"around a foreign one, in a foreign one": {func(s *tokenclient.Session, _ http.RoundTripper) {
			http.DefaultTransport = wrapper{s.Transport(wrapper{s.Transport(foreign)})}
		}, false},
		"itself": {func(s *tokenclient.Session, _ http.RoundTripper) {
			own := s.Transport(nil)
			own.Base = s.Transport(own)
			http.DefaultTransport = own
		}, false},
		"what was there": {func(s *tokenclient.Session, base http.RoundTripper) {
			http.DefaultTransport = s.Transport(base)
		}, true},
		"what was there, twice": {func(s *tokenclient.Session, base http.RoundTripper) {
			http.DefaultTransport = s.Transport(base)
			http.DefaultTransport = s.Transport(http.DefaultTransport)
		}, true},
		"foreign ones": {func(s *tokenclient.Session, base http.RoundTripper) {
			http.DefaultTransport = wrapper{s.Transport(wrapper{base})}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			http.DefaultTransport = network
			r := sessiontest.New(t, nil, func(c *tokenclient.Config, srv *tokentest.Server) {
				refresher := srv.OAuth2Refresher()
				refresher.HTTPClient = nil // http.DefaultClient
				c.Refresher = refresher
			})
			r.Login(t)
			r.Server.RevokeAccess("alice")
			tc.install(r.Session, r.Server.Client().Transport)
			for client, c := range map[string]*http.Client{"http.DefaultClient": http.DefaultClient, "Session.Client": r.Session.Client()} {
				for _, path := range []string{"/api/", "/elsewhere"} {
					body := sessiontest.NewBody("body")
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Server.URL+path, body)
					if err != nil {
						t.Fatal(err)
					}
					if path == "/elsewhere" {
						req = req.WithContext(tokenclient.WithoutToken(t.Context()))
					}
					resp, err := c.Do(req)
					if !tc.works {
						wantLeadsBack(t, client+path, err)
						if body.Closed.Load() == 0 {
							t.Errorf("%s%s: the body was not closed", client, path)
						}
						continue
					}
					if err != nil {
						t.Errorf("%s%s: %v", client, path, err)
						continue
					}
					if want := map[string]int{"/api/": 200, "/elsewhere": 404}[path]; resp.StatusCode != want || resp.Request != req {
						t.Errorf("%s%s: status %d, want %d; the caller's request: %v", client, path, resp.StatusCode, want, resp.Request == req)
					}
					resp.Body.Close()
				}
				c.CloseIdleConnections()
			}
			if _, err := r.Session.Refresh(t.Context()); tc.works {
				if err != nil {
					t.Errorf("Refresh: %v", err)
				}
			} else {
				wantLeadsBack(t, "Refresh", err)
				sessiontest.WantTransient(t, "Refresh", err)
			}
		})
	}
}

func wantLeadsBack(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "leads back to the Transport itself") ||
		!strings.Contains(err.Error(), "http.DefaultTransport = session.Transport(http.DefaultTransport)") {
		t.Errorf("%s: error %v", what, err)
	}
}

// TestBaseSeesTheContext: what the Transport adds to a request for a wrapper that may lead
// back is nothing that Base or the caller would miss.
func TestBaseSeesTheContext(t *testing.T) {
	network := http.DefaultTransport
	defer func() { http.DefaultTransport = network }()
	type key struct{}
	seen := 0
	base := sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		if req.Context().Value(key{}) != "caller's" {
			return nil, errors.New("the caller's context is lost")
		}
		seen++
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
	})
	http.DefaultTransport = wrapper{base}
	client := sessiontest.LoggedIn(t, nil).Client()
	for _, to := range []string{sessiontest.URL, "https://other.example.com/"} {
		req, err := http.NewRequestWithContext(context.WithValue(t.Context(), key{}, "caller's"), http.MethodGet, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Request != req {
			t.Errorf("%s: the answer is to another request", to)
		}
	}
	if seen != 2 {
		t.Errorf("%d requests", seen)
	}
}

// TestBaseProxyBehindAnother: a Transport over another one finds the proxy that would read
// the token.
func TestBaseProxyBehindAnother(t *testing.T) {
	proxied := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example.com:3128"})}
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{"http://localhost:1"} })
	for name, base := range map[string]http.RoundTripper{"once": proxied, "twice": s.Transport(proxied)} {
		_, err := s.Wrap(&http.Client{Transport: base}).Get("http://localhost:1/")
		if err == nil || !strings.Contains(err.Error(), "could read the token") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
