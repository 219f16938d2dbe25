package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Where a child can be killed or stopped in a refresh: before and after each Get
// and CompareAndSwap, and while its request is on the way to the judge or the answer
// on the way back. At each of these points it tells its parent, and waits for leave
// to go on; the judge lives in the parent.

// A stoppingKV tells the parent of each operation.
type stoppingKV struct {
	store.KV
	point func(format string, args ...any)
}

func (k stoppingKV) Get(ctx context.Context, key string) ([]byte, error) {
	k.point("before Get")
	defer k.point("after Get")
	return k.KV.Get(ctx, key)
}

func (k stoppingKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	k.point("before CompareAndSwap")
	defer k.point("after CompareAndSwap")
	return k.KV.CompareAndSwap(ctx, key, old, new)
}

// refreshInSteps is the child's part. It ends the process.
func refreshInSteps(t testing.TB, kv store.KV, key string, in *bufio.Scanner, say func(string, ...any)) {
	hear := func() string {
		if !in.Scan() {
			os.Exit(3)
		}
		return in.Text()
	}
	point := func(format string, args ...any) {
		say("point "+format, args...)
		hear()
	}
	kv = timedKV{kv, func(took time.Duration) {
		if took > tooSlow {
			say("slow %v", took)
		}
	}}
	seen, err := shared(t, kv).Load(t.Context(), key)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	r, err := shared(t, stoppingKV{kv, point}).Refresh(t.Context(), key, seen, shortCall, func(_ context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
		point("before the request")
		say("present %d %s", r.Announced, r.Token.RefreshToken)
		answer := hear()
		point("after the answer")
		access, refresh, ok := strings.Cut(answer, " ")
		if !ok {
			return nil, tokenclient.ErrRefused
		}
		return &tokenclient.Token{AccessToken: access, RefreshToken: refresh}, nil
	})
	say("end %d %v", r.Number, err)
	os.Exit(0)
}

// A killCase is a child that is killed or stopped at one point of its refresh.
type killCase struct {
	*kvCheck
	n     int // point, from 0
	stop  bool
	key   string
	judge *judge
	seen  tokenclient.Record

	claimed, answered, saved bool // what the child did until then
	unannounced              bool // what the judge found, which no slowness excuses
}

// everywhere runs a killCase for each point that there is.
func everywhere(stop bool) func(c *kvCheck) {
	return func(c *kvCheck) {
		const most = 10 // a refresh has eight points, and more on a machine that is slow
		var wg sync.WaitGroup
		atOnce := make(chan struct{}, 6)
		var mu sync.Mutex
		reached := make(map[int]string)
		var keys atomic.Int32 // a case that is tried again needs another one
		want := c.scale(most)
		for i := range want {
			n := i * most / want
			atOnce <- struct{}{}
			wg.Go(func() {
				defer func() { <-atOnce }()
				c.fairly(func(c *kvCheck) (surely bool) {
					k := &killCase{kvCheck: c, n: n, stop: stop, key: fmt.Sprintf("key %d", keys.Add(1))}
					if at := k.try(); at != "" {
						mu.Lock()
						defer mu.Unlock()
						reached[n] = at
					}
					return k.unannounced
				})
			})
		}
		wg.Wait()
		if c.scale(most) == most && len(reached) < 8 {
			c.errorf("only these points were reached: %q", reached)
		}
	}
}

// try returns the point at which it killed or stopped the child, or "" if the refresh
// was over before.
func (k *killCase) try() (at string) {
	var first *tokenclient.Token
	var err error
	k.judge, first = newJudge()
	if k.seen, _, err = shared(k.t, k.kv).Replace(k.ctx(), k.key, first); err != nil {
		k.fatalf("login: %v", err)
	}
	p := k.start(kvRole + "refresh " + strconv.Quote(k.key))
	p.want("ready")
	n := -1
	for {
		line := p.line()
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "point":
			if rest == "after CompareAndSwap" {
				k.claimed, k.saved = true, k.answered
			}
			if n++; n == k.n {
				k.interrupt(p, fmt.Sprintf("at point %d, %s", n, rest))
				return rest
			}
			p.say("go")
		case "present":
			k.answered = true
			p.say(k.answer(rest))
		case "slow":
			k.slow(rest)
		default:
			if line != "end 2 <nil>" {
				k.errorf("a refresh without any fault: %q", line)
			}
			p.end()
			return ""
		}
	}
}

