package processes_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// inner is a test within the test, which may fail.
type inner struct {
	testing.TB
	failures []string
	cleanups []func()
}

func (i *inner) Errorf(format string, args ...any) {
	i.failures = append(i.failures, fmt.Sprintf(format, args...))
}

func (i *inner) Fatalf(format string, args ...any) {
	i.Errorf(format, args...)
	runtime.Goexit()
}

func (i *inner) Failed() bool        { return len(i.failures) > 0 }
func (i *inner) Logf(string, ...any) {}
func (i *inner) Cleanup(f func())    { i.cleanups = append(i.cleanups, f) }

// failures runs a test within the test, and returns how it failed.
func failures(t *testing.T, test func(testing.TB)) []string {
	i := &inner{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(i.cleanups) {
				f()
			}
		}()
		test(i)
	}()
	<-done
	return i.failures
}

// wantFailure fails the test unless test fails, once and for that reason.
func wantFailure(t *testing.T, reason string, test func(testing.TB)) {
	t.Helper()
	if got := failures(t, test); len(got) != 1 || !strings.Contains(got[0], reason) {
		t.Errorf("failed with %q, want %q", got, reason)
	}
}

// TestRigDeadAgent: whoever waits for an agent that is gone hears of it at once, and
// sees what it said.
func TestRigDeadAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, _ := w.refreshing(t, processes.BeforeServer, 0)
	p.Kill()
	wantFailure(t, `ended during "get"`, func(tb testing.TB) { p.get.Wait(tb) })
	wantFailure(t, "has ended and did not say", func(tb testing.TB) { p.WaitEvent(tb, "SaveFailed") })
	p.WaitEvent(t, "ready") // which it said when it lived
}

// TestRigAgentThatDoesNotStart: Start fails, with the reason.
func TestRigAgentThatDoesNotStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wantFailure(t, "did not start: store: KeyBytes", func(tb testing.TB) {
		w.Start(tb, func(s *processes.Settings) { s.SealKey = nil })
	})
}

// TestRigUnknownOrder: a mistake in a test is no success.
func TestRigUnknownOrder(t *testing.T) {
	t.Parallel()
	a := newWorld(t).Start(t, nil).Do(t, processes.Order{Do: "dance"})
	wantFailure(t, `no order "dance"`, func(tb testing.TB) { a.Want(tb, "dance") })
}

// TestRigHearsTokens has an agent say a token aloud, on either output.
func TestRigHearsTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.Issue("alice")
	for _, secret := range []string{issued.AccessToken, issued.RefreshToken} {
		token := &processes.WireToken{Access: secret}
		for _, do := range []string{"say", "fail with"} {
			wantFailure(t, "shows a token", func(tb testing.TB) {
				w.Start(tb, nil).Do(tb, processes.Order{Do: do, Token: token})
			})
		}
	}
	if got := failures(t, func(tb testing.TB) {
		w.Start(tb, nil).Do(tb, processes.Order{Do: "say", Token: &processes.WireToken{Access: "nothing"}}).Want(tb, "say")
	}); got != nil {
		t.Errorf("an agent that says nothing: %q", got)
	}
}

// say and failWith are what TestRigHearsTokens has agents do.
func say(_ context.Context, o processes.Order) error {
	println("the token is", o.Token.Access)
	return nil
}

func failWith(_ context.Context, o processes.Order) error {
	return errors.New("bad token " + o.Token.Access)
}

// TestRigWork has an agent work for two users.
func TestRigWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accounts := []string{"alice", "bob"}
	w.Base.Accounts = accounts
	for _, a := range accounts {
		if err := w.Put(t.Context(), a, w.Issue(a)); err != nil {
			t.Fatal(err)
		}
	}
	p := w.Start(t, nil)
	var mu sync.Mutex
	served := map[string]int{}
	p.Work(t, processes.Order{Pause: time.Millisecond}, func(a processes.Answer) {
		a.WantServed(t, "at work", a.Account)
		mu.Lock()
		defer mu.Unlock()
		served[a.Account]++
	})
	processes.Eventually(t, "both are served, again and again", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return min(served["alice"], served["bob"]) > 2
	})
	p.Kill()
	sum := served["alice"] + served["bob"] // nobody is heard any more
	if c := w.Server.Counters(); c.Requests < sum {
		t.Errorf("heard of %d requests, the server of %d", sum, c.Requests)
	}
}

// TestRigGateClientLeaves has a client leave while its refresh waits before the server.
func TestRigGateClientLeaves(t *testing.T) {
	t.Parallel()
	for _, carryOut := range []bool{false, true} {
		t.Run(fmt.Sprintf("CarryOut %t", carryOut), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Gate.CarryOut = carryOut
			w.Gate.Stored = func(account string) string { return "stored for " + account }
			token := w.IssueExpired("alice")
			held := w.Gate.HoldNext(processes.BeforeServer)
			ctx, leave := context.WithCancel(t.Context())
			left := make(chan error)
			refresher := &tokenclient.JSONRefresher{TokenURL: w.Gate.URL + "/token/refresh", HTTPClient: new(http.Client)}
			go func() {
				_, err := refresher.Refresh(ctx, token)
				left <- err
			}()
			held.WaitReached(t)
			leave()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("the client left with %v", err)
			}
			if !carryOut { // the gate drops it by itself
				w.Gate.History()
			}
			held.Release()
			calls := w.Gate.History()
			if len(calls) != 1 || calls[0].Rotated() != carryOut || calls[0].Passed.IsZero() == carryOut {
				t.Fatalf("%+v", calls)
			}
			if c := calls[0]; c.Presented != token.RefreshToken || c.Stored != "stored for " {
				t.Errorf("%+v", c)
			}
			want := 0
			if carryOut {
				want = 1
			}
			w.WantRefreshes(t, want, 0)
			wantFailure(t, fmt.Sprintf("want %d with 0", want+1), func(tb testing.TB) { w.WantRefreshes(tb, want+1, 0) })
			if want := (tokentest.Counters{Refreshes: want}); w.Server.Counters() != want {
				t.Errorf("the server counted %+v, want %+v", w.Server.Counters(), want)
			}
		})
	}
}
