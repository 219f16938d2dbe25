package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What becomes of a token that is saved without a presentation and cannot be stored.

// TestSaveIsDoneOnce: whatever becomes of replies.
func TestSaveIsDoneOnce(t *testing.T) {
	eachWriteFault(t, func(t *testing.T, list []fault) {
		m, a, b := bed(false)
		seen := login(t, a, "k", "a")
		m.faults(list...)
		rec, err := a.Save(t.Context(), "k", seen, tok("late"))
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-late", 2)
		m.land()
		wantStored(t, b, "k", "refresh-late", 2)
		m.free(t, 0)
	})
}

// notSavedBySave makes a save of seen by a that fails.
func notSavedBySave(t *testing.T, m *faultyMedium, a *protocol.Engine, seen tokenclient.Record, token *tokenclient.Token) *tokenclient.NotSavedError {
	t.Helper()
	m.mu.Lock()
	m.onWrite = func(int, []byte, []byte) fault { return dropped }
	m.mu.Unlock()
	start := time.Now()
	rec, err := a.Save(t.Context(), "k", seen, token)
	pending := wantNotSaved(t, err, start)
	wantToken(t, rec, token.RefreshToken, seen.Number+1)
	if pending.Token.AccessToken != token.AccessToken {
		t.Error("another token is to be saved")
	}
	return pending
}

// TestSaveIsMadeUpForLater: the pair is pending, and before that is settled nobody
// presents its predecessor.
func TestSaveIsMadeUpForLater(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, m *faultyMedium, b *protocol.Engine, seen tokenclient.Record)
		want error
	}{
		"nothing came": {func(*testing.T, *faultyMedium, *protocol.Engine, tokenclient.Record) {}, nil},
		"login":        {func(t *testing.T, _ *faultyMedium, b *protocol.Engine, _ tokenclient.Record) { login(t, b, "k", "b") }, tokenclient.ErrReplaced},
		"logout": {func(t *testing.T, _ *faultyMedium, b *protocol.Engine, _ tokenclient.Record) {
			_, _, _ = b.Replace(t.Context(), "k", nil)
		}, tokenclient.ErrReplaced},
		"a claim": {func(t *testing.T, m *faultyMedium, _ *protocol.Engine, _ tokenclient.Record) {
			m.put("k", setAnnounced(t, m.raw("k"), 1))
		}, nil},
	} {
		for _, by := range []string{"Save", "Refresh"} {
			t.Run(name+", "+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, a, b := bed(false)
					seen := login(t, a, "k", "a")
					pending := notSavedBySave(t, m, a, seen, tok("late"))
					m.up()
					c.do(t, m, b, seen)
					if by == "Refresh" { // which saves what is pending before it looks
						_, _ = a.Refresh(t.Context(), "k", seen, time.Second, fails(tokenclient.ErrNotPresented))
					}
					for range 2 {
						if err := pending.Save(t.Context()); !errors.Is(err, c.want) || err != nil && c.want == nil {
							t.Fatalf("%v, want %v", err, c.want)
						}
					}
					if c.want == nil {
						wantStored(t, b, "k", "refresh-late", 2)
					}
					now := login(t, b, "k", "c")
					if _, err := a.Refresh(t.Context(), "k", now, time.Second, next); err != nil {
						t.Errorf("the key is blocked: %v", err)
					}
				})
			})
		}
	}
}

// TestSaveThatLeavesNothing: what keeps the refresh token, or has none, is not pending.
// The caller goes on with what it has seen, and saves again.
func TestSaveThatLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		keeps bool
		fault fault
		want  error // of a save afterwards
	}{
		"renewed, not stored":      {true, dropped, nil},
		"renewed, stored":          {true, lostReply, tokenclient.ErrOvertaken},
		"access token, not stored": {false, dropped, nil},
		"access token, stored":     {false, lostReply, tokenclient.ErrOvertaken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := bed(false)
				seen := login(t, a, "k", "a")
				token := &tokenclient.Token{AccessToken: "renewed"}
				if c.keeps {
					token = renewed(seen)
				}
				m.mu.Lock()
				m.onWrite = func(int, []byte, []byte) fault {
					m.mu.Lock()
					m.onRead = func() error { return errDown }
					m.mu.Unlock()
					return c.fault
				}
				m.mu.Unlock()
				start := time.Now()
				rec, err := a.Save(t.Context(), "k", seen, token)
				var pending *tokenclient.NotSavedError
				if !errors.Is(err, tokenclient.ErrStoreUnavailable) || !errors.Is(err, errDown) || errors.As(err, &pending) || rec.Number != 0 {
					t.Fatalf("%v, %v", rec, err)
				}
				if d := time.Since(start); d < 3*time.Second || d > 6*time.Second {
					t.Errorf("tried for %v", d)
				}
				m.up()
				rec, err = a.Save(t.Context(), "k", seen, token)
				if !errors.Is(err, c.want) || err != nil && c.want == nil {
					t.Fatalf("%v, want %v", err, c.want)
				}
				wantToken(t, rec, token.RefreshToken, 2)
				if rec.Token.AccessToken != "renewed" {
					t.Errorf("%q is stored", rec.Token.AccessToken)
				}
				wantStored(t, b, "k", token.RefreshToken, 2)
			})
		})
	}
}

