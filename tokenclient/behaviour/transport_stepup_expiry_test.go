package behaviour_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestStepUpAndAnExpiry: a step-up begins at once, logs in after 10 seconds, and returns after 20.
// The server ends the earlier token, and says so by a plain 401 at any time. Whoever gets that, or
// waits for a refresh meanwhile, goes on with the login that StepUp vouches for, and with no other.
func TestStepUpAndAnExpiry(t *testing.T) {
	for name, then := range map[string]struct {
		at   time.Duration // 0: never
		do   func(*testing.T, *tokenclient.Session) error
		says error // StepUp returns it
		want error // of who has not been answered by then
	}{
		"nothing else": {},
		"it vouches for nothing": {says: errors.New("somebody else"), at: 20 * time.Second, want: tokenclient.ErrReplaced,
			do: func(*testing.T, *tokenclient.Session) error { return nil }},
		"another logs in before it": {at: 8 * time.Second, want: tokenclient.ErrReplaced, do: loginAs("strong-other")},
		"another logs in after it":  {at: 12 * time.Second, want: tokenclient.ErrReplaced, do: loginAs("strong-other")},
		"a logout before it":        {at: 8 * time.Second, want: tokenclient.ErrLoggedOut, do: logout},
		"a logout after it":         {at: 12 * time.Second, want: tokenclient.ErrLoggedOut, do: logout},
		"a logout and a login": {at: 12 * time.Second, want: tokenclient.ErrLoggedOut, do: func(t *testing.T, s *tokenclient.Session) error {
			return errors.Join(logout(t, s), loginAs("strong-other")(t, s))
		}},
		"the end": {at: 12 * time.Second, want: tokenclient.ErrClosed, do: func(t *testing.T, s *tokenclient.Session) error { return s.Close(t.Context()) }},
	} {
		for when, r := range map[string]struct{ from, takes time.Duration }{
			"before the login":                     {0, 5 * time.Second}, // the refresh lasts till after it
			"between the login and the return":     {0, 15 * time.Second},
			"after the return":                     {0, 25 * time.Second},
			"at the moment of the login":           {0, 10 * time.Second},
			"at the moment of the return":          {0, 20 * time.Second},
			"of who waits since the token expired": {7 * time.Second, 0},
		} {
			sessiontest.Bubble(t, name+", "+when, func(t *testing.T) {
				began := time.Now()
				var mu sync.Mutex // guards crossed
				var crossed []string
				serve := func(req *http.Request) (*http.Response, error) {
					body, token := "", req.Header.Get("Authorization")
					if req.Body != nil {
						text, _ := io.ReadAll(req.Body)
						body = string(text)
					}
					if strings.Contains(token, "other") {
						mu.Lock()
						crossed = append(crossed, req.URL.Path)
						mu.Unlock()
					}
					resp := sessiontest.Reply(req, http.StatusOK)
					resp.Body = io.NopCloser(strings.NewReader(body + "!"))
					switch {
					case strings.Contains(token, "strong"):
					case req.URL.Path == "/files":
						resp.StatusCode = http.StatusForbidden
						resp.Header.Set("Www-Authenticate", demandsScope)
					default:
						time.Sleep(r.takes)
						resp.StatusCode = http.StatusUnauthorized
					}
					return resp, nil
				}
				refresh := func(ctx context.Context, _ *tokenclient.Token) (*tokenclient.Token, error) {
					time.Sleep(30 * time.Second)
					return sessiontest.Pair("good-refreshed", "refresh-3", time.Hour), nil
				}
				rig := sessiontest.NewFake(t, refresh, serve, func(c *tokenclient.Config) {
					c.RefreshTimeout = time.Minute
					c.StepUp = func(ctx context.Context, s *tokenclient.Session, _ tokenclient.Demand) error {
						time.Sleep(10 * time.Second)
						err := s.SetToken(ctx, sessiontest.Pair("strong", "refresh-2", time.Hour))
						if then.at > 0 && then.at < 10*time.Second {
							sessiontest.WantErr(t, "SetToken after another", err, then.want)
						}
						select {
						case <-time.After(10 * time.Second):
						case <-ctx.Done():
						}
						return errors.Join(err, then.says)
					}
				})
				rig.Give(t, sessiontest.Pair("good", "refresh-1", 6*time.Second))
				var wg sync.WaitGroup
				wg.Go(func() { // has the step-up begin
					resp, err := rig.Client.Get(sessiontest.FakeAPI + "/files")
					if err == nil {
						_ = resp.Body.Close()
					}
				})
				if then.at > 0 {
					wg.Go(func() {
						time.Sleep(then.at)
						if err := then.do(t, rig.Session); err != nil {
							t.Error(err)
						}
					})
				}
				synctest.Wait()
				time.Sleep(r.from)
				asked := time.Since(began)
				resp, err := rig.Client.Post(sessiontest.FakeAPI+"/other", "", strings.NewReader("body"))
				text := ""
				if err == nil {
					all, _ := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					text = string(all)
				}
				decided := max(asked+r.takes, 20*time.Second) // when it is known who is logged in
				switch late := then.at > 0 && then.at <= decided; {
				case late && err == nil && resp.StatusCode == 401 && then.want == tokenclient.ErrClosed: // it was refused after the end
				case late && !errors.Is(err, then.want):
					t.Errorf("%q, %v, want %v", text, err, then.want)
				case !late && (err != nil || resp.StatusCode != 200 || text != "body!"):
					t.Errorf("%q, %v", text, err)
				}
				wg.Wait()
				if now, err := rig.Session.Peek(t.Context()); strings.HasPrefix(name, "another") && (err != nil || now.AccessToken != "strong-other") {
					t.Errorf("in the end %v: who logged in last is not there", err)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(crossed) > 0 {
					t.Errorf("sent for another user: %v", crossed)
				}
			})
		}
	}
}

func loginAs(access string) func(*testing.T, *tokenclient.Session) error {
	return func(t *testing.T, s *tokenclient.Session) error {
		return s.SetToken(t.Context(), sessiontest.Pair(access, "refresh-9", time.Hour))
	}
}

func logout(t *testing.T, s *tokenclient.Session) error { return s.Logout(t.Context()) }

// TestStepUpUndecided: who waits to learn whether StepUp vouches leaves with its context, and StepUp
// does not wait for itself.
func TestStepUpUndecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &demandingAPI{status: 403, header: demandsScope}
		refused := func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/files" || req.Header.Get("Authorization") != "Bearer good" {
				return api.serve(req)
			}
			time.Sleep(2 * time.Second)
			return sessiontest.Reply(req, http.StatusUnauthorized), nil
		}
		get := func(ctx context.Context, client *http.Client) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, sessiontest.FakeAPI+"/other", nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		}
		var client *http.Client
		rig := sessiontest.NewFake(t, sessiontest.Refresher().Refresh, refused, func(c *tokenclient.Config) {
			c.StepUp = func(ctx context.Context, s *tokenclient.Session, _ tokenclient.Demand) error {
				inside := make(chan error)
				go func() { inside <- get(ctx, client) }()
				time.Sleep(time.Second)
				err := s.SetToken(ctx, sessiontest.Pair("strong", "refresh-2", time.Hour))
				sessiontest.WantErr(t, "within StepUp", <-inside, tokenclient.ErrReplaced)
				time.Sleep(time.Minute)
				return err
			}
		})
		client = rig.Client
		rig.Give(t, sessiontest.Pair("good", "refresh-1", time.Hour))
		var wg sync.WaitGroup
		wg.Go(func() {
			if status, _, err := post(t, t.Context(), client, nil); status != 200 || err != nil {
				t.Errorf("%d %v", status, err)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		sessiontest.WantErr(t, "who leaves", get(ctx, client), context.DeadlineExceeded)
		wg.Wait()
	})
}
