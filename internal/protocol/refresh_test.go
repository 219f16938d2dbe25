package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// One refresh up to its presentation: looking, waiting, announcing, calling fn.

func TestRefreshAnnouncesThenPresents(t *testing.T) {
	m, a, _ := bed(false)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, 20*time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		wantToken(t, cur, "refresh-a", 1)
		h := m.header(t)
		if h.Announced != 1 || cur.Announced != 1 || h.Lease == [16]byte{} || h.Number != 1 || h.Era != seen.Era {
			t.Errorf("during fn: announced %d in the record, %d in the argument, lease %x", h.Announced, cur.Announced, h.Lease)
		}
		if h.LeaseLen < 20*time.Second || h.LeaseLen > 21*time.Second {
			t.Errorf("lease of %v for a call of 20s", h.LeaseLen)
		}
		return next(ctx, cur)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a'", 2)
	m.free(t, 0)
	wantStored(t, a, "k", "refresh-a'", 2)
}

func TestRefreshReturnsNewerRecordWithoutFn(t *testing.T) {
	_, a, b := bed(false)
	first := login(t, a, "k", "a")
	second, err := a.Refresh(t.Context(), "k", first, time.Second, next)
	if err != nil {
		t.Fatal(err)
	}
	// A holder is at work meanwhile: nobody waits for it who needs not.
	_, err = a.Refresh(t.Context(), "k", second, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		for name, seen := range map[string]tokenclient.Record{
			"a lower number": first, "another era": {Era: [16]byte{1}, Number: 9}, "nothing": {},
		} {
			rec, err := b.Refresh(t.Context(), "k", seen, time.Second, never(t))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			wantToken(t, rec, "refresh-a'", 2)
		}
		return next(ctx, cur)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWaitersGetTheHoldersToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(false)
		seen := login(t, a, "k", "a")
		results := make(chan tokenclient.Record)
		for _, p := range []*protocol.Engine{a, b, a, b} {
			go func() {
				rec, err := p.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
					<-time.After(10 * time.Second)
					return next(ctx, cur)
				})
				if err != nil {
					t.Error(err)
				}
				results <- rec
			}()
		}
		start := time.Now()
		for range 4 {
			wantToken(t, <-results, "refresh-a'", 2)
		}
		if d := time.Since(start); d > 10*time.Second+200*time.Millisecond {
			t.Errorf("took %v", d)
		}
		if m.writes != 3 {
			t.Errorf("%d writes, want login, claim and save", m.writes)
		}
	})
}

// TestWaiterLeavesDuringTheHold: what a waiter waits for may come while the holder
// still holds.
func TestWaiterLeavesDuringTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := bed(false)
		seen := login(t, a, "k", "a")
		release := make(chan struct{})
		go func() {
			_, err := a.Refresh(t.Context(), "k", seen, time.Hour, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
				<-release
				return next(ctx, cur)
			})
			if !errors.Is(err, tokenclient.ErrReplaced) {
				t.Errorf("holder: %v", err)
			}
		}()
		synctest.Wait()
		waiter := make(chan tokenclient.Record)
		go func() {
			rec, err := b.Refresh(t.Context(), "k", seen, time.Second, never(t))
			if err != nil {
				t.Error(err)
			}
			waiter <- rec
		}()
		<-time.After(30 * time.Second)
		now := login(t, a, "k", "b") // does not wait either
		start := time.Now()
		if rec := <-waiter; rec.Era != now.Era {
			t.Errorf("%v", rec)
		}
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Errorf("noticed after %v", d)
		}
		close(release)
	})
}

