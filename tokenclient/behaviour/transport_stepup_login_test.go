package behaviour_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestStepUpAndAnotherUser: a request of one user is never sent for the next one, whenever a
// logout and a login come between it and a step-up: StepUp vouches for the login that it
// made, and for no later one.
func TestStepUpAndAnotherUser(t *testing.T) {
	other := func(ctx context.Context, t *testing.T, s *tokenclient.Session) {
		t.Helper()
		if err := s.Logout(ctx); err != nil {
			t.Error(err)
		}
		if err := s.SetToken(ctx, sessiontest.Pair("strong-other", "refresh-9", time.Hour)); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		slow time.Duration // of the second request's answer
		then time.Duration // when the other one logs in
	}{
		"after the step-up":  {20 * time.Second, 15 * time.Second},
		"during the step-up": {2 * time.Second, 5 * time.Second},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			api := &demandingAPI{status: 403, header: demandsScope}
			var mu sync.Mutex // guards crossed
			var crossed []string
			serve := func(req *http.Request) (*http.Response, error) {
				from, token := req.URL.Query().Get("from"), req.Header.Get("Authorization")
				if from != "" && strings.Contains(token, "other") {
					mu.Lock()
					crossed = append(crossed, from+" with "+token)
					mu.Unlock()
				}
				if from == "slow" && !strings.Contains(token, "strong") {
					time.Sleep(c.slow)
				}
				return api.serve(req)
			}
			r := sessiontest.NewFake(t, sessiontest.Refresher().Refresh, serve, func(cfg *tokenclient.Config) {
				cfg.StepUp = func(ctx context.Context, s *tokenclient.Session, _ tokenclient.Demand) error {
					time.Sleep(10 * time.Second) // a person
					if name == "during the step-up" {
						return nil // it sees a token that is strong enough, and takes it for its own
					}
					return s.SetToken(ctx, sessiontest.Pair("strong", "refresh-2", time.Hour))
				}
			})
			r.Give(t, sessiontest.Pair("good", "refresh-1", time.Hour))
			done := make(chan struct{})
			for _, from := range []string{"first", "slow"} {
				go func() {
					defer func() { done <- struct{}{} }()
					resp, err := r.Client.Get(sessiontest.FakeAPI + "/files?from=" + from)
					if err == nil {
						_ = resp.Body.Close()
					} else if !errors.Is(err, tokenclient.ErrReplaced) {
						t.Errorf("%s: %v", from, err)
					}
				}()
			}
			time.Sleep(c.then)
			other(t.Context(), t, r.Session)
			<-done
			<-done
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			for _, what := range crossed {
				t.Errorf("sent %s", what)
			}
		})
	}
}

// TestStepUpVouchesForItsOwn: a login that comes between StepUp's own and its return is not
// vouched for.
func TestStepUpVouchesForItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		r := stepUpRig(t, api, "good", func(ctx context.Context, s *tokenclient.Session, _ tokenclient.Demand) error {
			if err := s.SetToken(ctx, sessiontest.Pair("strong", "refresh-2", time.Hour)); err != nil {
				return err
			}
			return s.SetToken(context.WithoutCancel(t.Context()), sessiontest.Pair("strong-other", "refresh-9", time.Hour))
		})
		if status, _, err := post(t, t.Context(), r.Client, strings.NewReader("body")); status != 403 || err != nil {
			t.Errorf("%d %v", status, err)
		}
		if n := api.requests(); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestStepUpOvertaken: a StepUp that ends after a logout logs nobody in, and the next user is
// asked in his own right, at once.
func TestStepUpOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		var calls atomic.Int32
		end, ended := make(chan struct{}), make(chan error, 1)
		r := stepUpRig(t, api, "good", func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
			if calls.Add(1) > 1 {
				return loginWith("strong-other")(ctx, s, d)
			}
			<-end
			err := loginWith("strong")(ctx, s, d)
			ended <- err
			return err
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			if status, _, err := post(t, t.Context(), r.Client, strings.NewReader("first")); status != 403 || err != nil {
				t.Errorf("from before the logout: %d %v", status, err)
			}
		})
		synctest.Wait()
		if err := r.Session.Logout(t.Context()); err != nil {
			t.Error(err)
		}
		r.Give(t, sessiontest.Pair("good-other", "refresh-8", time.Hour))
		if status, _, err := post(t, t.Context(), r.Client, strings.NewReader("second")); status != 200 || err != nil {
			t.Errorf("the next user: %d %v", status, err)
		}
		close(end)
		wg.Wait()
		if err := <-ended; !errors.Is(err, tokenclient.ErrLoggedOut) {
			t.Errorf("SetToken after the logout: %v", err)
		}
		if now, err := r.Session.Peek(t.Context()); err != nil || now.AccessToken != "strong-other" {
			t.Errorf("in the end: %+v, %v", now, err)
		}
	})
}

