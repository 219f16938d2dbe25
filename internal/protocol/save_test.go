package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What is stored without a presentation.

// renewed is a token that the server sent by itself: it keeps the refresh token of rec.
func renewed(rec tokenclient.Record) *tokenclient.Token {
	return &tokenclient.Token{AccessToken: "renewed", RefreshToken: rec.Token.RefreshToken}
}

// unchanged checks that do writes nothing.
func unchanged(t *testing.T, m *faultyMedium, do func()) {
	t.Helper()
	before := m.raw("k")
	do()
	if !bytes.Equal(m.raw("k"), before) {
		t.Error("the record was written")
	}
}

func TestSaveFollowsWhatWasSeen(t *testing.T) {
	m, a, b := bed(false)
	seen := login(t, a, "k", "a")
	for n, token := range []*tokenclient.Token{renewed(seen), tok("b"), {AccessToken: "alone"}} {
		rec, err := a.Save(t.Context(), "k", seen, token)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Era != seen.Era || rec.Announced != 0 {
			t.Errorf("%+v", rec)
		}
		wantToken(t, rec, token.RefreshToken, uint64(n+2))
		m.free(t, 0)
		token.AccessToken, rec.Token.AccessToken = "spoilt", "spoilt" // neither is the store's
		if seen, err = b.Load(t.Context(), "k"); err != nil || seen.Token.AccessToken == "spoilt" {
			t.Fatalf("%v, %v", seen, err)
		}
		wantToken(t, seen, token.RefreshToken, uint64(n+2))
	}
}

// TestSaveWaitsForNobody: a pair that came late is newer than the token that somebody
// holds. What that one gets is dropped.
func TestSaveWaitsForNobody(t *testing.T) {
	m, a, b := bed(false)
	for name, late := range map[string]*tokenclient.Token{"a pair": tok("late"), "an access token": {AccessToken: "late"}} {
		seen := login(t, a, "k", "a")
		rec, err := b.Refresh(t.Context(), "k", seen, time.Minute, during(func(ctx context.Context) {
			// With fn's own context, too: what waits for nobody may be called.
			rec, err := a.Save(ctx, "k", seen, late)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			wantToken(t, rec, late.RefreshToken, 2)
			m.free(t, 0)
		}))
		wantErr(t, err, tokenclient.ErrOvertaken)
		wantToken(t, rec, late.RefreshToken, 2)
	}
}

// TestSaveUnderAnothersRefresh: a token that keeps the refresh token that somebody is
// exchanging must not take the number of the pair that comes of it. If nobody knows
// what came of it, the record must go on saying so.
func TestSaveUnderAnothersRefresh(t *testing.T) {
	for name, c := range map[string]struct {
		fn   refreshFunc
		want error // of a save afterwards
	}{
		"it gets the next":   {next, tokenclient.ErrOvertaken},
		"it gets no answer":  {fails(errors.New("EOF")), tokenclient.ErrAnnounced},
		"it did not present": {fails(tokenclient.ErrNotPresented), nil},
	} {
		t.Run(name, func(t *testing.T) {
			m, a, b := bed(false)
			seen := login(t, a, "k", "a")
			save := func(own int) (tokenclient.Record, error) {
				seen.Announced = own
				return a.Save(t.Context(), "k", seen, renewed(seen))
			}
			_, _ = b.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
				unchanged(t, m, func() {
					rec, err := save(0)
					wantErr(t, err, tokenclient.ErrAnnounced)
					wantErr(t, err, tokenclient.ErrNotPresented)
					wantToken(t, rec, "refresh-a", 1)
					if rec.Announced != 1 {
						t.Errorf("announced %d", rec.Announced)
					}
				})
				return c.fn(ctx, cur)
			})
			if _, err := save(0); !errors.Is(err, c.want) || err != nil && c.want == nil {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if c.want != tokenclient.ErrAnnounced {
				return
			}
			// The caller knows of that presentation what nobody else does: it was its own.
			rec, err := save(1)
			if err != nil {
				t.Fatal(err)
			}
			wantToken(t, rec, "refresh-a", 2)
			m.free(t, 0)
		})
	}
}

