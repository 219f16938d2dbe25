package fleet_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

var chaosFor = flag.Duration("chaos", 20*time.Second, "how long TestChaos torments each engine")

// Holds are short here, so that much happens in a short time.
const (
	chaosTimeout = 3 * time.Second
	chaosMargin  = 2 * time.Second
)

// TestChaos has processes work with some sessions whose access tokens live for a
// second, and kills processes (-9), stops and resumes them, and cuts the engine off, at
// random. The server ends the session when a refresh token comes
// twice. That may happen only if the process that had exchanged it was killed before
// it had saved, or was stopped or cut off from the engine for longer than the hold has
// room for. When all is calm, every process that lives is served again.
func TestChaos(t *testing.T) {
	long := *chaosFor
	if testing.Short() {
		long = min(long, 4*time.Second)
	}
	for _, name := range engineNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			c := &chaos{
				world:  newWorld(t, name, chaosTimeout, chaosMargin),
				random: rand.New(rand.NewPCG(seed, 0)),
				lives:  map[string]*life{}, failed: map[string]int{},
			}
			t.Logf("%v, seed %d", long, seed)
			for i := range 6 {
				c.accounts = append(c.accounts, fmt.Sprint("user-", i))
			}
			c.base.Accounts = c.accounts
			c.srv.Set(func(o *tokentest.Options) { o.AccessLifetime = time.Second })
			c.gate.delay = func() time.Duration { return rand.N(100 * time.Millisecond) }
			c.gate.stored = c.storedToken
			c.run(t, long)
			c.judge(t)
		})
	}
}

// chaos is one run against one engine.
type chaos struct {
	*world
	random   *rand.Rand // of the driver alone
	accounts []string

	mu            sync.Mutex // guards all below
	lives         map[string]*life
	cuts          []span
	served        int
	failed        map[string]int // requests, by the kind of their error
	loginRequired int
	lost          int // sessions for which a login was needed
	kills, stops  int
}

// life is what a member went through.
type life struct {
	p        *process
	heard    chan struct{} // closed when all that it said is counted
	killed   time.Time
	stops    []span
	lastGood map[string]time.Time // when each account was last served
}

// span is a time during which something was so. It is open while to is zero.
type span struct{ from, to time.Time }

// within is how much of s falls between from and to.
func (s span) within(from, to time.Time) time.Duration {
	if s.to.IsZero() || s.to.After(to) {
		s.to = to
	}
	if s.from.Before(from) {
		s.from = from
	}
	return max(s.to.Sub(s.from), 0)
}

func (c *chaos) run(t *testing.T, long time.Duration) {
	for _, account := range c.accounts {
		if err := c.login(t.Context(), account); err != nil {
			t.Fatal(err)
		}
	}
	const members = 4
	for range members {
		c.hire(t)
	}
	var under sync.WaitGroup // stops and cuts that will end
	var cutting bool
	var cutDone = make(chan struct{}, 1)
	for end := time.Now().Add(long); time.Now().Before(end) && !t.Failed(); {
		switch n := c.random.IntN(100); {
		case n < 20:
			victim := c.pick()
			c.kill(victim)
			c.hire(t)
		case n < 50:
			victim, d := c.pick(), time.Duration(c.random.Int64N(int64(2*(chaosTimeout+chaosMargin))))
			under.Go(func() { c.stop(victim, d) })
		case n < 53 && !cutting:
			cutting = true
			d := time.Duration(c.random.Int64N(int64(2 * chaosMargin)))
			under.Go(func() {
				c.cut(t, d)
				cutDone <- struct{}{}
			})
		}
		c.mendLogins(t)
		select {
		case <-cutDone:
			cutting = false
		case <-time.After(time.Duration(c.random.Int64N(int64(300 * time.Millisecond)))):
		}
	}
	if c.kills == 0 { // in a short run
		c.kill(c.pick())
	}
	under.Wait()
	c.calm(t)
}

// hire starts another member, which begins to work when it is ready.
func (c *chaos) hire(t *testing.T) {
	p := c.launch(t)
	l := &life{p: p, heard: make(chan struct{}), lastGood: map[string]time.Time{}}
	c.mu.Lock()
	c.lives[p.name] = l
	c.mu.Unlock()
	go func() {
		defer close(l.heard)
		for r := range p.reports {
			if r.Event == "ready" {
				p.order(t, order{Do: "work", Timeout: 2 * (chaosTimeout + chaosMargin), Pause: 25 * time.Millisecond})
				continue
			}
			c.hear(l, r)
		}
	}()
}

func (c *chaos) hear(l *life, r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Err == "" {
		c.served++
		l.lastGood[r.Account] = r.Began.Add(r.Took)
		return
	}
	if r.is("ErrLoginRequired") {
		c.loginRequired++
	}
	slices.Sort(r.Kinds)
	c.failed[fmt.Sprint(r.Kinds)]++
}

// pick returns a member that lives.
func (c *chaos) pick() *life {
	c.mu.Lock()
	defer c.mu.Unlock()
	var alive []string
	for name, l := range c.lives {
		if l.killed.IsZero() {
			alive = append(alive, name)
		}
	}
	slices.Sort(alive)
	return c.lives[alive[c.random.IntN(len(alive))]]
}

