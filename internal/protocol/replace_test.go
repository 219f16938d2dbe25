package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Logins and logouts: what replaces what.

func TestLoginBeginsEra(t *testing.T) {
	m, a, b := bed(false)
	first := login(t, a, "k", "a")
	if h := m.header(t); h.Era != h.WriteID || h.Number != 1 || h.Era != first.Era {
		t.Errorf("era %x, write %x, number %d", h.Era, h.WriteID, h.Number)
	}
	second, was, err := b.Replace(t.Context(), "k", tok("b"))
	if err != nil || second.Era == first.Era {
		t.Fatalf("second login: %v", err)
	}
	wantToken(t, was, "refresh-a", 1)
	rec, err := a.Refresh(t.Context(), "k", first, time.Second, never(t))
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-b", 1)
}

func TestTombstoneIsNotAbsent(t *testing.T) {
	m, a, _ := bed(false)
	rec, err := a.Refresh(t.Context(), "k", tokenclient.Record{}, time.Second, never(t))
	wantErr(t, err, tokenclient.ErrNoToken)
	if rec.State != tokenclient.Absent {
		t.Errorf("before any login: %v", rec.State)
	}
	if m.raw("k") != nil {
		t.Error("a refresh created a record")
	}
	seen := login(t, a, "k", "a")
	out, _, err := a.Replace(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if h := m.header(t); h.State != tokenclient.LoggedOut || h.Era != h.WriteID {
		t.Errorf("logout wrote %v", h)
	}
	rec, err = a.Refresh(t.Context(), "k", seen, time.Second, never(t))
	wantErr(t, err, tokenclient.ErrNoToken)
	if rec != out {
		t.Errorf("refresh after logout: %v", rec)
	}
	again, was, err := a.Replace(t.Context(), "k", nil)
	if err != nil || was != out || again.Era == out.Era {
		t.Errorf("second logout: %v over %v, %v", again, was, err)
	}
}

// TestLogoutLoginABA: nothing that was stored once is stored again, so a write that
// was on its way for long finds no place any more.
func TestLogoutLoginABA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(false)
		m.faults(delayed)
		login(t, a, "k", "a") // its second try is done
		if _, _, err := b.Replace(t.Context(), "k", nil); err != nil {
			t.Fatal(err)
		}
		m.land()
		rec, err := a.Load(t.Context(), "k")
		wantErr(t, err, tokenclient.ErrNoToken)
		if rec.State != tokenclient.LoggedOut {
			t.Errorf("%v", rec.State)
		}
	})
}

func TestReplaceWithLostReplyIsDoneOnce(t *testing.T) {
	for _, f := range []fault{lostReply, dropped, delayed} {
		synctest.Test(t, func(t *testing.T) {
			m, a, _ := bed(false)
			login(t, a, "k", "a")
			m.faults(f)
			now, was, err := a.Replace(t.Context(), "k", tok("b"))
			if err != nil {
				t.Fatal(err)
			}
			wantToken(t, now, "refresh-b", 1)
			wantToken(t, was, "refresh-a", 1)
			m.land()
			if h := m.header(t); h.Era != now.Era {
				t.Error("stored twice")
			}
		})
	}
}

// TestLoginIsKnownAgain: the reply of a login is lost, and before it is looked for another process
// does something with it.
func TestLoginIsKnownAgain(t *testing.T) {
	refreshes := func(fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) func(*testing.T, *protocol.Engine, tokenclient.Record) {
		return func(t *testing.T, b *protocol.Engine, r tokenclient.Record) {
			_, _ = b.Refresh(t.Context(), "k", r, time.Second, fn)
		}
	}
	for name, c := range map[string]struct {
		other func(t *testing.T, b *protocol.Engine, r tokenclient.Record)
		want  tokenclient.State // of the login that is returned
		ours  bool              // it is
	}{
		"refreshed": {refreshes(next), tokenclient.Active, true},
		"refreshed twice": {func(t *testing.T, b *protocol.Engine, r tokenclient.Record) {
			refreshes(next)(t, b, refreshedOnce(t, b, r))
		}, tokenclient.Active, true},
		"answer to a refresh lost": {refreshes(func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
			return nil, errors.New("cut off")
		}), tokenclient.Active, true},
		"refused": {refreshes(func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
			return nil, tokenclient.ErrRefused
		}), tokenclient.Refused, true},
		"logged out": {func(t *testing.T, b *protocol.Engine, _ tokenclient.Record) {
			_, _, _ = b.Replace(t.Context(), "k", nil)
		}, tokenclient.LoggedOut, false},
		"replaced": {func(t *testing.T, b *protocol.Engine, _ tokenclient.Record) {
			login(t, b, "k", "b")
		}, tokenclient.Active, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := bed(false)
				login(t, a, "k", "before")
				first := true
				var written tokenclient.Record
				m.onWrite = func(_ int, _, new []byte) fault {
					if !first {
						return fine
					}
					first = false
					m.put("k", new)
					var err error
					if written, err = b.Load(t.Context(), "k"); err != nil {
						t.Error(err)
					}
					c.other(t, b, written)
					return dropped
				}
				now, was, err := a.Replace(t.Context(), "k", tok("a"))
				if err != nil {
					t.Fatal(err)
				}
				if now.State != c.want || (now.Era == written.Era) != c.ours {
					t.Errorf("now is %v, ours %v; want %v, ours %v", now.State, now.Era == written.Era, c.want, c.ours)
				}
				if c.ours && c.want == tokenclient.Active {
					wantToken(t, now, "refresh-a", 1)
				}
				wantToken(t, was, "refresh-before", 1)
				if stored, _ := b.Load(t.Context(), "k"); (stored.Era == written.Era) != c.ours || stored.State != c.want {
					t.Errorf("%v is stored", stored.State)
				}
			})
		})
	}
}