// TestSaveOverACountThatIsFull: a caller to whom nobody's presentations matter says so
// with the highest count there is.
func TestSaveOverACountThatIsFull(t *testing.T) {
	m, a, _ := bed(false)
	seen := login(t, a, "k", "a")
	m.put("k", setAnnounced(t, m.raw("k"), 255))
	seen.Announced = 255
	rec, err := a.Save(t.Context(), "k", seen, renewed(seen))
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a", 2)
}

// TestSaveClaimedMeanwhile: the claim comes between the look at the record and the
// write.
func TestSaveClaimedMeanwhile(t *testing.T) {
	for name, keeps := range map[string]bool{"a pair": false, "a token that keeps the refresh token": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, _ := bed(false)
				seen := login(t, a, "k", "a")
				token := tok("late")
				if keeps {
					token = renewed(seen)
				}
				m.onWrite = func(n int, old, _ []byte) fault {
					if n == 2 {
						m.put("k", setAnnounced(t, old, 1))
					}
					return fine
				}
				rec, err := a.Save(t.Context(), "k", seen, token)
				if keeps {
					wantErr(t, err, tokenclient.ErrAnnounced)
					wantStored(t, a, "k", "refresh-a", 1)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				wantToken(t, rec, "refresh-late", 2)
			})
		})
	}
}

func TestSaveOverARefusal(t *testing.T) {
	refused := func(t *testing.T) (a *protocol.Engine, seen, tombstone tokenclient.Record) {
		_, a, _ = bed(false)
		seen = login(t, a, "k", "a")
		tombstone, err := a.Refresh(t.Context(), "k", seen, time.Second, fails(tokenclient.ErrRefused))
		wantErr(t, err, tokenclient.ErrRefused)
		return a, seen, tombstone
	}
	for name, token := range map[string]*tokenclient.Token{"a pair": tok("late"), "an access token": {AccessToken: "late"}} {
		t.Run(name, func(t *testing.T) {
			a, seen, _ := refused(t)
			rec, err := a.Save(t.Context(), "k", seen, token)
			if err != nil {
				t.Fatal(err)
			}
			wantToken(t, rec, token.RefreshToken, 2)
			wantStored(t, a, "k", token.RefreshToken, 2)
		})
	}
	t.Run("the refresh token that was refused", func(t *testing.T) {
		a, seen, tombstone := refused(t)
		rec, err := a.Save(t.Context(), "k", seen, renewed(seen))
		wantErr(t, err, tokenclient.ErrNoToken)
		if rec != tombstone {
			t.Errorf("%v, want %v", rec, tombstone)
		}
	})
	t.Run("of another login", func(t *testing.T) {
		a, seen, tombstone := refused(t)
		seen.Era[0]++
		rec, err := a.Save(t.Context(), "k", seen, tok("late"))
		wantErr(t, err, tokenclient.ErrReplaced)
		if rec != tombstone {
			t.Errorf("%v, want %v", rec, tombstone)
		}
	})
}

func TestSaveThatComesTooLate(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(t *testing.T, b *protocol.Engine, seen tokenclient.Record)
		want  error
		state tokenclient.State
	}{
		"login": {func(t *testing.T, b *protocol.Engine, _ tokenclient.Record) { login(t, b, "k", "b") }, tokenclient.ErrReplaced, tokenclient.Active},
		"logout": {func(t *testing.T, b *protocol.Engine, _ tokenclient.Record) {
			_, _, _ = b.Replace(t.Context(), "k", nil)
		}, tokenclient.ErrNoToken, tokenclient.LoggedOut},
		"refresh": {func(t *testing.T, b *protocol.Engine, seen tokenclient.Record) {
			if _, err := b.Refresh(t.Context(), "k", seen, time.Second, next); err != nil {
				t.Error(err)
			}
		}, tokenclient.ErrOvertaken, tokenclient.Active},
		"save": {func(t *testing.T, b *protocol.Engine, seen tokenclient.Record) {
			if _, err := b.Save(t.Context(), "k", seen, tok("b")); err != nil {
				t.Error(err)
			}
		}, tokenclient.ErrOvertaken, tokenclient.Active},
	} {
		for _, when := range []string{"before", "between look and write"} {
			t.Run(name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, a, b := bed(false)
					seen := login(t, a, "k", "a")
					if when == "before" {
						c.do(t, b, seen)
					} else {
						m.onWrite = func(n int, _, _ []byte) fault {
							if n == 2 {
								c.do(t, b, seen)
							}
							return fine
						}
					}
					rec, err := a.Save(t.Context(), "k", seen, tok("late"))
					wantErr(t, err, c.want)
					stored, _ := b.Load(t.Context(), "k")
					if rec.State != c.state || rec.Era != stored.Era || rec.Number != stored.Number || (rec.Token == nil) != (stored.Token == nil) {
						t.Errorf("returned %+v, stored %+v", rec, stored)
					}
				})
			})
		}
	}
}

