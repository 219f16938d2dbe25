package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What becomes of a token that cannot be stored.

// wantNotSaved returns err as that of a save that was begun at start, and tried for as long as a
// store that is down is given.
func wantNotSaved(t *testing.T, err error, start time.Time) *tokenclient.NotSavedError {
	t.Helper()
	var pending *tokenclient.NotSavedError
	if !errors.As(err, &pending) {
		t.Fatalf("error is %v, want a NotSavedError", err)
	}
	if d := time.Since(start); d < 3*time.Second || d > 6*time.Second {
		t.Errorf("tried for %v", d)
	}
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	wantErr(t, err, errDown)
	return pending
}

// notSaved makes a refresh of seen by p whose save fails.
func notSaved(t *testing.T, m *faultyMedium, p tokenclient.Store, seen tokenclient.Record) (tokenclient.Record, *tokenclient.NotSavedError) {
	t.Helper()
	start := time.Now()
	rec, err := p.Refresh(t.Context(), "k", seen, time.Second, during(func(context.Context) { m.down() }))
	pending := wantNotSaved(t, err, start)
	wantToken(t, tokenclient.Record{State: rec.State, Number: rec.Number, Token: pending.Token}, "refresh-a'", 2)
	wantToken(t, rec, "refresh-a'", 2)
	if s := fmt.Sprintf("%v %+v", err, err); strings.Contains(s, "refresh-a") || !strings.Contains(s, `"k"`) {
		t.Errorf("message: %s", s)
	}
	return rec, pending
}

// TestNotSavedKeepsTheHold: the token in the record is spent. Nobody may present it
// until the next one is stored.
func TestNotSavedKeepsTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(false)
		seen := login(t, a, "k", "a")
		rec, pending := notSaved(t, m, a, seen)

		wantErr(t, pending.Save(t.Context()), tokenclient.ErrStoreUnavailable)
		_, err := a.Refresh(t.Context(), "k", rec, time.Second, never(t))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		_, err = a.Refresh(t.Context(), "k", seen, time.Second, never(t))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)

		// Reads work again, writes do not: another process waits.
		m.mu.Lock()
		m.onRead = nil
		m.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = b.Refresh(ctx, "k", seen, time.Second, never(t))
		wantErr(t, err, context.DeadlineExceeded)
		if h := m.header(t); h.Announced != 1 {
			t.Errorf("%d announced", h.Announced)
		}
		_, err = a.Refresh(t.Context(), "k", rec, time.Second, never(t))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)

		m.up()
		rec, err = a.Refresh(t.Context(), "k", rec, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			wantToken(t, cur, "refresh-a'", 2)
			return next(ctx, cur)
		})
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a''", 3)
		if err := pending.Save(t.Context()); err != nil {
			t.Errorf("Save after it was done: %v", err)
		}
		if rec, err = b.Refresh(t.Context(), "k", rec, time.Second, next); err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'''", 4)
	})
}

func TestNotSavedIsSavedLater(t *testing.T) {
	for _, f := range []fault{fine, lostReply} {
		synctest.Test(t, func(t *testing.T) {
			m, a, b := bed(false)
			rec, pending := notSaved(t, m, a, login(t, a, "k", "a"))
			m.up()
			m.faults(f)
			if err := pending.Save(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantStored(t, b, "k", "refresh-a'", 2)
			if _, err := b.Refresh(t.Context(), "k", rec, time.Second, next); err != nil {
				t.Fatal(err)
			}
			wantStored(t, b, "k", "refresh-a''", 3)
		})
	}
}

// TestNotSavedWasSavedAfterAll: all replies were lost, or the write landed late.
func TestNotSavedWasSavedAfterAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(false)
		seen := login(t, a, "k", "a")
		_, err := a.Refresh(t.Context(), "k", seen, time.Second, during(func(context.Context) {
			m.mu.Lock()
			m.onWrite = func(int, []byte, []byte) fault { return delayed }
			m.onRead = func() error { return errDown }
			m.mu.Unlock()
		}))
		var pending *tokenclient.NotSavedError
		if !errors.As(err, &pending) {
			t.Fatal(err)
		}
		m.land()
		m.up()
		if err := pending.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantStored(t, b, "k", "refresh-a'", 2)
	})
}

func TestNotSavedNeedNotBeSaved(t *testing.T) {
	for name, c := range map[string]struct {
		want error
		do   func(t *testing.T, m *faultyMedium, b *protocol.Engine)
	}{
		"login":  {tokenclient.ErrReplaced, func(t *testing.T, _ *faultyMedium, b *protocol.Engine) { login(t, b, "k", "b") }},
		"logout": {tokenclient.ErrReplaced, func(t *testing.T, _ *faultyMedium, b *protocol.Engine) { _, _, _ = b.Replace(t.Context(), "k", nil) }},
		"refresh without the hold": {tokenclient.ErrOvertaken, func(t *testing.T, m *faultyMedium, b *protocol.Engine) {
			apart := newEngine(m, &locks{}, &testSealer{})
			seen, err := apart.Load(t.Context(), "k")
			if err == nil {
				_, err = apart.Refresh(t.Context(), "k", seen, time.Second, next)
			}
			if err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := bed(false)
				_, pending := notSaved(t, m, a, login(t, a, "k", "a"))
				m.up()
				c.do(t, m, b)
				wantErr(t, pending.Save(t.Context()), c.want)
				wantErr(t, pending.Save(t.Context()), c.want)
				// The hold is free.
				seen := login(t, b, "k", "c")
				if _, err := b.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestNotSavedIsSettledByARefresh: nobody calls Save, but a login came.
func TestNotSavedIsSettledByARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(false)
		rec, _ := notSaved(t, m, a, login(t, a, "k", "a"))
		m.up()
		now := login(t, b, "k", "b")
		got, err := a.Refresh(t.Context(), "k", rec, time.Second, never(t))
		if err != nil || got.Era != now.Era {
			t.Fatalf("%v, %v", got, err)
		}
		if _, err := b.Refresh(t.Context(), "k", now, time.Second, next); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTokenThatCannotBeSealed: what nobody can encode is left out, because the pair
// beside it is the only good one; a pair that cannot be stored exactly is no less
// in use.
func TestTokenThatCannotBeSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		rec, err := a.Refresh(t.Context(), "k", seen, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			t, err := next(ctx, cur)
			t.Extra = map[string]any{"x": make(chan int)}
			return t, err
		})
		if err != nil {
			t.Fatal(err)
		}
		wantStored(t, a, "k", "refresh-a'", 2)
		_, err = a.Refresh(t.Context(), "k", rec, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			t, err := next(ctx, cur)
			t.AccessToken = "\xff"
			return t, err
		})
		var pending *tokenclient.NotSavedError
		if !errors.As(err, &pending) {
			t.Fatal(err)
		}
		_, err = a.Refresh(t.Context(), "k", rec, time.Second, never(t))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
	})
}