// TestLoginIsNotRepeatedOverLaterOnes: the reply of a login is lost, and before it
// tries again others come.
func TestLoginIsNotRepeatedOverLaterOnes(t *testing.T) {
	for name, first := range map[string]fault{"done": lostReply, "not done": dropped, "delayed": delayed} {
		for what, later := range map[string]*tokenclient.Token{"logout": nil, "login": tok("later")} {
			t.Run(name+", "+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, a, b := bed(false)
					login(t, a, "k", "old")
					m.faults(first)
					done := make(chan tokenclient.Record)
					go func() {
						now, _, err := a.Replace(t.Context(), "k", tok("a"))
						if err != nil {
							t.Error(err)
						}
						done <- now
					}()
					synctest.Wait() // it waits for its next try
					last, _, err := b.Replace(t.Context(), "k", later)
					if err != nil {
						t.Fatal(err)
					}
					m.land()
					if now := <-done; now.Era != last.Era || now.State != last.State {
						t.Errorf("overtaken login returns %v, want %v", now, last)
					}
					m.land()
					if h := m.header(t); h.Era != last.Era {
						t.Error("the earlier login is stored")
					}
				})
			})
		}
	}
}

func TestReplaceWhileTheStoreIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		seen := login(t, a, "k", "a")
		m.faults(refused)
		start := time.Now()
		_, _, err := a.Replace(t.Context(), "k", nil)
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		wantErr(t, err, errDown)
		if time.Since(start) != 0 || !strings.Contains(err.Error(), "the fake record") {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		m.mu.Lock()
		m.onWrite = func(int, []byte, []byte) fault { return dropped }
		m.mu.Unlock()
		_, _, err = a.Replace(t.Context(), "k", nil)
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		wantErr(t, err, errDown)
		if d := time.Since(start); d < 3*time.Second || d > 6*time.Second {
			t.Errorf("tried for %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err = a.Replace(ctx, "k", nil)
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		wantErr(t, err, context.DeadlineExceeded)
		m.down()
		_, err = a.Load(t.Context(), "k")
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		_, err = a.Refresh(t.Context(), "k", seen, time.Second, never(t))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		m.up()
		wantStored(t, a, "k", "refresh-a", 1)
	})
}

// TestReplaceOfWhatChanges: a login over a record that somebody writes again and again gives up
// like one that fails, and says why.
func TestReplaceOfWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		login(t, a, "k", "a")
		m.mu.Lock()
		m.onWrite = func(n int, _, _ []byte) fault {
			m.put("k", setAnnounced(t, m.raw("k"), uint8(n%2)))
			return fine
		}
		m.mu.Unlock()
		start := time.Now()
		_, _, err := a.Replace(t.Context(), "k", tok("b"))
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
		if d := time.Since(start); d > 6*time.Second || !strings.Contains(err.Error(), "changes all the time") {
			t.Errorf("after %v: %v", d, err)
		}
		m.up()
		wantStored(t, a, "k", "refresh-a", 1)
	})
}

// TestEmptyLogin: a grant that needs no token begins with an empty one.
func TestEmptyLogin(t *testing.T) {
	_, a, b := bed(false)
	now, _, err := a.Replace(t.Context(), "k", &tokenclient.Token{})
	if err != nil || now.State != tokenclient.Active || now.Number != 1 {
		t.Fatalf("login with an empty token: %+v, %v", now, err)
	}
	found, err := b.Load(t.Context(), "k")
	if err != nil || found.Token == nil || found.Token.AccessToken != "" || found.Token.RefreshToken != "" {
		t.Fatalf("stored: %+v, %v", found, err)
	}
	next, err := b.Refresh(t.Context(), "k", found, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		return &tokenclient.Token{AccessToken: "a"}, nil
	})
	if err != nil || next.Number != 2 || next.Token.AccessToken != "a" {
		t.Errorf("refreshed: %+v, %v", next, err)
	}
}

