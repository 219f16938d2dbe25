package behaviour_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const demandsScope = `Bearer error="insufficient_scope", scope="files.write"`

// A demandingAPI accepts tokens whose text says that they are strong, knows those that begin
// with "good", and refuses all others.
type demandingAPI struct {
	mu     sync.Mutex
	header string
	status int
	bodies []string
}

func (a *demandingAPI) serve(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		text, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		_ = req.Body.Close()
		body = string(text)
	}
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bodies = append(a.bodies, body)
	status, header := http.StatusOK, http.Header{}
	switch {
	case strings.Contains(token, "strong"):
	case strings.HasPrefix(token, "good"):
		status = a.status
		header.Set("Www-Authenticate", a.header)
	default:
		status = http.StatusUnauthorized
		header.Set("Www-Authenticate", `Bearer error="invalid_token"`)
	}
	return &http.Response{StatusCode: status, Header: header, Request: req, Body: io.NopCloser(strings.NewReader(body + "!"))}, nil
}

func (a *demandingAPI) requests() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.bodies)
}

type stepUpHook = func(context.Context, *tokenclient.Session, tokenclient.Demand) error

// loginWith is a StepUp that logs in with access tokens of that text.
func loginWith(access string) stepUpHook {
	return func(ctx context.Context, s *tokenclient.Session, _ tokenclient.Demand) error {
		return s.SetToken(ctx, sessiontest.Pair(access, "refresh-2", time.Hour))
	}
}

func stepUpRig(t *testing.T, api *demandingAPI, access string, hook stepUpHook) *sessiontest.Rig {
	t.Helper()
	refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
		return sessiontest.Pair("good-refreshed", "refresh-3", time.Hour), nil
	}
	r := sessiontest.NewFake(t, refresh, api.serve, func(c *tokenclient.Config) { c.StepUp = hook })
	r.Give(t, sessiontest.Pair(access, "refresh-1", time.Hour))
	return r
}

// post sends body, and returns the answer's status and body.
func post(t *testing.T, ctx context.Context, client *http.Client, body io.Reader) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sessiontest.FakeAPI+"/files", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(text), nil
}

