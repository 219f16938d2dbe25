package stepup_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/stepup"
)

// asked is an Asking for a token of generation with, of which ask says what comes.
func asked(with, newest uint64, ask func(ctx context.Context) error) stepup.Asking {
	return stepup.Asking{
		Generation: with,
		Newest:     func() uint64 { return newest },
		Start:      func(f func()) bool { go f(); return true },
		Ask: func(ctx context.Context, over func()) error {
			defer over()
			return ask(ctx)
		},
	}
}

func TestOneAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g stepup.Group[string]
		var times atomic.Int32
		ask := func(context.Context) error {
			times.Add(1)
			time.Sleep(time.Minute)
			return nil
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := g.Do(t.Context(), "api", "a", asked(1, 2, ask)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if err := g.Do(t.Context(), "api", "b", asked(1, 2, ask)); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if n := times.Load(); n != 2 {
			t.Errorf("asked %d times for two demands", n)
		}
		never := asked(1, 2, func(context.Context) error { t.Error("asked again"); return nil })
		if err := g.Do(t.Context(), "api", "a", never); err != nil {
			t.Errorf("an older token: %v", err)
		}
		never.Generation = 2
		if err := g.Do(t.Context(), "api", "a", never); !errors.Is(err, stepup.ErrAsked) {
			t.Errorf("the token that was to satisfy: %v", err)
		}
		time.Sleep(stepup.Again)
		never.Generation = 1
		if err := g.Do(t.Context(), "api", "a", never); err != nil {
			t.Errorf("an older token, later: %v", err)
		}
		if err := g.Do(t.Context(), "api", "a", asked(2, 3, ask)); err != nil || times.Load() != 3 {
			t.Errorf("later: %v, asked %d times", err, times.Load())
		}
	})
}

// TestAskingFails: who waits gets the error, and the same is not asked again for a while.
func TestAskingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g stepup.Group[string]
		failure := errors.New("no")
		fails := asked(1, 1, func(context.Context) error { return failure })
		if err := g.Do(t.Context(), "api", "a", fails); err != failure {
			t.Error(err)
		}
		if err := g.Do(t.Context(), "api", "a", fails); !errors.Is(err, stepup.ErrAsked) {
			t.Error(err)
		}
		time.Sleep(stepup.Again)
		if err := g.Do(t.Context(), "api", "a", fails); err != failure {
			t.Error(err)
		}
		closed := fails
		closed.Start = func(func()) bool { return false }
		if err := g.Do(t.Context(), "api", "b", closed); !errors.Is(err, stepup.ErrOver) {
			t.Error(err)
		}
	})
}

// TestWaitersLeave: the asking goes on without the one who began it, and ends with the last.
// Who comes then waits for its end, and asks anew.
func TestWaitersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g stepup.Group[string]
		var times atomic.Int32
		ask := func(ctx context.Context) error {
			if times.Add(1) == 2 {
				return nil
			}
			<-ctx.Done()
			time.Sleep(time.Second) // to clean up
			return ctx.Err()
		}
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Minute)
				defer cancel()
				if err := g.Do(ctx, "api", "a", asked(1, 2, ask)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("waiter %d: %v", i, err)
				}
			})
		}
		began := time.Now()
		wg.Wait()
		if d := time.Since(began); d != 3*time.Minute {
			t.Errorf("the last left after %v", d)
		}
		if err := g.Do(t.Context(), "api", "a", asked(1, 2, ask)); err != nil {
			t.Errorf("who came then: %v", err)
		}
		if d := time.Since(began); d != 3*time.Minute+time.Second || times.Load() != 2 {
			t.Errorf("after %v, asked %d times", d, times.Load())
		}
	})
}

