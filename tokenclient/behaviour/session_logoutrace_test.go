package behaviour_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// raceRig is a session of which the test stops a refresh at one point.
type raceRig struct {
	*sessiontest.Rig
	store     *sessiontest.StepStore
	refresher *sessiontest.StepRefresher
	at        *sessiontest.Barrier

	mu     sync.Mutex // guards events
	events []string
}

func (r *raceRig) note(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event)
}

// heard is what the hooks were told so far.
func (r *raceRig) heard() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.events)
}

// racePoints are the points at which a refresh can be stopped.
var racePoints = []struct {
	name    string
	inStore bool // and does not exist without one
	issued  bool // the server has answered by then
	stop    func(*raceRig) **sessiontest.Barrier
}{
	{"before the call", true, false, func(r *raceRig) **sessiontest.Barrier { return &r.store.BeforeFn }},
	{"during the call, before the server", false, false, func(r *raceRig) **sessiontest.Barrier { return &r.refresher.Before }},
	{"during the call, after the server", false, true, func(r *raceRig) **sessiontest.Barrier { return &r.refresher.After }},
	{"after the answer, before the write", true, true, func(r *raceRig) **sessiontest.Barrier { return &r.store.AfterFn }},
	{"during the write", true, true, func(r *raceRig) **sessiontest.Barrier { return &r.store.Written }},
}

// newRaceRig logs alice in. Without memory the session has no Store, and the
// points in the Store do not exist.
func newRaceRig(t *testing.T, memory bool, stop func(*raceRig) **sessiontest.Barrier) *raceRig {
	t.Helper()
	r := &raceRig{at: sessiontest.NewBarrier(), store: &sessiontest.StepStore{Store: new(store.Memory)}}
	r.Rig = sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
		r.refresher = &sessiontest.StepRefresher{OAuth2Refresher: srv.OAuth2Refresher(), KeepAlive: true}
		c.Refresher = r.refresher
		if memory {
			c.Store, c.Key = r.store, "somebody"
		}
		c.Hooks = &tokenclient.Hooks{
			Refreshed:     func(tokenclient.RefreshInfo) { r.note("refreshed") },
			Adopted:       func(tokenclient.RefreshInfo) { r.note("adopted") },
			RefreshFailed: func(tokenclient.RefreshInfo, error) { r.note("failed") },
			SessionEnded:  func(error) { r.note("ended") },
		}
	})
	*stop(r) = r.at
	r.Login(t)
	r.Server.RevokeAccess("alice")
	return r
}

// wait starts n requests that wait for the refresh, and returns when it has come
// to the barrier. Their errors come out of the channel.
func (r *raceRig) wait(t *testing.T, n int) <-chan error {
	t.Helper()
	errs := make(chan error, n)
	for range n {
		go func() {
			status, err := r.Get(t.Context())
			if err == nil {
				err = fmt.Errorf("status %d", status)
			}
			errs <- err
		}()
	}
	<-r.at.Reached
	synctest.Wait()
	return errs
}

func eachRacePoint(t *testing.T, f func(t *testing.T, r *raceRig, issued bool)) {
	for _, point := range racePoints {
		for _, memory := range []bool{true, false} {
			if point.inStore && !memory {
				continue
			}
			sessiontest.Bubble(t, fmt.Sprintf("%s/store %v", point.name, memory), func(t *testing.T) {
				f(t, newRaceRig(t, memory, point.stop), point.issued)
			})
		}
	}
}

func TestLogoutRace(t *testing.T) {
	eachRacePoint(t, func(t *testing.T, r *raceRig, issued bool) {
		const n = 5
		errs := r.wait(t, n)
		r.Logout(t)
		for range n { // while the refresh still runs
			sessiontest.WantErr(t, "a request that waited", <-errs, tokenclient.ErrLoggedOut, tokenclient.ErrLoginRequired)
		}
		r.at.Lift()
		time.Sleep(time.Hour)

		if _, err := r.Session.Token(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("Token: %v; the session rose again", err)
		}
		if _, err := r.Get(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("GET: %v; the session rose again", err)
		}
		rec, err := r.store.Load(t.Context(), "somebody")
		if r.store.Replaces.Load() > 0 && rec.State != tokenclient.LoggedOut {
			t.Errorf("the record is %v, error %v", rec.State, err)
		}
		r.refresher.WantRevoked(t)
		if issued && len(r.refresher.Issued()) != 1 {
			t.Errorf("%d pairs issued, want 1", len(r.refresher.Issued()))
		}
		if got := r.heard(); got != "[ended]" {
			t.Errorf("hooks %v, want one that says that the session ended", got)
		}
		if c := r.Server.Counters(); c.Reuses != 0 {
			t.Errorf("%d refresh tokens were presented twice", c.Reuses)
		}
	})
}

func TestLogoutRaceWithNextLogin(t *testing.T) {
	eachRacePoint(t, func(t *testing.T, r *raceRig, _ bool) {
		errs := r.wait(t, 1)
		r.Logout(t)
		sessiontest.WantErr(t, "a request that waited", <-errs, tokenclient.ErrLoggedOut)
		bob := r.Server.Issue("bob")
		r.Give(t, bob)
		r.WantGet(t, 200)
		r.at.Lift()
		time.Sleep(5 * time.Minute)

		r.WantGet(t, 200)
		now, err := r.Session.Peek(t.Context())
		if err != nil || now.RefreshToken != bob.RefreshToken {
			t.Errorf("token %v, error %v; want bob's", now, err)
		}
		rec, err := r.store.Load(t.Context(), "somebody")
		if r.store.Replaces.Load() > 0 && (err != nil || rec.Token.RefreshToken != bob.RefreshToken) {
			t.Errorf("record %v, error %v; want bob's", rec.Token, err)
		}
		r.refresher.WantRevoked(t)
		if got := r.heard(); got != "[ended]" {
			t.Errorf("hooks %v, want one that says that alice's session ended", got)
		}
		time.Sleep(15 * time.Minute)
		r.WantGet(t, 200) // bob's refresh works
		if c := r.Server.Counters(); c.Reuses != 0 {
			t.Errorf("%d refresh tokens were presented twice", c.Reuses)
		}
	})
}

// A login without a logout before it replaces the session under a refresh. A request that
// waited is sent with the new token only if that is known to be the same user's.
func TestLogoutRaceWithLoginAlone(t *testing.T) {
	for _, user := range []string{"bob", "alice"} {
		eachRacePoint(t, func(t *testing.T, r *raceRig, _ bool) {
			errs := r.wait(t, 1)
			next := r.Server.Issue(user)
			r.Give(t, next)
			switch err := <-errs; {
			case user == "bob":
				sessiontest.WantErr(t, "a request that waited", err, tokenclient.ErrReplaced)
			case err == nil || err.Error() != "status 200":
				t.Errorf("a request that waited: %v, want it sent with the new token", err)
			}
			r.at.Lift()
			time.Sleep(5 * time.Minute)
			r.WantGet(t, 200)
			if now, err := r.Session.Peek(t.Context()); err != nil || now.RefreshToken != next.RefreshToken {
				t.Errorf("token %v, error %v; want %s's", now, err, user)
			}
			if got := r.heard(); strings.Contains(got, "refreshed") {
				t.Errorf("hooks %v: the refresh that lost was reported as a success", got)
			}
		})
	}
}
