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

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
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
			c.Base.Accounts = c.accounts
			c.Server.Set(func(o *tokentest.Options) { o.AccessLifetime = time.Second })
			c.Gate.Delay = func() time.Duration { return rand.N(100 * time.Millisecond) }
			c.Gate.Stored = c.storedToken
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

	mu           sync.Mutex // guards all below
	lives        map[string]*life
	cuts         []span
	served       int
	failed       map[string]int // requests, by the kind of their error
	lost         int            // sessions for which a login was needed
	kills, stops int
}

// life is what an agent went through.
type life struct {
	p        *processes.Process
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
	const agents = 4
	for range agents {
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

// login stores a new token of account's.
func (c *chaos) login(ctx context.Context, account string) error {
	return c.Put(ctx, account, c.Issue(account))
}

// hire starts another agent, which begins to work when it is ready.
func (c *chaos) hire(t *testing.T) {
	p := c.Launch(t, nil)
	l := &life{p: p, lastGood: map[string]time.Time{}}
	c.mu.Lock()
	c.lives[p.Name] = l
	c.mu.Unlock()
	order := processes.Order{Timeout: 2 * (chaosTimeout + chaosMargin), Pause: 25 * time.Millisecond}
	p.Work(t, order, func(a processes.Answer) { c.hear(t, l, a) })
}

func (c *chaos) hear(t *testing.T, l *life, a processes.Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case a.Served(a.Account):
		c.served++
		l.lastGood[a.Account] = a.Began.Add(a.Took)
	case a.Status == 200:
		t.Errorf("%s was served with the token of %q", a.Account, a.Subject)
	case a.Err == "":
		c.failed[fmt.Sprintf("status %d", a.Status)]++
	default:
		c.failed[fmt.Sprint(a.Kinds)]++
	}
}

// pick returns an agent that lives.
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
	l.p.Kill()
}

// stop stops an agent for d.
func (c *chaos) stop(l *life, d time.Duration) {
	c.mu.Lock()
	i := len(l.stops)
	l.stops = append(l.stops, span{from: time.Now()})
	c.stops++
	c.mu.Unlock()
	l.p.Stop()
	<-time.After(d)
	l.p.Resume()
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
		r, err := c.Store.Load(ctx, account)
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

// calm waits until each agent that lives has been served after the last fault.
func (c *chaos) calm(t *testing.T) {
	since := time.Now()
	for end := since.Add(processes.Patience); ; {
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
			t.Fatalf("all is calm, and %v are not served within %v; failed so far: %v", waiting, processes.Patience, c.failed)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// storedToken is the refresh token of account in the store.
func (c *chaos) storedToken(account string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	r, err := c.Store.Load(ctx, account)
	if err != nil {
		return ""
	}
	return r.Token.RefreshToken
}

// judge holds the server's record against what was done to the processes.
func (c *chaos) judge(t *testing.T) {
	for _, l := range c.lives {
		l.p.Kill()
	}
	calls := c.Gate.History()
	rotated := map[string]processes.Call{} // by the token presented
	var killed, away, refreshes int
	for _, again := range calls {
		first, twice := rotated[again.Presented]
		if again.Rotated() {
			refreshes++
			if !twice {
				rotated[again.Presented] = again
				continue
			}
		}
		if !twice {
			continue // refused with the whole session, or never got to the server
		}
		l := c.lives[first.Agent]
		absent := c.absent(l, first.Arrived, again.Arrived)
		switch {
		case !l.killed.IsZero() && l.killed.Before(again.Arrived):
			killed++
			if again.Stored != "" && again.Stored != again.Presented {
				t.Errorf("%s presented a token though another was stored: %s, which exchanged it, was killed after it had saved", again.Agent, first.Agent)
			}
		case absent >= chaosMargin-chaosMargin/4: // what happened just before counts too
			away++
		default:
			t.Errorf("%s presented the token that %s had exchanged %v before, which was neither killed nor away for long (%v)",
				again.Agent, first.Agent, again.Arrived.Sub(first.Arrived), absent)
		}
	}
	counters := c.Server.Counters()
	if counters.Reuses > killed+away {
		t.Errorf("the server saw %d reuses, explained are %d", counters.Reuses, killed+away)
	}
	if c.lost > killed+away {
		t.Errorf("%d sessions lost, explained are %d", c.lost, killed+away)
	}
	if refreshes == 0 || c.kills == 0 {
		t.Errorf("%d refreshes, %d kills: nothing was tried", refreshes, c.kills)
	}
	t.Logf("%s: %d kills, %d stops, %d cuts; %d refreshes, %d requests served", c.Base.Engine, c.kills, c.stops, len(c.cuts), refreshes, c.served)
	t.Logf("%s: reuses inside the window: %d after a kill, %d after a stop or cut; outside: %d; sessions lost: %d",
		c.Base.Engine, killed, away, max(counters.Reuses-killed-away, 0), c.lost)
	for _, kinds := range slices.Sorted(maps.Keys(c.failed)) {
		t.Logf("%s: requests failed with %s: %d", c.Base.Engine, kinds, c.failed[kinds])
	}
}

// absent is how long an agent was stopped, or without an engine, between from and to.
func (c *chaos) absent(l *life, from, to time.Time) time.Duration {
	var sum time.Duration
	for _, s := range append(slices.Clone(l.stops), c.cuts...) {
		sum += s.within(from, to)
	}
	return sum
}
