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

// What becomes of the outcome of fn.

// during returns a fn that does something between the presentation and the answer.
func during(do func(ctx context.Context)) refreshFunc {
	return func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		do(ctx)
		return next(ctx, cur)
	}
}

func TestSaveWithFaults(t *testing.T) {
	for name, list := range map[string][]fault{
		"lost reply":              {lostReply},
		"dropped":                 {dropped},
		"delayed":                 {delayed},
		"certainly not done":      {refused, refused},
		"delayed, then lost":      {delayed, lostReply},
		"dropped many times over": {dropped, dropped, dropped, dropped, dropped, dropped, lostReply},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := bed(false)
				seen := login(t, a, "k", "a")
				rec, err := a.Refresh(t.Context(), "k", seen, time.Second, during(func(context.Context) { m.faults(list...) }))
				if err != nil {
					t.Fatal(err)
				}
				wantToken(t, rec, "refresh-a'", 2)
				m.land()
				wantStored(t, b, "k", "refresh-a'", 2)
				m.free(t, 0)
			})
		})
	}
}

func TestSaveWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(false)
		seen := login(t, a, "k", "a")
		ctx, cancel := context.WithCancel(t.Context())
		rec, err := a.Refresh(ctx, "k", seen, time.Second, during(func(context.Context) {
			m.down()
			time.AfterFunc(3*time.Second, m.up)
			cancel() // does not stop the save
		}))
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'", 2)
		wantStored(t, b, "k", "refresh-a'", 2)
	})
}

// TestSaveAfterLostHold: the holder was away for long, and another took the hold.
// It has presented nothing, so the holder's pair is the only one: to drop it would
// end the session.
func TestSaveAfterLostHold(t *testing.T) {
	m, a, b := bed(true)
	seen := login(t, a, "k", "a")
	bResult := make(chan tokenclient.Record)
	bGo, bClaimed := make(chan struct{}), make(chan struct{})
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(context.Context) {
		go func() {
			rec, err := b.Refresh(t.Context(), "k", seen, time.Minute, func(_ context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
				if cur.Announced != 2 {
					t.Errorf("taker sees %d announced", cur.Announced)
				}
				close(bClaimed)
				<-bGo
				return tok("b"), nil
			})
			if !errors.Is(err, tokenclient.ErrOvertaken) {
				t.Errorf("taker: %v", err)
			}
			bResult <- rec
		}()
		<-bClaimed
	}))
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a'", 2)
	m.free(t, 0)
	close(bGo)
	wantToken(t, <-bResult, "refresh-a'", 2) // the taker's own pair is dropped, not revoked
	wantStored(t, a, "k", "refresh-a'", 2)
}

func TestSaveOvertaken(t *testing.T) {
	_, a, b := bed(true)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(ctx context.Context) {
		two, err := b.Refresh(ctx, "k", seen, time.Minute, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return tok("b"), nil })
		if err != nil {
			t.Error(err)
		}
		if _, err = b.Refresh(ctx, "k", two, time.Minute, next); err != nil {
			t.Error(err)
		}
	}))
	wantErr(t, err, tokenclient.ErrOvertaken)
	wantToken(t, rec, "refresh-b'", 3)
	wantStored(t, a, "k", "refresh-b'", 3)
}

// TestSaveWithLostReplyThenOvertaken: the save was done, its reply was lost, and the
// next refresh is stored already when the record is read.
func TestSaveWithLostReplyThenOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(true)
		seen := login(t, a, "k", "a")
		m.onWrite = func(n int, _, _ []byte) fault {
			if n != 3 {
				return fine
			}
			m.mu.Lock()
			m.onRead = func() error { // before the first read after the save
				m.mu.Lock()
				m.onRead = nil
				m.mu.Unlock()
				two, err := b.Load(t.Context(), "k")
				if err == nil {
					_, err = b.Refresh(t.Context(), "k", two, time.Minute, next)
				}
				return err
			}
			m.mu.Unlock()
			return lostReply
		}
		rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, next)
		wantErr(t, err, tokenclient.ErrOvertaken)
		wantToken(t, rec, "refresh-a''", 3)
	})
}