// TestStepUp: of all who meet a demand one asks, and all are sent again with their own bytes.
func TestStepUp(t *testing.T) {
	const claims = `Bearer error="insufficient_claims", claims="eyJpZF90b2tlbiI6e319"`
	for name, c := range map[string]struct {
		status int
		header string
		access string
		want   tokenclient.Demand
	}{
		"scope":                   {403, demandsScope, "good", tokenclient.Demand{Error: "insufficient_scope", Scope: "files.write"}},
		"scope, after an expiry":  {403, demandsScope, "bad", tokenclient.Demand{Error: "insufficient_scope", Scope: "files.write"}},
		"a stronger login":        {401, `Bearer error="insufficient_user_authentication", acr_values="mfa"`, "good", tokenclient.Demand{Error: "insufficient_user_authentication", ACRValues: "mfa"}},
		"a fresher one, later on": {401, `DPoP error="insufficient_user_authentication", max_age=60`, "bad", tokenclient.Demand{Error: "insufficient_user_authentication", MaxAge: "60"}},
		"claims":                  {401, claims, "good", tokenclient.Demand{Error: "insufficient_claims", Claims: `{"id_token":{}}`}},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			api := &demandingAPI{status: c.status, header: c.header}
			var asked atomic.Int32
			r := stepUpRig(t, api, c.access, func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
				asked.Add(1)
				c.want.Origin = sessiontest.FakeAPI
				if d != c.want {
					t.Errorf("demanded %+v, want %+v", d, c.want)
				}
				time.Sleep(time.Minute) // a person
				return loginWith("strong")(ctx, s, d)
			})
			sessiontest.Crowd(50, func() {
				if status, text, err := post(t, t.Context(), r.Client, strings.NewReader("body")); status != 200 || text != "body!" || err != nil {
					t.Errorf("%d %q %v", status, text, err)
				}
			})
			if n := asked.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// TestStepUpOfStreams: a body that can be read once is sent a third time with its own bytes, when
// its first token was refused and its second one is not enough.
func TestStepUpOfStreams(t *testing.T) {
	for name, body := range map[string]func() io.Reader{
		"GetBody":  func() io.Reader { return strings.NewReader("body") },
		"a stream": func() io.Reader { return io.MultiReader(strings.NewReader("bo"), strings.NewReader("dy")) },
		"seeks":    func() io.Reader { return struct{ io.ReadSeeker }{strings.NewReader("body")} },
	} {
		for access, want := range map[string]int{"good": 2, "bad": 3} {
			sessiontest.Bubble(t, name+", "+access, func(t *testing.T) {
				api := &demandingAPI{status: 403, header: demandsScope}
				r := stepUpRig(t, api, access, loginWith("strong"))
				if status, text, err := post(t, t.Context(), r.Client, body()); status != 200 || text != "body!" || err != nil {
					t.Errorf("%d %q %v", status, text, err)
				}
				if n := api.requests(); n != want {
					t.Errorf("%d requests, want %d", n, want)
				}
			})
		}
	}
}

// TestStepUpTooLong: a stream of which no copy is kept is sent once, and its caller gets the
// server's answer.
func TestStepUpTooLong(t *testing.T) {
	for access, want := range map[string]int{"good": 403, "bad": 401} {
		sessiontest.Bubble(t, access, func(t *testing.T) {
			api := &demandingAPI{status: 403, header: demandsScope}
			r := stepUpRig(t, api, access, loginWith("strong"))
			tr := r.Session.Transport(sessiontest.RoundTrip(api.serve))
			tr.MaxReplayBody = 3
			long := io.MultiReader(strings.NewReader("body"))
			if status, text, err := post(t, t.Context(), &http.Client{Transport: tr}, long); status != want || text != "body!" || err != nil {
				t.Errorf("%d %q %v", status, text, err)
			}
			if n := api.requests(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestStepUpDeclined: whoever does not step up gets the server's own answer, whole, and the
// same is not asked again at once.
func TestStepUpDeclined(t *testing.T) {
	for name, c := range map[string]struct {
		hook  stepUpHook
		asked int32 // in two requests, one after the other
	}{
		"declines":                 {func(context.Context, *tokenclient.Session, tokenclient.Demand) error { return errors.New("cancelled") }, 1},
		"somebody else":            {func(context.Context, *tokenclient.Session, tokenclient.Demand) error { return tokenclient.ErrReplaced }, 1},
		"panics":                   {func(context.Context, *tokenclient.Session, tokenclient.Demand) error { panic("oh") }, 1},
		"does nothing":             {func(context.Context, *tokenclient.Session, tokenclient.Demand) error { return nil }, 1},
		"gets what is no stronger": {loginWith("good-again"), 1},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			api := &demandingAPI{status: 403, header: demandsScope}
			var asked atomic.Int32
			r := stepUpRig(t, api, "good", func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
				asked.Add(1)
				return c.hook(ctx, s, d)
			})
			for range 2 {
				if status, text, err := post(t, t.Context(), r.Client, strings.NewReader("body")); status != 403 || text != "body!" || err != nil {
					t.Errorf("%d %q %v", status, text, err)
				}
			}
			if n := asked.Load(); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
			if n := api.requests(); n > 3 {
				t.Errorf("%d requests for two", n)
			}
		})
	}
}

// TestStepUpOnce: a body that cannot be sent again is not, and the next request has the token.
func TestStepUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		r := stepUpRig(t, api, "good", loginWith("strong"))
		tr := r.Session.Transport(sessiontest.RoundTrip(api.serve))
		tr.MaxReplayBody = -1
		client := &http.Client{Transport: tr}
		for i, want := range []int{403, 200} {
			if status, text, err := post(t, t.Context(), client, io.MultiReader(strings.NewReader("stream"))); status != want || text != "stream!" || err != nil {
				t.Errorf("request %d: %d %q %v, want %d", i, status, text, err, want)
			}
		}
		if api.requests() != 2 {
			t.Errorf("%d requests", api.requests())
		}
	})
}

