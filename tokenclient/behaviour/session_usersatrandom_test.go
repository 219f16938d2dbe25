package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestUsersAtRandom: logins and logouts of many users, one after the other, on one session, while
// requests, early and forced refreshes, renewals by the server and step-ups are under way, all of which
// take their time. A request goes out as the user with whom it began, and as no other. Who logged in last
// stays, and after a logout nobody is there.
func TestUsersAtRandom(t *testing.T) {
	for seed := range sessiontest.Many(300) {
		for _, kept := range []bool{false, true} {
			sessiontest.Bubble(t, fmt.Sprintf("seed %d, Store %v", seed, kept), func(t *testing.T) {
				w := &randomWorld{t: t, rand: rand.New(rand.NewPCG(uint64(seed), 1))}
				w.rig = sessiontest.NewFake(t, w.refresh, w.serve, func(c *tokenclient.Config) {
					c.Renewed, c.StepUp = tokenclient.RenewedHeader("X-Token"), w.stepUp
					if kept {
						c.Store, c.Key = new(store.Memory), "key"
					}
				})
				w.run()
			})
		}
	}
}

// A randomWorld is a server and a program that do what chance says. An access token is like
// "user.7.refreshed.3", of which 7 is the user; no two logins are of the same.
type randomWorld struct {
	t   *testing.T
	rig *sessiontest.Rig
	wg  sync.WaitGroup

	mu     sync.Mutex // guards the rest
	rand   *rand.Rand
	issued int
	users  int
}

func (w *randomWorld) n(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.IntN(n)
}

// pause takes up to most, and never ends at the moment when something else does.
func (w *randomWorld) pause(most time.Duration) { time.Sleep(time.Duration(w.n(int(most)))) }

func (w *randomWorld) issue(user int, how string) *tokenclient.Token {
	w.mu.Lock()
	w.issued++
	n := w.issued
	w.mu.Unlock()
	life := time.Duration(5+w.n(60)) * time.Second
	return sessiontest.Pair(fmt.Sprintf("user.%d.%s.%d", user, how, n), fmt.Sprintf("refresh.%d.%d", user, n), life)
}

// userIn is the user of a token.
func userIn(token string) int {
	fields := strings.Split(token, ".")
	if len(fields) < 2 {
		return -1
	}
	user, err := strconv.Atoi(fields[1])
	if err != nil {
		return -1
	}
	return user
}

func (w *randomWorld) refresh(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	w.pause(5 * time.Second)
	switch w.n(12) {
	case 0:
		return nil, &tokenclient.TokenError{StatusCode: 503}
	case 1:
		return nil, fmt.Errorf("%w: revoked", tokenclient.ErrLoginRequired)
	}
	return w.issue(userIn(old.RefreshToken), "refreshed"), nil
}

func (w *randomWorld) stepUp(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
	w.pause(10 * time.Second)
	user, err := strconv.Atoi(d.Scope)
	if err != nil {
		return err
	}
	if err := s.SetToken(ctx, w.issue(user, "strong")); err != nil {
		return err
	}
	w.pause(3 * time.Second)
	if w.n(4) == 0 {
		return errors.New("not vouched for")
	}
	return nil
}

// serve checks whose token a request has. Its path says with whom it began.
func (w *randomWorld) serve(req *http.Request) (*http.Response, error) {
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	user := userIn(token)
	if began := strings.TrimPrefix(req.URL.Path, "/as/"); began != "nobody" && began != fmt.Sprint(user) {
		w.t.Errorf("a request of user %s was sent with %q", began, token)
	}
	w.pause(4 * time.Second)
	resp := sessiontest.Reply(req, http.StatusOK)
	switch n := w.n(10); {
	case n < 3:
		resp.StatusCode = http.StatusUnauthorized
	case n < 5 && !strings.Contains(token, "strong"):
		resp.StatusCode = http.StatusForbidden
		resp.Header.Set("Www-Authenticate", fmt.Sprintf(`Bearer error="insufficient_scope", scope="%d"`, user))
	case n == 5:
		resp.Header.Set("X-Token", w.issue(user, "renewed").AccessToken)
	}
	return resp, nil
}

// now is the user who is logged in; "nobody", if there is none.
func (w *randomWorld) now() string {
	token, err := w.rig.Session.Peek(w.t.Context())
	if err != nil {
		return "nobody"
	}
	return fmt.Sprint(userIn(token.AccessToken))
}

func (w *randomWorld) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	w.wg.Go(func() {
		for ctx.Err() == nil { // it ends with each logout
			_ = w.rig.Session.KeepFresh(ctx)
			time.Sleep(time.Second + 1)
		}
	})
	last := "nobody" // who is logged in, but for a refresh token that was refused
	for range 60 {
		w.pause(2 * time.Second)
		if now := w.now(); now != last && now != "nobody" {
			w.t.Errorf("user %s is there, and %s logged in last", now, last)
		}
		switch n := w.n(20); {
		case n == 0:
			if err := w.rig.Session.Logout(ctx); err != nil {
				w.t.Error(err)
			}
			last = "nobody"
		case n < 3:
			w.users++
			last = fmt.Sprint(w.users)
			if err := w.rig.Session.SetToken(ctx, w.issue(w.users, "login")); err != nil {
				w.t.Error(err)
			}
		case n == 3:
			w.wg.Go(func() { _, _ = w.rig.Session.Refresh(ctx) })
		default:
			w.request(ctx, w.now())
			synctest.Wait() // it is sent, or waits: it began with that user
		}
	}
	time.Sleep(10 * time.Minute)
	cancel()
	w.wg.Wait()
}

// request makes one that begins with that user.
func (w *randomWorld) request(ctx context.Context, user string) {
	body := strings.NewReader("body")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, sessiontest.FakeAPI+"/as/"+user, body)
	if err != nil {
		w.t.Fatal(err)
	}
	w.wg.Go(func() {
		resp, err := w.rig.Client.Do(req)
		if err != nil {
			if !errors.Is(err, tokenclient.ErrLoginRequired) && !errors.Is(err, tokenclient.ErrReplaced) && !errors.As(err, new(*tokenclient.TokenError)) {
				w.t.Errorf("user %s: %v", user, err)
			}
			return
		}
		_ = resp.Body.Close()
	})
}
