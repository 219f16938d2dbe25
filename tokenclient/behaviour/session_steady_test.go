package behaviour_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const (
	steadyAPI      = 20 * time.Millisecond  // how long the API takes
	steadyEndpoint = 300 * time.Millisecond // how long the token endpoint takes
	steadyLifetime = 2 * time.Minute
	steadyTime     = 11 * time.Minute
)

// TestSteady: while requests keep coming, none waits for a refresh: the slowest one
// at an expiry is less than one call of the token endpoint slower than the median.
// Without a soft window some wait for the whole call, which this would notice.
func TestSteady(t *testing.T) {
	for _, tc := range []struct {
		name          string
		refreshBefore time.Duration
		waits         bool
	}{
		{"soft window", 0, false},
		{"no soft window", -1, true},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			quiet, expiry, refreshes := steadyRequests(t, tc.refreshBefore)
			t.Logf("%d refreshes of %v each, requests by how long they took:\n%s",
				refreshes, steadyEndpoint, histogram(quiet, expiry))
			if refreshes < 5 || len(expiry) < refreshes {
				t.Fatalf("%d refreshes, and %d requests while they ran: that is no measurement", refreshes, len(expiry))
			}
			median := slices.Sorted(slices.Values(slices.Concat(quiet, expiry)))[(len(quiet)+len(expiry))/2]
			slowest := slices.Max(expiry)
			if waits := slowest-median >= steadyEndpoint; waits != tc.waits {
				t.Errorf("the slowest request at an expiry took %v, the median one %v", slowest, median)
			}
		})
	}
}

// steadyRequests has 50 goroutines send requests through one session for some
// minutes. expiry is how long those took that met a refresh or began up to a second
// after one, and quiet is how long the others took.
func steadyRequests(t *testing.T, refreshBefore time.Duration) (quiet, expiry []time.Duration, refreshes int) {
	type request struct {
		began time.Time
		took  time.Duration
	}
	var mu sync.Mutex
	var requests []request
	var flights []tokenclient.RefreshInfo
	r := sessiontest.New(t, &tokentest.Options{InMemory: true, AccessLifetime: steadyLifetime, Latency: steadyEndpoint},
		func(c *tokenclient.Config, _ *tokentest.Server) {
			c.RefreshBefore = refreshBefore
			c.Hooks = &tokenclient.Hooks{Refreshed: func(i tokenclient.RefreshInfo) { flights = append(flights, i) }}
		})
	base := r.Client.Transport.(*tokenclient.Transport)
	network := base.Base
	base.Base = sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		time.Sleep(steadyAPI)
		return network.RoundTrip(req)
	})
	r.Login(t)
	ctx, cancel := context.WithTimeout(t.Context(), steadyTime)
	defer cancel()
	sessiontest.Crowd(50, func() {
		for {
			select {
			case <-time.After(rand.N(8 * time.Second)):
			case <-ctx.Done():
				return
			}
			began := time.Now()
			if status, err := r.Get(t.Context()); err != nil || status != 200 {
				t.Errorf("status %d, error %v", status, err)
			}
			mu.Lock()
			requests = append(requests, request{began, time.Since(began)})
			mu.Unlock()
		}
	})
	time.Sleep(2 * steadyEndpoint) // a refresh that the last requests began
	synctest.Wait()
	if c := r.Server.Counters(); c.Refreshes != len(flights) || refreshBefore >= 0 && c.Unauthorized != 0 {
		t.Errorf("the server counted %d refreshes, the hooks %d; %d requests were refused", c.Refreshes, len(flights), c.Unauthorized)
	}
	for _, q := range requests {
		if slices.ContainsFunc(flights, func(f tokenclient.RefreshInfo) bool {
			return q.began.Add(q.took).After(f.Began) && q.began.Before(f.Began.Add(f.Duration+time.Second))
		}) {
			expiry = append(expiry, q.took)
		} else {
			quiet = append(quiet, q.took)
		}
	}
	return quiet, expiry, len(flights)
}

// histogram draws both kinds of requests, each to a scale of its own.
func histogram(quiet, expiry []time.Duration) string {
	bounds := []time.Duration{0, 20, 25, 50, 100, 200, 300, 320, 1000}
	var b strings.Builder
	fmt.Fprintf(&b, "%15s  %-28s %s\n", "milliseconds", "between expiries", "at an expiry")
	for i := range len(bounds) - 1 {
		from, to := bounds[i]*time.Millisecond, bounds[i+1]*time.Millisecond
		bar := func(took []time.Duration) string {
			n := 0
			for _, d := range took {
				if d >= from && d < to {
					n++
				}
			}
			return fmt.Sprintf("%6d %s", n, strings.Repeat("#", (20*n+len(took)-1)/max(1, len(took))))
		}
		fmt.Fprintf(&b, "%15s  %-28s %s\n", fmt.Sprintf("%d to %d", bounds[i], bounds[i+1]), bar(quiet), bar(expiry))
	}
	return b.String()
}