// TestStepUpAlone: who leaves takes nobody along, and the last one ends the asking.
func TestStepUpAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		ended := make(chan struct{})
		r := stepUpRig(t, api, "good", func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
			defer close(ended)
			<-ctx.Done()
			return ctx.Err()
		})
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Minute)
				defer cancel()
				if _, _, err := post(t, ctx, r.Client, nil); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("waiter %d: %v", i, err)
				}
			})
		}
		time.Sleep(90 * time.Second)
		select {
		case <-ended:
			t.Error("it ended with the first who left")
		default:
		}
		wg.Wait()
		<-ended
	})
}

// TestStepUpCloses: Close ends the asking, and a logout in the middle leaves nobody logged in.
func TestStepUpCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		r := stepUpRig(t, api, "good", func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
			<-ctx.Done()
			return ctx.Err()
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			if status, _, err := post(t, t.Context(), r.Client, nil); status != 403 && err == nil {
				t.Errorf("%d", status)
			}
		}()
		synctest.Wait()
		sessiontest.Close(t, r.Session)
		<-done
	})
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		r := stepUpRig(t, api, "good", func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
			return s.Logout(ctx)
		})
		if status, _, err := post(t, t.Context(), r.Client, nil); status != 403 || err != nil {
			t.Errorf("a logout meanwhile: %d %v", status, err)
		}
		if _, err := r.Session.Peek(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("after it: %v", err)
		}
	})
}

// TestStepUpInside: a request within StepUp through the session's own client asks for nothing.
func TestStepUpInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		var client *http.Client
		r := stepUpRig(t, api, "good", func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
			if status, _, err := post(t, ctx, client, nil); status != 403 || err != nil {
				t.Errorf("inside: %d %v", status, err)
			}
			return loginWith("strong")(ctx, s, d)
		})
		client = r.Client
		if status, _, err := post(t, t.Context(), r.Client, nil); status != 200 || err != nil {
			t.Errorf("%d %v", status, err)
		}
	})
}

// TestStepUpOfEach: each user of a Pool is asked for what is demanded of that one.
func TestStepUpOfEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		var mu sync.Mutex
		asked := map[*tokenclient.Session]int{}
		store := new(sessiontest.PoolStore)
		pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
			Store: store,
			Config: func(_ context.Context, key string) (tokenclient.Config, error) {
				return tokenclient.Config{
					Refresher: sessiontest.Refresher(), Origins: []string{sessiontest.FakeAPI},
					StepUp: func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
						mu.Lock()
						asked[s]++
						mu.Unlock()
						time.Sleep(time.Minute)
						return loginWith("strong-"+key)(ctx, s, d)
					},
				}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close(context.Background())
		client := pool.Wrap(&http.Client{Transport: sessiontest.RoundTrip(api.serve)})
		var wg sync.WaitGroup
		for i := range 5 {
			ctx := tokenclient.WithKey(t.Context(), sessiontest.PoolUser(i))
			if _, _, err := store.Replace(ctx, sessiontest.PoolUser(i), sessiontest.Pair("good", "refresh-1", time.Hour)); err != nil {
				t.Fatal(err)
			}
			for range 10 {
				wg.Go(func() {
					if status, _, err := post(t, ctx, client, strings.NewReader("body")); status != 200 || err != nil {
						t.Errorf("%d %v", status, err)
					}
				})
			}
		}
		wg.Wait()
		for _, n := range asked {
			if n != 1 {
				t.Errorf("asked %d times of one", n)
			}
		}
		if len(asked) != 5 {
			t.Errorf("%d users were asked", len(asked))
		}
	})
}