// TestStepUpTwice: what two step-ups of one user log in at the same time is that user's, and neither is
// in the way of the other.
func TestStepUpTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logins atomic.Int32
		serve := func(req *http.Request) (*http.Response, error) {
			if strings.Contains(req.Header.Get("Authorization"), "strong") {
				return sessiontest.Reply(req, 200), nil
			}
			resp := sessiontest.Reply(req, 403)
			resp.Header.Set("Www-Authenticate", `Bearer error="insufficient_scope", scope="`+req.URL.Query().Get("scope")+`"`)
			return resp, nil
		}
		r := sessiontest.NewFake(t, sessiontest.Refresher().Refresh, serve, func(c *tokenclient.Config) {
			c.StepUp = func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
				time.Sleep(time.Duration(len(d.Scope)) * time.Second)
				err := s.SetToken(ctx, sessiontest.Pair(fmt.Sprint("strong-", logins.Add(1)), "refresh-2", time.Hour))
				time.Sleep(10 * time.Second)
				return err
			}
		})
		r.Give(t, sessiontest.Pair("good", "refresh-1", time.Hour))
		var wg sync.WaitGroup
		for _, scope := range []string{"a", "bc"} {
			wg.Go(func() {
				resp, err := r.Client.Get(sessiontest.FakeAPI + "/?scope=" + scope)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("%s: %d", scope, resp.StatusCode)
				}
			})
		}
		wg.Wait()
		if logins.Load() != 2 {
			t.Errorf("%d logins", logins.Load())
		}
	})
}

// TestStepUpAfterTheEnd: a StepUp that logs in after Close is told that, as anybody is.
func TestStepUpAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, ended := make(chan struct{}), make(chan error, 1)
		r := stepUpRig(t, &demandingAPI{status: 403, header: demandsScope}, "good", func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
			<-end
			ended <- loginWith("strong")(context.WithoutCancel(ctx), s, d)
			return nil
		})
		var wg sync.WaitGroup
		wg.Go(func() {
			if status, _, err := post(t, t.Context(), r.Client, strings.NewReader("body")); status != 403 || err != nil {
				t.Errorf("%d %v", status, err)
			}
		})
		synctest.Wait()
		wg.Go(func() { sessiontest.Close(t, r.Session) })
		synctest.Wait()
		close(end)
		sessiontest.WantErr(t, "SetToken after Close", <-ended, tokenclient.ErrClosed)
		wg.Wait()
	})
}

// TestStepUpInDo: a context of Do goes on with the login that a StepUp has vouched for, within Do and
// beyond it, as requests do.
func TestStepUpInDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := stepUpRig(t, &demandingAPI{status: 403, header: demandsScope}, "good", loginWith("strong"))
		creds := r.Session.PerRPCCredentials()
		check := func(ctx context.Context) {
			t.Helper()
			md, err := creds.GetRequestMetadata(ctx, sessiontest.FakeAPI+"/x")
			if err != nil || md["authorization"] != "Bearer strong" {
				t.Errorf("%s, %v", md["authorization"], err)
			}
			if err := r.Session.Do(ctx, func(_ context.Context, token *tokenclient.Token) error {
				if token.AccessToken != "strong" {
					t.Errorf("Do with that context: %s", token.AccessToken)
				}
				return nil
			}); err != nil {
				t.Errorf("Do with that context: %v", err)
			}
		}
		var kept context.Context
		if err := r.Session.Do(t.Context(), func(ctx context.Context, _ *tokenclient.Token) error {
			kept = ctx
			if status, _, err := post(t, t.Context(), r.Client, strings.NewReader("body")); status != 200 || err != nil {
				t.Errorf("%d %v", status, err)
			}
			check(ctx)
			return nil
		}); err != nil {
			t.Error(err)
		}
		check(kept)
	})
}

// TestStepUpDecided: who waits to learn whether StepUp vouches goes on when it has returned, and not
// only when the token of the audience has come that the step-up was for.
func TestStepUpDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serve := func(req *http.Request) (*http.Response, error) {
			resp := sessiontest.Reply(req, http.StatusOK)
			switch token := req.Header.Get("Authorization"); {
			case token == "Bearer audience":
				resp.StatusCode = http.StatusForbidden
				resp.Header.Set("Www-Authenticate", demandsScope)
			case token == "Bearer good":
				time.Sleep(15 * time.Second)
				resp.StatusCode = http.StatusUnauthorized
			}
			return resp, nil
		}
		slow := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			time.Sleep(30 * time.Second)
			return sessiontest.Pair("audience-strong", "", time.Hour), nil
		}
		r := sessiontest.NewFake(t, sessiontest.Refresher().Refresh, serve, func(c *tokenclient.Config) {
			c.RefreshTimeout = time.Minute
			c.Audiences = []tokenclient.Audience{{Name: "a", Origins: []string{"https://audience.example.com"}, Refresher: tokenclient.RefresherFunc(slow)}}
			c.StepUp = func(ctx context.Context, s *tokenclient.Session, _ tokenclient.Demand) error {
				time.Sleep(10 * time.Second)
				err := s.SetToken(ctx, sessiontest.Pair("strong", "refresh-2", time.Hour))
				time.Sleep(10 * time.Second)
				return err
			}
		})
		login := sessiontest.Pair("good", "refresh-1", time.Hour)
		login.Audiences = map[string]tokenclient.AudienceToken{"a": {Token: sessiontest.Pair("audience", "", time.Hour)}}
		r.Give(t, login)
		began := time.Now()
		var wg sync.WaitGroup
		for url, takes := range map[string]time.Duration{
			sessiontest.FakeAPI + "/other":  20 * time.Second,
			"https://audience.example.com/": 50 * time.Second,
		} {
			wg.Go(func() {
				resp, err := r.Client.Get(url)
				if err != nil {
					t.Errorf("%s: %v", url, err)
					return
				}
				defer resp.Body.Close()
				if took := time.Since(began); resp.StatusCode != 200 || took != takes {
					t.Errorf("%s: %d after %v, want it after %v", url, resp.StatusCode, took, takes)
				}
			})
		}
		wg.Wait()
	})
}