func TestRollBackIsMended(t *testing.T) {
	m, a, b := bed(false)
	first := login(t, a, "k", "a")
	backup := m.raw("k")
	second, err := a.Refresh(t.Context(), "k", first, time.Second, next)
	if err != nil {
		t.Fatal(err)
	}
	m.put("k", backup)
	second.Announced = 2 // it was announced before the roll-back
	rec, err := a.Refresh(t.Context(), "k", second, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		wantToken(t, cur, "refresh-a'", 2)
		if cur.Announced != 3 {
			t.Errorf("%d announced", cur.Announced)
		}
		wantStored(t, b, "k", "refresh-a'", 2)
		return next(ctx, cur)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a''", 3)

	m.put("k", backup)
	rec.Token = nil
	_, err = a.Refresh(t.Context(), "k", rec, time.Second, never(t))
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
}

// TestAnnouncedCounts: only what certainly did not spend the token is taken back.
func TestAnnouncedCounts(t *testing.T) {
	status := func(n int) error { return &tokenclient.TokenError{StatusCode: n} }
	for _, c := range []struct {
		name string
		err  error
		kept bool
	}{
		{"not presented", fmt.Errorf("dial: %w", tokenclient.ErrNotPresented), false},
		{"not presented, typed", &tokenclient.TokenError{Err: tokenclient.ErrNotPresented}, false},
		{"400", status(400), false},
		{"401", status(401), false},
		{"408", status(408), true},
		{"429", fmt.Errorf("wrapped: %w", status(429)), false},
		{"500", status(500), true},
		{"502", status(502), true},
		{"no answer", status(0), true},
		{"other", errors.New("EOF"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, a, _ := bed(false)
			seen := login(t, a, "k", "a")
			want := 0
			for range 3 {
				rec, err := a.Refresh(t.Context(), "k", seen, time.Second, func(_ context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
					defer func() { cur.Token.RefreshToken = "spoilt" }()
					if cur.Announced != want+1 {
						t.Errorf("fn sees %d announced, want %d", cur.Announced, want+1)
					}
					return nil, c.err
				})
				if err != c.err {
					t.Fatalf("error is %v, want fn's own", err)
				}
				if c.kept {
					want++
				}
				if rec.Announced != want {
					t.Errorf("returned record: %d announced, want %d", rec.Announced, want)
				}
				wantToken(t, rec, "refresh-a", 1)
				m.free(t, want)
			}
			rec, err := a.Refresh(t.Context(), "k", seen, time.Second, next)
			if err != nil || rec.Announced != 0 {
				t.Fatalf("%v, %v", rec, err)
			}
			m.free(t, 0) // the next token was never announced
		})
	}
}

func TestAnnouncedIsTakenBackAndSaturates(t *testing.T) {
	m, a, _ := bed(false)
	seen := login(t, a, "k", "a")
	for _, c := range []struct{ before, kept, back uint8 }{{0, 1, 0}, {1, 2, 1}, {254, 255, 254}, {255, 255, 255}} {
		for want, err := range map[uint8]error{c.kept: errors.New("EOF"), c.back: tokenclient.ErrNotPresented} {
			m.put("k", setAnnounced(t, m.raw("k"), c.before))
			if _, got := a.Refresh(t.Context(), "k", seen, time.Second, fails(err)); got != err {
				t.Fatal(got)
			}
			m.free(t, int(want))
		}
	}
}

// TestClaimWithLostReply: the claim is found in the record by its lease, is written
// again, and not announced again.
func TestClaimWithLostReply(t *testing.T) {
	for name, list := range map[string][]fault{
		"lost reply":          {lostReply},
		"dropped":             {dropped},
		"delayed":             {delayed},
		"lost, lost":          {lostReply, lostReply},
		"dropped, lost reply": {dropped, lostReply},
		"delayed, dropped":    {delayed, dropped},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &faultyMedium{}
				a := newEngine(m, nil, &testSealer{})
				seen := login(t, a, "k", "a")
				m.faults(list...)
				calls, start := 0, time.Now()
				rec, err := a.Refresh(t.Context(), "k", seen, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
					calls++
					if d := time.Since(start); d > time.Second {
						t.Errorf("waited %v for its own lease", d)
					}
					m.land()
					if h := m.header(t); h.Announced != 1 || cur.Announced != 1 {
						t.Errorf("%d announced, fn sees %d", h.Announced, cur.Announced)
					}
					return next(ctx, cur)
				})
				if err != nil || calls != 1 {
					t.Fatalf("%d calls, %v", calls, err)
				}
				wantToken(t, rec, "refresh-a'", 2)
			})
		})
	}
}

// TestClaimInDoubtWhileReadsFail: to leave would block the key for the others.
func TestClaimInDoubtWhileReadsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		m.onWrite = func(n int, _, _ []byte) fault {
			if n != 2 {
				return fine
			}
			m.mu.Lock()
			m.onRead = func() error { return errDown }
			m.mu.Unlock()
			time.AfterFunc(time.Second, func() {
				m.mu.Lock()
				m.onRead = nil
				m.mu.Unlock()
			})
			return lostReply
		}
		rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			if h := m.header(t); h.Announced != 1 {
				t.Errorf("%d announced", h.Announced)
			}
			return next(ctx, cur)
		})
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'", 2)
	})
}