// TestSaveWhileSomethingIsNotSaved: what was not saved before is newer.
func TestSaveWhileSomethingIsNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		notSaved(t, m, a, seen)
		_, err := a.Save(t.Context(), "k", seen, tok("late"))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		m.up()
		rec, err := a.Save(t.Context(), "k", seen, tok("late"))
		wantErr(t, err, tokenclient.ErrOvertaken)
		wantToken(t, rec, "refresh-a'", 2)
	})
}

// TestSaveThatCannotBegin: whatever can be known before is an error at once, and
// nothing is pending.
func TestSaveThatCannotBegin(t *testing.T) {
	locked := errors.New("locked")
	for name, c := range map[string]struct {
		announced uint8
		change    func(m *faultyMedium, s *testSealer)
		token     *tokenclient.Token
		want      error
	}{
		"the store is down":           {0, func(m *faultyMedium, _ *testSealer) { m.down() }, tok("late"), errDown},
		"no data key":                 {0, func(_ *faultyMedium, s *testSealer) { s.newErr = locked }, tok("late"), locked},
		"the token is not storable":   {0, func(*faultyMedium, *testSealer) {}, &tokenclient.Token{AccessToken: "\xff"}, nil},
		"the other cannot be opened":  {1, func(_ *faultyMedium, s *testSealer) { s.openErr = locked }, tok("late"), locked},
		"the record is not a record":  {0, func(m *faultyMedium, _ *testSealer) { m.put("k", []byte("?")) }, tok("late"), tokenclient.ErrStoreCorrupt},
		"the record is of the future": {0, func(m *faultyMedium, _ *testSealer) { m.put("k", []byte{2}) }, tok("late"), tokenclient.ErrStoreUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, sealer := &faultyMedium{}, &testSealer{}
				a := newEngine(m, nil, sealer)
				seen := login(t, a, "k", "a")
				m.put("k", setAnnounced(t, m.raw("k"), c.announced))
				c.change(m, sealer)
				start := time.Now()
				unchanged(t, m, func() {
					_, err := a.Save(t.Context(), "k", seen, c.token)
					var pending *tokenclient.NotSavedError
					if err == nil || errors.As(err, &pending) || c.want != nil && !errors.Is(err, c.want) {
						t.Errorf("%v, want %v", err, c.want)
					}
				})
				if d := time.Since(start); d != 0 {
					t.Errorf("after %v", d)
				}
				m.up()
				sealer.newErr, sealer.openErr = nil, nil
				m.put("k", nil)
				now := login(t, a, "k", "b")
				if _, err := a.Refresh(t.Context(), "k", now, time.Second, next); err != nil {
					t.Errorf("the key is blocked: %v", err)
				}
			})
		})
	}
}

// TestSaveOvertakenByWhatCannotBeOpened is not over yet.
func TestSaveOvertakenByWhatCannotBeOpened(t *testing.T) {
	m, sealer := &faultyMedium{}, &testSealer{}
	a := newEngine(m, nil, sealer)
	seen := login(t, a, "k", "a")
	if _, err := a.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
		t.Fatal(err)
	}
	sealer.openErr = fmt.Errorf("locked")
	_, err := a.Save(t.Context(), "k", seen, tok("late"))
	wantErr(t, err, sealer.openErr)
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	if errors.Is(err, tokenclient.ErrOvertaken) {
		t.Error(err)
	}
}

// TestSaveLeavesWithItsContext: the pair is its caller's, who may have no time.
func TestSaveLeavesWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(false)
		seen := login(t, a, "k", "a")
		m.mu.Lock()
		m.onWrite = func(int, []byte, []byte) fault { return dropped }
		m.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := a.Save(ctx, "k", seen, tok("late"))
		var pending *tokenclient.NotSavedError
		if !errors.As(err, &pending) || time.Since(start) > time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		m.up()
		if err := pending.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantStored(t, b, "k", "refresh-late", 2)
		<-ctx.Done()
		unchanged(t, m, func() {
			_, err = a.Save(ctx, "k", seen, tok("later"))
			wantErr(t, err, context.DeadlineExceeded)
			wantErr(t, err, tokenclient.ErrStoreUnavailable)
		})
	})
}