// A crossedStore is one in which somebody else's login comes a moment after each that has
// "strong" in its token.
type crossedStore struct{ *store.Memory }

func (o crossedStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	now, was, err = o.Memory.Replace(ctx, key, t)
	if err == nil && t != nil && strings.Contains(t.AccessToken, "strong") {
		now, _, err = o.Memory.Replace(ctx, key, sessiontest.Pair("strong-other", "refresh-other", time.Hour))
	}
	return now, was, err
}

// loginSaying is loginWith "strong", and keeps what SetToken said.
func loginSaying(said *error) stepUpHook {
	return func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
		*said = loginWith("strong")(ctx, s, d)
		return *said
	}
}

// TestStepUpOvertakenInTheStore: another process logs somebody else in while SetToken of a step-up
// writes. That is ErrReplaced, and no request is sent for the other one.
func TestStepUpOvertakenInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		var said error
		hook := loginSaying(&said)
		r := sessiontest.NewFake(t, func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return nil, tokenclient.ErrLoginRequired
		}, api.serve, func(c *tokenclient.Config) {
			c.StepUp, c.Store, c.Key = hook, crossedStore{new(store.Memory)}, "alice"
		})
		r.Give(t, sessiontest.Pair("good", "refresh-1", time.Hour))
		if status, _, err := post(t, t.Context(), r.Client, strings.NewReader("body")); status != 403 || err != nil {
			t.Errorf("%d %v", status, err)
		}
		if n := api.requests(); n != 1 {
			t.Errorf("%d requests", n)
		}
		if !errors.Is(said, tokenclient.ErrReplaced) {
			t.Errorf("SetToken: %v", said)
		}
	})
}

// lostReplyKV keeps one record. It loses the reply to one write, and calls then before anybody
// can look what became of that.
type lostReplyKV struct {
	mu   sync.Mutex // guards raw
	raw  []byte
	then func()
}

func (kv *lostReplyKV) Get(context.Context, string) ([]byte, error) {
	kv.mu.Lock()
	defer kv.mu.Unlock()
	return bytes.Clone(kv.raw), nil
}

func (kv *lostReplyKV) CompareAndSwap(_ context.Context, _ string, old, new []byte) (bool, error) {
	kv.mu.Lock()
	same := bytes.Equal(kv.raw, old)
	if same {
		kv.raw = bytes.Clone(new)
	}
	kv.mu.Unlock()
	if then := kv.then; then != nil {
		kv.then = nil
		then()
		return false, errors.New("connection reset")
	}
	return same, nil
}

// TestStepUpRefreshedInTheStore: the store's reply to the login of a step-up is lost, and another
// process refreshes that very login before this one looks. It is the step-up's own all the same.
func TestStepUpRefreshedInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		var said error
		hook := loginSaying(&said)
		kv := new(lostReplyKV)
		open := func() *store.Shared {
			shared, err := store.NewShared(kv, store.Plaintext(), nil)
			if err != nil {
				t.Fatal(err)
			}
			return shared
		}
		other := open()
		r := sessiontest.NewFake(t, func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return nil, tokenclient.ErrLoginRequired
		}, api.serve, func(c *tokenclient.Config) {
			c.StepUp, c.Store, c.Key = hook, open(), "alice"
		})
		r.Give(t, sessiontest.Pair("good", "refresh-1", time.Hour))
		kv.then = func() {
			login, err := other.Load(t.Context(), "alice")
			if err != nil {
				t.Error(err)
			}
			_, err = other.Refresh(t.Context(), "alice", login, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				return sessiontest.Pair("strong-refreshed", "refresh-3", time.Hour), nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		if status, _, err := post(t, t.Context(), r.Client, strings.NewReader("body")); status != 200 || err != nil {
			t.Errorf("%d %v", status, err)
		}
		if said != nil {
			t.Errorf("SetToken: %v", said)
		}
	})
}