// TestClaimThatNeverGetsAReply: the caller gets an error soon, fn is not called, and
// what was announced is taken back.
func TestClaimThatNeverGetsAReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		m.mu.Lock()
		m.onWrite = func(int, []byte, []byte) fault { return lostReply }
		m.mu.Unlock()
		start := time.Now()
		_, err := a.Refresh(t.Context(), "k", seen, time.Second, never(t))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		if d := time.Since(start); d < 3*time.Second || d > 6*time.Second {
			t.Errorf("tried for %v", d)
		}
		m.free(t, 0)
	})
}

func TestClaimThatCannotBeWrittenFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		m.faults(refused)
		start := time.Now()
		_, err := a.Refresh(t.Context(), "k", seen, time.Second, never(t))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		if d := time.Since(start); d != 0 {
			t.Errorf("after %v", d)
		}
		m.free(t, 0)
	})
}

// TestGhostClaim: a claim that lands after its caller left is one more announcement
// and a lease of nobody.
func TestGhostClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(false)
		seen := login(t, a, "k", "a")
		m.faults(delayed)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := a.Refresh(ctx, "k", seen, time.Second, never(t))
			done <- err
		}()
		synctest.Wait()
		cancel()
		wantErr(t, <-done, context.Canceled)
		m.land()
		if h := m.header(t); h.Announced != 1 || h.Lease == [16]byte{} {
			t.Fatalf("%+v", h)
		}
		_, err := b.Refresh(t.Context(), "k", seen, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			if cur.Announced != 2 {
				t.Errorf("%d announced", cur.Announced)
			}
			return next(ctx, cur)
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestOldClaimIsClaimedAgain: the lease counts from when the claim was written. If
// that was long ago, the call could outlive it.
func TestOldClaimIsClaimedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		const delay = 3 * time.Second
		m.mu.Lock()
		m.onWrite = func(int, []byte, []byte) fault { <-time.After(delay); return fine }
		m.mu.Unlock()
		rec, err := a.Refresh(t.Context(), "k", seen, 20*time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			if h := m.header(t); h.Announced != 1 || h.LeaseLen < 20*time.Second+delay {
				t.Errorf("%d announced, lease of %v", h.Announced, h.LeaseLen)
			}
			return next(ctx, cur)
		})
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'", 2)
		if m.writes != 1+2+1 {
			t.Errorf("%d writes, want login, two claims and a save", m.writes)
		}
	})
}

// TestDataKeyIsMadeBeforeTheClaim: a key that is locked must be noticed before the
// token is spent, and one key is enough for all tries.
func TestDataKeyIsMadeBeforeTheClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &faultyMedium{}
		sealer := &testSealer{}
		a := newEngine(m, &locks{}, sealer)
		seen := login(t, a, "k", "a")
		sealer.newErr = errors.New("locked")
		_, err := a.Refresh(t.Context(), "k", seen, time.Second, never(t))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		m.free(t, 0)
		if m.writes != 1 {
			t.Errorf("%d writes", m.writes)
		}
		_, _, err = a.Replace(t.Context(), "k", tok("b"))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		wantStored(t, a, "k", "refresh-a", 1)

		var order []string
		sealer.newErr, sealer.made = nil, 0
		sealer.onNew = func() { order = append(order, "data key") }
		m.onWrite = func(n int, _, _ []byte) fault {
			order = append(order, "write")
			return map[bool]fault{true: dropped}[n%2 == 0]
		}
		if _, err = a.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
			t.Fatal(err)
		}
		if sealer.made != 1 || order[0] != "data key" {
			t.Errorf("%v", order)
		}
		wantStored(t, a, "k", "refresh-a'", 2)
	})
}

func TestPanicInFnMayHaveSpentTheToken(t *testing.T) {
	var nilMap map[string]int
	for name, fn := range map[string]func(){
		"boom":           func() { panic("boom") },
		"nil map":        func() { nilMap["x"] = 1 },
		"not presented":  func() { panic(tokenclient.ErrNotPresented) },
		"refused":        func() { panic(tokenclient.ErrRefused) },
		"nil":            func() { panic(nil) },
		"ended its goro": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			m, a, _ := bed(false)
			seen := login(t, a, "k", "a")
			_, err := a.Refresh(t.Context(), "k", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				fn()
				return nil, nil
			})
			if err == nil || errors.Is(err, tokenclient.ErrNotPresented) || errors.Is(err, tokenclient.ErrLoginRequired) ||
				!strings.Contains(err.Error(), name) {
				t.Errorf("error: %v", err)
			}
			m.free(t, 1)
			wantStored(t, a, "k", "refresh-a", 1)
		})
	}
}