// TestManyDemands: a server that demands something else each time has no more asked for than
// Most within Again, and another server has nothing to do with that.
func TestManyDemands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g stepup.Group[string]
		var times atomic.Int32
		ask := func(context.Context) error { times.Add(1); return nil }
		for round := range 3 {
			times.Store(0)
			for i := range 100 {
				err := g.Do(t.Context(), "api", strconv.Itoa(round*100+i), asked(1, 2, ask))
				if (i < stepup.Most) != (err == nil) || err != nil && !errors.Is(err, stepup.ErrOften) {
					t.Fatalf("round %d, demand %d: %v", round, i, err)
				}
			}
			if err := g.Do(t.Context(), "another", "a"+strconv.Itoa(round), asked(1, 2, ask)); err != nil {
				t.Error(err)
			}
			if n := times.Load(); n != stepup.Most+1 {
				t.Errorf("asked %d times", n)
			}
			time.Sleep(stepup.Again)
		}
	})
}

// TestWithoutEnd: what does not end keeps nobody for longer than Longest, and counts until it does.
func TestWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g stepup.Group[string]
		end := make(chan struct{})
		var times atomic.Int32
		hangs := stepup.Asking{
			Newest: func() uint64 { return 1 },
			Start:  func(f func()) bool { go f(); return true },
			Ask: func(ctx context.Context, over func()) error {
				times.Add(1)
				go func() { <-end; over() }()
				<-ctx.Done()
				return ctx.Err()
			},
		}
		began := time.Now()
		if err := g.Do(t.Context(), "api", "a", hangs); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != stepup.Longest {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		for range 50 { // requests of impatient callers
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_ = g.Do(ctx, "api", "a", hangs)
			cancel()
			time.Sleep(time.Minute)
		}
		if n := times.Load(); n != stepup.Most {
			t.Errorf("%d hang", n)
		}
		if err := g.Do(t.Context(), "api", "a", hangs); !errors.Is(err, stepup.ErrOften) {
			t.Error(err)
		}
		close(end)
		synctest.Wait()
		time.Sleep(stepup.Again)
		if err := g.Do(t.Context(), "api", "a", asked(1, 2, func(context.Context) error { return nil })); err != nil {
			t.Errorf("when they have ended: %v", err)
		}
	})
}

// TestManyServers: demands take no memory without end, whoever makes them.
func TestManyServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g stepup.Group[string]
		for i := range 5000 {
			if err := g.Do(t.Context(), strconv.Itoa(i%500), strconv.Itoa(i), asked(1, 2, func(context.Context) error { return nil })); err != nil {
				t.Fatal(err)
			}
			if outcomes, makers := g.Remembered(); outcomes > 1024 || makers > 500 {
				t.Fatalf("%d outcomes of %d makers are remembered", outcomes, makers)
			}
			if i%500 == 499 {
				time.Sleep(stepup.Again)
			}
		}
	})
}

// TestOthersAsk: what one demand came to is remembered however many others are asked for then,
// as long as it says something: that it is satisfied for an older token, or that the same was
// asked for a moment ago.
func TestOthersAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g stepup.Group[string]
		granted := asked(1, 2, func(context.Context) error { return nil })
		refused := asked(1, 1, func(context.Context) error { return errors.New("no") })
		never := asked(1, 2, func(context.Context) error { t.Error("asked again"); return nil })
		if err := g.Do(t.Context(), "api", "granted", granted); err != nil {
			t.Error(err)
		}
		for i := range 1023 {
			if err := g.Do(t.Context(), strconv.Itoa(i), "refused "+strconv.Itoa(i), refused); err == nil {
				t.Error("a refusal satisfies")
			}
		}
		if err := g.Do(t.Context(), "0", "refused 0", never); !errors.Is(err, stepup.ErrAsked) {
			t.Errorf("what was refused a moment ago: %v", err)
		}
		time.Sleep(stepup.Again)
		if err := g.Do(t.Context(), "api", "another", granted); err != nil {
			t.Error(err)
		}
		if err := g.Do(t.Context(), "api", "granted", never); err != nil {
			t.Errorf("an older token, after many others were asked for: %v", err)
		}
	})
}