// TestSaveOverRefused: another presented the spent token after us and was refused.
// Our pair is what it could not get, and brings the session back.
func TestSaveOverRefused(t *testing.T) {
	m, a, b := bed(true)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(ctx context.Context) {
		_, err := b.Refresh(ctx, "k", seen, time.Minute, fails(tokenclient.ErrRefused))
		wantErr(t, err, tokenclient.ErrRefused)
		if h := m.header(t); h.State != tokenclient.Refused {
			t.Errorf("%v", h.State)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a'", 2)
	wantStored(t, b, "k", "refresh-a'", 2)
}

func TestSaveReplacedByLogout(t *testing.T) {
	_, a, b := bed(false)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(context.Context) {
		if _, _, err := b.Replace(t.Context(), "k", nil); err != nil {
			t.Error(err)
		}
	}))
	wantErr(t, err, tokenclient.ErrReplaced)
	if rec.State != tokenclient.LoggedOut {
		t.Errorf("%v", rec)
	}
	stored, err := b.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrNoToken)
	if stored != rec {
		t.Errorf("%v is stored", stored)
	}
}

func TestSaveReplacedByLogin(t *testing.T) {
	_, a, b := bed(false)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(context.Context) { login(t, b, "k", "b") }))
	wantErr(t, err, tokenclient.ErrReplaced)
	wantToken(t, rec, "refresh-b", 1)
	wantStored(t, a, "k", "refresh-b", 1)
}

// TestSaveOverRolledBackRecord: an older record of the era is no reason to drop the
// newest pair.
func TestSaveOverRolledBackRecord(t *testing.T) {
	m, a, _ := bed(false)
	one := login(t, a, "k", "a")
	backup := m.raw("k")
	two, err := a.Refresh(t.Context(), "k", one, time.Second, next)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := a.Refresh(t.Context(), "k", two, time.Minute, during(func(context.Context) { m.put("k", backup) }))
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a''", 3)
	wantStored(t, a, "k", "refresh-a''", 3)
}

func TestSaveAfterTheRecordWasDeleted(t *testing.T) {
	m, a, _ := bed(false)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(context.Context) { m.put("k", nil) }))
	wantErr(t, err, tokenclient.ErrReplaced)
	if rec.State != tokenclient.Absent || m.raw("k") != nil {
		t.Errorf("%v", rec)
	}
}

func TestRefusedBecomesTombstone(t *testing.T) {
	for _, f := range []fault{fine, lostReply, dropped, delayed, refused} {
		synctest.Test(t, func(t *testing.T) {
			m, a, b := bed(false)
			seen := login(t, a, "k", "a")
			refusal := fmt.Errorf("invalid_grant: %w", tokenclient.ErrRefused)
			rec, err := a.Refresh(t.Context(), "k", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				m.faults(f)
				return nil, refusal
			})
			if err != refusal {
				t.Fatalf("error is %v, want fn's own", err)
			}
			if rec.State != tokenclient.Refused || rec.Token != nil || rec.Number != 1 || rec.Era != seen.Era {
				t.Errorf("%v", rec)
			}
			m.land()
			stored, err := b.Refresh(t.Context(), "k", seen, time.Second, never(t))
			wantErr(t, err, tokenclient.ErrNoToken)
			if stored != rec {
				t.Errorf("stored %v, returned %v", stored, rec)
			}
			if h := m.header(t); h.Lease != [16]byte{} {
				t.Error("a tombstone is held")
			}
		})
	}
}

// TestRefusedWhileNewerIsStored: the loser of a race must not delete what the winner
// got.
func TestRefusedWhileNewerIsStored(t *testing.T) {
	for name, newer := range map[string]func(t *testing.T, b *protocol.Engine, seen tokenclient.Record){
		"refresh": func(t *testing.T, b *protocol.Engine, seen tokenclient.Record) {
			if _, err := b.Refresh(t.Context(), "k", seen, time.Minute, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return tok("b"), nil }); err != nil {
				t.Error(err)
			}
		},
		"login": func(t *testing.T, b *protocol.Engine, _ tokenclient.Record) { login(t, b, "k", "b") },
		"logout": func(t *testing.T, b *protocol.Engine, _ tokenclient.Record) {
			_, _, _ = b.Replace(t.Context(), "k", nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, a, b := bed(true)
			seen := login(t, a, "k", "a")
			var before []byte
			rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				newer(t, b, seen)
				before = m.raw("k")
				return nil, tokenclient.ErrRefused
			})
			if string(m.raw("k")) != string(before) {
				t.Fatal("the newer record was overwritten")
			}
			if name == "logout" {
				if err != tokenclient.ErrRefused || rec.State != tokenclient.LoggedOut {
					t.Errorf("%v, %v", rec, err)
				}
				return
			}
			if err != nil || rec.Token.RefreshToken != "refresh-b" {
				t.Errorf("%v, %v", rec, err)
			}
		})
	}
}