// TestFnOutlivesItsTimeout: what fn brings late is stored, and nobody presents
// the token meanwhile.
func TestFnOutlivesItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		rec, err := a.Refresh(t.Context(), "k", seen, 20*time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			<-time.After(10 * time.Minute)
			wantErr(t, ctx.Err(), context.DeadlineExceeded)
			waiter, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := a.Refresh(waiter, "k", seen, time.Second, never(t))
			wantErr(t, err, context.DeadlineExceeded)
			return next(ctx, cur)
		})
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'", 2)
		wantStored(t, a, "k", "refresh-a'", 2)
		m.free(t, 0)
	})
}

func TestReentrance(t *testing.T) {
	_, a, b := bed(true)
	seen := login(t, a, "k", "a")
	other := login(t, a, "other", "o")
	_, err := a.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		_, err := a.Refresh(ctx, "k", cur, time.Second, never(t))
		if err != tokenclient.ErrReentrant {
			t.Errorf("the same key: %v", err)
		}
		derived, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		_, err = a.Refresh(derived, "k", tokenclient.Record{}, time.Second, never(t))
		if err != tokenclient.ErrReentrant {
			t.Errorf("a derived context: %v", err)
		}
		// All else waits for nobody, so it is answered.
		wantStored(t, a, "k", "refresh-a", 1)
		rec, err := a.Refresh(ctx, "other", other, time.Second, func(inner context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			if _, err := a.Refresh(inner, "k", seen, time.Second, never(t)); err != tokenclient.ErrReentrant {
				t.Errorf("through another key: %v", err)
			}
			return next(inner, cur)
		})
		if err != nil || rec.Number != 2 {
			t.Errorf("another key: %v", err)
		}
		if _, err := b.Refresh(ctx, "k", tokenclient.Record{}, time.Second, never(t)); err != nil {
			t.Errorf("another store: %v", err)
		}
		if _, _, err := a.Replace(ctx, "k", nil); err != nil {
			t.Errorf("logout: %v", err)
		}
		return next(ctx, cur)
	})
	wantErr(t, err, tokenclient.ErrReplaced)
}

type ctxKey struct{}

func TestContextOfFn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "value"))
		defer cancel()
		var fnCtx context.Context
		rec, err := a.Refresh(ctx, "k", seen, 20*time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			fnCtx = ctx
			if ctx.Value(ctxKey{}) != "value" {
				t.Error("the caller's values are gone")
			}
			if d, _ := ctx.Deadline(); time.Until(d) != 20*time.Second {
				t.Errorf("deadline in %v", time.Until(d))
			}
			cancel()
			<-time.After(time.Second)
			if ctx.Err() != nil {
				t.Error("ended with the caller's")
			}
			return next(ctx, cur)
		})
		if err != nil {
			t.Fatalf("the end of ctx threw a pair away: %v", err)
		}
		wantToken(t, rec, "refresh-a'", 2)
		wantStored(t, a, "k", "refresh-a'", 2)
		if fnCtx.Err() == nil {
			t.Error("fn's context is still alive")
		}
	})
}

func TestContextEndsBeforeFn(t *testing.T) {
	for _, when := range []string{"before", "while waiting", "in the claim", "in an unclear claim"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := bed(false)
				seen := login(t, a, "k", "a")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				release := make(chan struct{})
				switch when {
				case "before":
					cancel()
				case "while waiting":
					go func() {
						_, _ = b.Refresh(t.Context(), "k", seen, time.Hour, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
							<-release
							return nil, tokenclient.ErrNotPresented
						})
					}()
					synctest.Wait()
					time.AfterFunc(time.Second, cancel)
				default:
					m.onWrite = func(n int, _, _ []byte) fault {
						if n > 2 {
							return fine
						}
						cancel()
						return map[string]fault{"in an unclear claim": lostReply}[when]
					}
				}
				_, err := a.Refresh(ctx, "k", seen, time.Second, never(t))
				wantErr(t, err, context.Canceled)
				wantErr(t, err, tokenclient.ErrStoreUnavailable)
				close(release)
				synctest.Wait()
				m.free(t, 0)
			})
		})
	}
}

func TestRefreshTimeouts(t *testing.T) {
	_, a, _ := bed(false)
	seen := login(t, a, "k", "a")
	for _, d := range []time.Duration{0, -1, time.Hour + 1} {
		if _, err := a.Refresh(t.Context(), "k", seen, d, never(t)); err == nil {
			t.Errorf("timeout %v: no error", d)
		}
	}
}
