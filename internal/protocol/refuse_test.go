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

// What becomes of a token that the server refused.

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

// TestRefusedWhileNothingIsWritten: the same while the store can be read. The error has what is
// wrong with the store and what the server said, and comes when patience ends, also for those
// who find the refusal known.
func TestRefusedWhileNothingIsWritten(t *testing.T) {
	for _, lockless := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m, a, _ := bed(false)
			if lockless {
				a = newEngine(m, nil, &testSealer{})
			}
			seen := login(t, a, "k", "a")
			fn := func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				m.mu.Lock()
				m.onWrite = func(int, []byte, []byte) fault { return dropped }
				m.mu.Unlock()
				return nil, fmt.Errorf("invalid_grant: %w", tokenclient.ErrRefused)
			}
			for range 2 {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				_, err := a.Refresh(ctx, "k", seen, time.Second, fn)
				cancel()
				wantErr(t, err, tokenclient.ErrStoreUnavailable)
				wantErr(t, err, errDown)
				if errors.Is(err, tokenclient.ErrLoginRequired) || !strings.Contains(err.Error(), "invalid_grant") {
					t.Errorf("%v", err)
				}
				if took := time.Since(began); took > 8*time.Second { // the hold that is left, and five seconds
					t.Errorf("after %v", took)
				}
				fn = never(t)
			}
			m.up()
			_, err := a.Refresh(t.Context(), "k", seen, time.Second, fn)
			wantErr(t, err, tokenclient.ErrRefused)
		})
	}
}