// TestRefusedWhileAnotherHolds: another took the hold, as it had run out, and
// presents the same token. It is waited for: perhaps it was the one who exchanged
// it, and is about to store the next.
func TestRefusedWhileAnotherHolds(t *testing.T) {
	for name, c := range map[string]struct {
		other refreshFunc
		want  error
	}{
		"it gets the next":    {next, nil},
		"it gets no answer":   {fails(errors.New("EOF")), tokenclient.ErrRefused},
		"it is refused too":   {fails(tokenclient.ErrRefused), tokenclient.ErrRefused},
		"it did not present":  {fails(tokenclient.ErrNotPresented), tokenclient.ErrRefused},
		"it never comes back": {nil, tokenclient.ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &faultyMedium{}
				a := newEngine(m, nil, &testSealer{})
				b := newEngine(m, nil, &testSealer{})
				seen := login(t, a, "k", "a")
				start := time.Now()
				ended := make(chan struct{})
				defer close(ended)
				calls := 0
				rec, err := a.Refresh(t.Context(), "k", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
					calls++
					go func() {
						_, _ = b.Refresh(t.Context(), "k", seen, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
							if cur.Announced != 2 {
								t.Errorf("%d announced", cur.Announced)
							}
							if c.other == nil {
								<-ended
								return nil, errors.New("gone")
							}
							<-time.After(900 * time.Millisecond)
							return c.other(ctx, cur)
						})
					}()
					<-time.After(1900 * time.Millisecond) // the lease is over after 1.25 s
					return nil, tokenclient.ErrRefused
				})
				if err != c.want || calls != 1 {
					t.Fatalf("error %v after %d calls", err, calls)
				}
				if d := time.Since(start); d < 2150*time.Millisecond {
					t.Errorf("did not wait for the other: %v", d)
				}
				if c.want == nil {
					wantToken(t, rec, "refresh-a'", 2)
				} else if rec.State != tokenclient.Refused || m.header(t).State != tokenclient.Refused {
					t.Errorf("%v", rec)
				}
			})
		})
	}
}

// TestRefusedAfterTheCallerLeft: what was found out is told all the same.
func TestRefusedAfterTheCallerLeft(t *testing.T) {
	for name, newer := range map[string]bool{"lost reply": false, "a newer token is stored": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := bed(true)
				seen := login(t, a, "k", "a")
				ctx, cancel := context.WithCancel(t.Context())
				rec, err := a.Refresh(ctx, "k", seen, time.Minute, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
					cancel()
					if newer {
						if _, err := b.Refresh(t.Context(), "k", seen, time.Minute, next); err != nil {
							t.Error(err)
						}
					} else {
						m.faults(lostReply)
					}
					return nil, tokenclient.ErrRefused
				})
				if newer {
					if err != nil {
						t.Fatal(err)
					}
					wantToken(t, rec, "refresh-a'", 2)
				} else if err != tokenclient.ErrRefused || rec.State != tokenclient.Refused {
					t.Errorf("%v, %v", rec, err)
				}
			})
		})
	}
}

// TestRefusedWhileTheStoreIsDown: nobody can tell whether the token was refused
// because another has exchanged it. So the session is not over, but the token is
// not presented again either.
func TestRefusedWhileTheStoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		_, err := a.Refresh(t.Context(), "k", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
			m.down()
			return nil, fmt.Errorf("invalid_grant: %w", tokenclient.ErrRefused)
		})
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		if errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("%v", err)
		}
		m.up()
		rec, err := a.Refresh(t.Context(), "k", seen, time.Second, never(t))
		wantErr(t, err, tokenclient.ErrRefused)
		if rec.State != tokenclient.Refused || m.header(t).State != tokenclient.Refused {
			t.Errorf("%v", rec)
		}
		login(t, a, "k", "a")
		seen, err = a.Load(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if rec, err = a.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'", 2)
	})
}

// notSaved makes a refresh of seen by p whose save fails.
func notSaved(t *testing.T, m *faultyMedium, p tokenclient.Store, seen tokenclient.Record) (tokenclient.Record, *tokenclient.NotSavedError) {
	t.Helper()
	start := time.Now()
	rec, err := p.Refresh(t.Context(), "k", seen, time.Second, during(func(context.Context) { m.down() }))
	var pending *tokenclient.NotSavedError
	if !errors.As(err, &pending) {
		t.Fatalf("error is %v, want a NotSavedError", err)
	}
	if d := time.Since(start); d < 3*time.Second || d > 6*time.Second {
		t.Errorf("tried for %v", d)
	}
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	wantErr(t, err, errDown)
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