func TestSaveOfNothingThatWasSeen(t *testing.T) {
	m, a, _ := bed(false)
	for _, seen := range []tokenclient.Record{{}, {Era: [16]byte{1}, Number: 1}} {
		rec, err := a.Save(t.Context(), "k", seen, tok("a"))
		wantErr(t, err, tokenclient.ErrNoToken)
		if rec.State != tokenclient.Absent || m.raw("k") != nil {
			t.Error("a save created a record")
		}
	}
	seen := login(t, a, "k", "a")
	unchanged(t, m, func() {
		if _, err := a.Save(t.Context(), "k", seen, &tokenclient.Token{}); err == nil {
			t.Error("an empty token was saved")
		}
	})
}

// TestSaveBegins: the start of a session that needs no login goes over nothing at all, whatever
// becomes of the write.
func TestSaveBegins(t *testing.T) {
	empty := &tokenclient.Token{Issued: time.Unix(1, 0)}
	for name, c := range map[string]struct {
		before func(t *testing.T, m *faultyMedium, other *protocol.Engine)
		want   error // nil: it begins
	}{
		"nothing":              {func(*testing.T, *faultyMedium, *protocol.Engine) {}, nil},
		"nothing, reply lost":  {func(t *testing.T, m *faultyMedium, _ *protocol.Engine) { m.faults(lostReply) }, nil},
		"nothing, write lost":  {func(t *testing.T, m *faultyMedium, _ *protocol.Engine) { m.faults(dropped) }, nil},
		"a login":              {func(t *testing.T, _ *faultyMedium, b *protocol.Engine) { login(t, b, "k", "b") }, tokenclient.ErrReplaced},
		"a login, write lost":  {func(t *testing.T, m *faultyMedium, b *protocol.Engine) { login(t, b, "k", "b"); m.faults(dropped) }, tokenclient.ErrReplaced},
		"a refreshed login":    {func(t *testing.T, _ *faultyMedium, b *protocol.Engine) { refreshedOnce(t, b, login(t, b, "k", "b")) }, tokenclient.ErrReplaced},
		"a start of another's": {func(t *testing.T, _ *faultyMedium, b *protocol.Engine) { begin(t, b) }, tokenclient.ErrReplaced},
		"a logout": {func(t *testing.T, _ *faultyMedium, b *protocol.Engine) {
			if _, _, err := b.Replace(t.Context(), "k", nil); err != nil {
				t.Fatal(err)
			}
		}, tokenclient.ErrNoToken},
		"a refusal": {func(t *testing.T, _ *faultyMedium, b *protocol.Engine) {
			_, err := b.Refresh(t.Context(), "k", login(t, b, "k", "b"), time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				return nil, tokenclient.ErrRefused
			})
			wantErr(t, err, tokenclient.ErrRefused)
		}, tokenclient.ErrNoToken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := bed(false)
				c.before(t, m, b)
				before := m.raw("k")
				r, err := a.Save(t.Context(), "k", tokenclient.Record{}, empty)
				if c.want != nil {
					wantErr(t, err, c.want)
					stored, loadErr := b.Load(t.Context(), "k")
					if !bytes.Equal(m.raw("k"), before) || r.Era != stored.Era || r.State != stored.State || (r.Token == nil) != (loadErr != nil) {
						t.Errorf("Save returned %v, number %d; stored is %v, number %d", r.State, r.Number, stored.State, stored.Number)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				stored, err := b.Load(t.Context(), "k")
				if err != nil || r.Number != 1 || r.Era == [16]byte{} || stored.Era != r.Era || stored.Number != 1 || !stored.Token.Issued.Equal(empty.Issued) {
					t.Errorf("Save returned %+v; stored is %+v, %v", r, stored, err)
				}
			})
		})
	}
}