// TestEmptyTokenIsNotStored: what a refresh brings must be a token.
func TestEmptyTokenIsNotStored(t *testing.T) {
	m, a, _ := bed(false)
	seen := login(t, a, "k", "a")
	for name, fn := range map[string]refreshFunc{
		"empty": func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
			return &tokenclient.Token{}, nil
		},
		"nil": fails(nil),
	} {
		if _, err := a.Refresh(t.Context(), "k", seen, time.Second, fn); err == nil {
			t.Errorf("%s token: no error", name)
		}
	}
	wantStored(t, a, "k", "refresh-a", 1)
	m.free(t, 2) // both may have been spent
}

// TestReplaceNeedsNoKey: a login and a logout work over a record that cannot be
// opened, and tell that there was one.
func TestReplaceNeedsNoKey(t *testing.T) {
	m := &faultyMedium{}
	mine := newEngine(m, &locks{}, &testSealer{id: "a"})
	other := newEngine(m, &locks{}, &testSealer{id: "b"})
	seen := login(t, mine, "k", "a")
	_, err := other.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	_, err = other.Refresh(t.Context(), "k", seen, time.Second, never(t))
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	m.free(t, 0) // nothing is announced for a token that cannot be read

	for _, token := range []*tokenclient.Token{nil, tok("b")} {
		seen = login(t, mine, "k", "a")
		_, was, err := other.Replace(t.Context(), "k", token)
		if err != nil {
			t.Fatal(err)
		}
		if was.Token != nil || was.State != tokenclient.Active || was.Era != seen.Era || was.Number != 1 {
			t.Errorf("was %v", was)
		}
	}
	wantStored(t, other, "k", "refresh-b", 1)
}

func TestCorruptRecord(t *testing.T) {
	m, a, _ := bed(false)
	seen := login(t, a, "k", "a")
	whole := m.raw("k")
	newer := bytes.Clone(whole)
	newer[0] = 2
	newer = fixChecksum(newer)
	flipped := bytes.Clone(whole)
	flipped[0] ^= 2
	for name, raw := range map[string][]byte{
		"empty": {}, "foreign": []byte("\x00\x01foreign"), "truncated": whole[:30], "newer": newer,
		"first byte flipped": flipped, "the first byte of a newer one": {2},
		"damaged header": append(bytes.Repeat([]byte{1}, 40), whole[40:]...),
	} {
		t.Run(name, func(t *testing.T) {
			kind, other := tokenclient.ErrStoreCorrupt, tokenclient.ErrStoreUnavailable
			if strings.Contains(name, "newer") {
				kind, other = other, kind
			}
			m.put("k", bytes.Clone(raw))
			_, err := a.Load(t.Context(), "k")
			wantErr(t, err, kind)
			if errors.Is(err, other) || errors.Is(err, tokenclient.ErrNoToken) {
				t.Errorf("two kinds at once: %v", err)
			}
			_, err = a.Refresh(t.Context(), "k", seen, time.Second, never(t))
			wantErr(t, err, kind)
			_, _, err = a.Replace(t.Context(), "k", nil)
			wantErr(t, err, kind)
			if !bytes.Equal(m.raw("k"), raw) {
				t.Fatal("overwritten")
			}
			_, was, err := a.Replace(t.Context(), "k", tok("b"))
			if err != nil || was != (tokenclient.Record{}) {
				t.Fatalf("login: %v, %v", was, err)
			}
			wantStored(t, a, "k", "refresh-b", 1)
		})
	}
}

// TestRecordTurnsCorruptDuringALogin: what a login has not seen before it does not
// overwrite either.
func TestRecordTurnsCorruptDuringALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, _ := bed(false)
		login(t, a, "k", "a")
		foreign := []byte("\x00foreign")
		m.onWrite = func(int, []byte, []byte) fault {
			m.put("k", foreign)
			return fine
		}
		_, _, err := a.Replace(t.Context(), "k", tok("b"))
		wantErr(t, err, tokenclient.ErrStoreCorrupt)
		if !bytes.Equal(m.raw("k"), foreign) {
			t.Error("overwritten")
		}
	})
}

func TestTruncatedTokenIsCorrupt(t *testing.T) {
	m, a, _ := bed(false)
	seen := login(t, a, "k", "a")
	raw := m.raw("k")
	m.put("k", raw[:len(raw)-1])
	_, err := a.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrStoreCorrupt)
	_, err = a.Refresh(t.Context(), "k", seen, time.Second, never(t))
	wantErr(t, err, tokenclient.ErrStoreCorrupt)
	login(t, a, "k", "b")
	wantStored(t, a, "k", "refresh-b", 1)
}

// TestLoginIsDoneWithoutUnwrap: a login that was stored is no failure because its
// reply was lost and the key is locked by now.
func TestLoginIsDoneWithoutUnwrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &faultyMedium{}
		a := newEngine(m, &locks{}, &testSealer{openErr: errors.New("locked")})
		for _, f := range []fault{fine, lostReply, dropped} {
			m.faults(f)
			wantToken(t, login(t, a, "k", "a"), "refresh-a", 1)
		}
	})
}