func (c *chaos) kill(l *life) {
	c.mu.Lock()
	l.killed = time.Now()
	c.kills++
	c.mu.Unlock()
	l.p.kill()
}

// stop stops a member for d.
func (c *chaos) stop(l *life, d time.Duration) {
	c.mu.Lock()
	i := len(l.stops)
	l.stops = append(l.stops, span{from: time.Now()})
	c.stops++
	c.mu.Unlock()
	l.p.stop()
	<-time.After(d)
	l.p.resume()
	c.mu.Lock()
	l.stops[i].to = time.Now()
	c.mu.Unlock()
}

// cut cuts the engine off for d.
func (c *chaos) cut(t *testing.T, d time.Duration) {
	c.mu.Lock()
	i := len(c.cuts)
	c.cuts = append(c.cuts, span{from: time.Now()})
	c.mu.Unlock()
	mend := c.running.cut(t)
	<-time.After(d)
	mend()
	c.mu.Lock()
	// An operation that was under way may notice late, and one that failed is tried
	// again after a while.
	c.cuts[i].to = time.Now().Add(time.Second)
	c.mu.Unlock()
}

// mendLogins logs in again where the session was lost.
func (c *chaos) mendLogins(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, account := range c.accounts {
		r, err := c.store.Load(ctx, account)
		if err == nil || r.State != tokenclient.Refused {
			continue
		}
		if c.login(ctx, account) == nil {
			c.mu.Lock()
			c.lost++
			c.mu.Unlock()
		}
	}
}

// calm waits until each member that lives has been served after the last fault.
func (c *chaos) calm(t *testing.T) {
	since := time.Now()
	for end := since.Add(patience); ; {
		c.mendLogins(t)
		var waiting []string
		c.mu.Lock()
		for name, l := range c.lives {
			for _, account := range c.accounts {
				if l.killed.IsZero() && !l.lastGood[account].After(since) {
					waiting = append(waiting, name+" for "+account)
				}
			}
		}
		c.mu.Unlock()
		if len(waiting) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("all is calm, and %v are not served within %v; failed so far: %v", waiting, patience, c.failed)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// storedToken is the refresh token of account in the store.
func (c *chaos) storedToken(account string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	r, err := c.store.Load(ctx, account)
	if err != nil {
		return ""
	}
	return r.Token.RefreshToken
}

// judge holds the server's record against what was done to the processes.
func (c *chaos) judge(t *testing.T) {
	for _, l := range c.lives {
		l.p.kill()
		<-l.heard
	}
	calls := c.gate.history()
	rotated := map[string]call{} // by the token presented
	var killed, away, refreshes int
	for _, again := range calls {
		first, twice := rotated[again.Presented]
		if again.Status == 200 {
			refreshes++
			if !twice {
				rotated[again.Presented] = again
				continue
			}
		}
		if !twice {
			continue // refused with the whole session, or never got to the server
		}
		l := c.lives[first.Member]
		absent := c.absent(l, first.Arrived, again.Arrived)
		switch {
		case !l.killed.IsZero() && l.killed.Before(again.Arrived):
			killed++
			if again.Stored != "" && again.Stored != again.Presented {
				t.Errorf("%s presented a token though another was stored: %s, which exchanged it, was killed after it had saved", again.Member, first.Member)
			}
		case absent >= chaosMargin-chaosMargin/4: // what happened just before counts too
			away++
		default:
			t.Errorf("%s presented the token that %s had exchanged %v before, which was neither killed nor away for long (%v)",
				again.Member, first.Member, again.Arrived.Sub(first.Arrived), absent)
		}
	}
	counters := c.srv.Counters()
	if counters.Reuses > killed+away {
		t.Errorf("the server saw %d reuses, explained are %d", counters.Reuses, killed+away)
	}
	if c.lost > killed+away {
		t.Errorf("%d sessions lost, explained are %d", c.lost, killed+away)
	}
	if refreshes == 0 || c.kills == 0 {
		t.Errorf("%d refreshes, %d kills: nothing was tried", refreshes, c.kills)
	}
	t.Logf("%s: %d kills, %d stops, %d cuts; %d refreshes, %d requests served", c.engine, c.kills, c.stops, len(c.cuts), refreshes, c.served)
	t.Logf("%s: reuses inside the window: %d after a kill, %d after a stop or cut; outside: %d; sessions lost: %d",
		c.engine, killed, away, max(counters.Reuses-killed-away, 0), c.lost)
	for _, kinds := range slices.Sorted(maps.Keys(c.failed)) {
		t.Logf("%s: requests failed with %s: %d", c.engine, kinds, c.failed[kinds])
	}
}

// absent is how long a member was stopped, or without an engine, between from and to.
func (c *chaos) absent(l *life, from, to time.Time) time.Duration {
	var sum time.Duration
	for _, s := range append(slices.Clone(l.stops), c.cuts...) {
		sum += s.within(from, to)
	}
	return sum
}