// TestSaveBeginsAndIsOvertaken: the reply to a start was lost, and another process has gone on
// with it.
func TestSaveBeginsAndIsOvertaken(t *testing.T) {
	m, a, b := bed(false)
	m.onWrite = func(n int, old, new []byte) fault {
		if n > 1 {
			return fine
		}
		m.put("k", new)
		r, err := b.Load(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		refreshedOnce(t, b, r)
		return dropped
	}
	r, err := a.Save(t.Context(), "k", tokenclient.Record{}, &tokenclient.Token{})
	wantErr(t, err, tokenclient.ErrOvertaken)
	wantToken(t, r, "refresh-2", 2)
}

// TestStartOvertakesNobody: a login or logout that found nothing, and then the start of a session
// that needs no login in its way, is not taken for an older one.
func TestStartOvertakesNobody(t *testing.T) {
	for name, c := range map[string]struct {
		t           *tokenclient.Token
		first, then fault // what becomes of the write that finds the start, and of the next one
		overtaken   bool  // by the start, as far as anybody can tell
		tried       bool  // before the start, and it is not known whether that was done
	}{
		"a login":                  {tok("a"), fine, fine, false, false},
		"a logout":                 {nil, fine, fine, false, false},
		"a login, reply lost":      {tok("a"), fine, lostReply, false, false},
		"a logout, write lost":     {nil, fine, dropped, false, false},
		"a login, it may have won": {tok("a"), dropped, fine, true, false},
		"a login, tried before":    {tok("a"), fine, fine, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, a, b := bed(false)
				m.onWrite = func(n int, _, _ []byte) fault {
					if c.tried {
						n--
					}
					switch n {
					case 0:
						return dropped
					case 1:
						begin(t, b) // which is the next write
						return c.first
					case 3:
						return c.then
					}
					return fine
				}
				now, _, err := a.Replace(t.Context(), "k", c.t)
				if err != nil {
					t.Fatal(err)
				}
				stored, err := b.Load(t.Context(), "k")
				switch {
				case c.overtaken:
					if stored.Era != now.Era || err != nil || stored.Token.RefreshToken != "" {
						t.Errorf("%v, %v is stored; want the start", stored, err)
					}
				case c.t == nil:
					if stored.State != tokenclient.LoggedOut || now.State != tokenclient.LoggedOut {
						t.Errorf("%v is stored, and %v returned", stored.State, now.State)
					}
				case err != nil || stored.Era != now.Era || stored.Token.RefreshToken != c.t.RefreshToken:
					t.Errorf("%v, %v is stored; want the login", stored, err)
				}
			})
		})
	}
}

// begin has e start a session that needs no login.
func begin(t *testing.T, e *protocol.Engine) {
	t.Helper()
	if _, err := e.Save(t.Context(), "k", tokenclient.Record{}, &tokenclient.Token{}); err != nil {
		t.Fatal(err)
	}
}

// refreshedOnce is what e has in the place of seen after a refresh.
func refreshedOnce(t *testing.T, e *protocol.Engine, seen tokenclient.Record) tokenclient.Record {
	t.Helper()
	r, err := e.Refresh(t.Context(), "k", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		return tok("2"), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSaveOverAnOlderRecord: the store was rolled back, and the caller has what mends
// it.
func TestSaveOverAnOlderRecord(t *testing.T) {
	m, a, b := bed(false)
	first := login(t, a, "k", "a")
	backup := m.raw("k")
	seen, err := a.Refresh(t.Context(), "k", first, time.Second, next)
	if err != nil {
		t.Fatal(err)
	}
	m.put("k", backup)
	seen.Token = nil
	rec, err := a.Save(t.Context(), "k", seen, tok("late"))
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-late", 3)
	wantStored(t, b, "k", "refresh-late", 3)
}