// slow notes that the engine was slow when the child asked it.
func (k *killCase) slow(took string) {
	d, err := time.ParseDuration(took)
	if err != nil {
		k.errorf("a process says that the engine took %q", took)
	}
	k.note(d)
}

// answer is what the judge says to a presentation of the child.
func (k *killCase) answer(line string) string {
	count, refreshToken, _ := strings.Cut(line, " ")
	announced, _ := strconv.Atoi(count)
	t, err := k.judge.present(refreshToken, announced, true)
	if err != nil {
		return "refused"
	}
	return t.AccessToken + " " + t.RefreshToken
}

// interrupt kills or stops p, lets another process go on, and judges.
func (k *killCase) interrupt(p *process, at string) {
	if k.stop {
		if err := stopProcess(p.cmd.Process); err != nil {
			k.fatalf("stop a process: %v", err)
		}
	} else {
		p.kill()
	}
	// Only between the answer of the server and the committed save may the session
	// be lost: the new pair is in the hands of the child alone.
	window := k.answered && !k.saved
	stored, err := shared(k.t, k.kv).Load(k.ctx(), k.key)
	if err != nil || k.saved && stored.Number != 2 || k.claimed && !k.saved && stored.Announced != 1 {
		k.errorf("%s: number %d, announced %d, error %v; the last swap is not in it", at, stored.Number, stored.Announced, err)
	}

	hold := shortCall + time.Second
	began := time.Now()
	presented := false
	r, err := shared(k.t, k.kv).Refresh(k.ctx(), k.key, k.seen, shortCall, func(_ context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
		presented = true
		return k.judge.present(r.Token.RefreshToken, r.Announced, true)
	})
	took := time.Since(began)
	switch {
	case window && errors.Is(err, tokenclient.ErrRefused):
	case err != nil || r.Number != 2:
		k.errorf("%s: another process: number %d, error %v; want 2", at, r.Number, err)
	}
	if presented && k.claimed && took < hold {
		k.errorf("%s: another process presented the token after %v, though its request could still be on its way; want no less than %v", at, took, hold)
	}
	if took > hold+operationTimeout {
		k.errorf("%s: another process went on after %v; want %v", at, took, hold)
	}
	if k.stop {
		k.goOn(p, at)
	}
	k.judge.mu.Lock()
	defer k.judge.mu.Unlock()
	if k.judge.unannounced > 0 {
		k.unannounced = true
		k.errorf("%s: %d presentations were not announced", at, k.judge.unannounced)
	}
	if k.judge.reused > 0 && !window {
		k.errorf("%s: a token was presented that had been exchanged", at)
	}
}

// goOn lets p go on after it was stopped for longer than its hold.
func (k *killCase) goOn(p *process, at string) {
	request := strings.HasSuffix(at, "before the request")
	if err := continueProcess(p.cmd.Process); err != nil {
		k.fatalf("continue a process: %v", err)
	}
	p.say("go")
	for {
		line := p.line()
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "point":
			p.say("go")
			continue
		case "slow":
			k.slow(rest)
			continue
		case "present":
			if !request {
				k.errorf("%s: when it went on, the process presented a token that it did not hold any more", at)
			}
			p.say(k.answer(rest))
			if request {
				// The check was before: nobody but the server can tell. But what the
				// other process stored must stay.
				k.judge.mu.Lock()
				k.judge.reused = 0
				k.judge.mu.Unlock()
			}
			continue
		}
		if line != "end 2 <nil>" {
			k.errorf("%s: when it went on: %q; want number 2", at, line)
		}
		p.end()
		break
	}
	r, err := shared(k.t, k.kv).Load(k.ctx(), k.key)
	if err != nil || r.Number != 2 {
		k.errorf("%s: %v number %d in the end, error %v; want the newest pair", at, r.State, r.Number, err)
	}
}

// killRows are the expectations of what happens when processes end or stand still.
var killRows = []kvRow{
	{"killed anywhere in a refresh", "others must go on, and the session is lost only with the answer of the server", true, everywhere(false)},
}

func init() {
	if canStop {
		killRows = append(killRows, kvRow{
			"stopped anywhere in a refresh", "a process that goes on must not spend the others' token, nor throw away its own", true, everywhere(true),
		})
	}
}
