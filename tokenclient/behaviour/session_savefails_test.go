package behaviour_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// saveRig is a rig over an unsavedStore that counts SaveFailed.
type saveRig struct {
	*sessiontest.Rig
	store  *unsavedStore
	failed []error
	login0 *tokenclient.Token
}

func newSaveRig(t *testing.T) *saveRig {
	r := &saveRig{store: new(unsavedStore)}
	r.Rig = sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
		c.Store, c.Key = r.store, "alice"
		c.Hooks = &tokenclient.Hooks{SaveFailed: func(i tokenclient.RefreshInfo, err error) {
			if i.Key != "alice" {
				t.Errorf("SaveFailed for key %q", i.Key)
			}
			r.failed = append(r.failed, err)
		}}
	})
	r.login0 = r.Login(t)
	return r
}

// stored is the refresh token in the store.
func (r *saveRig) stored(t *testing.T) string {
	rec, err := r.store.Load(context.Background(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	return rec.Token.RefreshToken
}

// TestSaveFails: the new pair cannot be stored. It is used all the same, the
// program is told, and the save is tried again, less and less often, until it
// works.
func TestSaveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaveRig(t)
		const fails = 6
		r.store.set(fails)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		r.WantGet(t, 200)
		if r.stored(t) != r.login0.RefreshToken {
			t.Error("the store was written")
		}
		time.Sleep(10 * time.Minute)
		now, err := r.Session.Peek(t.Context())
		if err != nil || r.stored(t) != now.RefreshToken || now.RefreshToken == r.login0.RefreshToken {
			t.Errorf("the new token is not stored; token %v, error %v", now, err)
		}
		synctest.Wait()
		if len(r.failed) != fails {
			t.Errorf("SaveFailed was called %d times, want %d", len(r.failed), fails)
		}
		for _, err := range r.failed {
			var unsaved *tokenclient.NotSavedError
			if !errors.As(err, &unsaved) || !errors.Is(err, errNoSpace) || unsaved.Token.RefreshToken != now.RefreshToken {
				t.Errorf("SaveFailed with %v", err)
			}
		}
		if n := len(r.store.tried); n != fails+1 {
			t.Errorf("saved %d times, want %d", n, fails+1)
		}
		for i, wait := 1, time.Second; i < len(r.store.tried); i, wait = i+1, 2*wait {
			if got := r.store.tried[i].Sub(r.store.tried[i-1]); got < wait/2 || got > wait {
				t.Errorf("try %d came after %v, want up to %v", i+1, got, wait)
			}
		}
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
	})
}

// TestSaveFailsNeverTheOldPair: while nothing can be stored, further refreshes
// present what was issued last, and when the disk has room again, that is what
// the store gets.
func TestSaveFailsNeverTheOldPair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaveRig(t)
		r.store.set(1 << 30)
		for range 4 {
			time.Sleep(20 * time.Minute)
			r.WantGet(t, 200)
		}
		if c := r.Server.Counters(); c.Refreshes != 4 || c.Reuses != 0 {
			t.Errorf("%d refreshes, %d reuses", c.Refreshes, c.Reuses)
		}
		r.store.set(0)
		time.Sleep(5 * time.Minute)
		now, err := r.Session.Peek(t.Context())
		if err != nil || r.stored(t) != now.RefreshToken {
			t.Errorf("the newest token is not stored; error %v", err)
		}
	})
}

// TestSaveFailsCloseReports: Close makes the last attempt, says what is lost if that
// fails, and can be called again.
func TestSaveFailsCloseReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaveRig(t)
		r.store.set(1 << 30)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		now, err := r.Session.Peek(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = r.Session.Close(t.Context())
		var unsaved *tokenclient.NotSavedError
		if !errors.As(err, &unsaved) || unsaved.Token.RefreshToken != now.RefreshToken || unsaved.Key != "alice" || !errors.Is(err, errNoSpace) {
			t.Fatalf("Close: %v, want a *NotSavedError with the new token", err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		if _, err := r.Get(t.Context()); !errors.Is(err, tokenclient.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		r.store.set(0)
		if err := r.Session.Close(t.Context()); err != nil {
			t.Errorf("Close when there is room again: %v", err)
		}
		if r.stored(t) != now.RefreshToken {
			t.Error("Close did not store the new token")
		}
	})
}

// TestSaveFailsAndIsOvertaken: while a pair could not be stored for a minute another process took
// the hold over and presented the same refresh token, to a server that has a grace period. Both
// pairs have one number. The session goes on with the one that is stored, and drops its own.
func TestSaveFailsAndIsOvertaken(t *testing.T) {
	for name, loads := range map[string]int{"": 0, ", and cannot be read at first": 3} {
		sessiontest.Bubble(t, "overtaken"+name, func(t *testing.T) {
			kv := &cutOffKV{KV: new(lostReplyKV)}
			open := func(kv store.KV) *store.Shared {
				shared, err := store.NewShared(kv, store.Plaintext(), nil)
				if err != nil {
					t.Fatal(err)
				}
				return shared
			}
			mine, other := open(kv), open(kv.KV)
			refreshed := 0
			var adopted []uint64
			s, err := tokenclient.New(tokenclient.Config{
				Origins: []string{sessiontest.FakeAPI}, Store: mine, Key: "alice",
				Hooks: &tokenclient.Hooks{Adopted: func(i tokenclient.RefreshInfo) { adopted = append(adopted, i.Generation) }},
				Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
					refreshed++
					kv.writesFail.Store(true)
					return sessiontest.Pair("mine", "refresh-mine", time.Hour), nil
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SetToken(t.Context(), sessiontest.Pair("first", "refresh-first", time.Hour)); err != nil {
				t.Fatal(err)
			}
			if now, err := s.Refresh(t.Context()); err != nil || now.AccessToken != "mine" {
				t.Fatalf("%v, %v", now, err)
			}
			seen, err := other.Load(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			_, err = other.Refresh(t.Context(), "alice", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				return sessiontest.Pair("other", "refresh-other", time.Hour), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			kv.readsFail.Store(int32(loads))
			kv.writesFail.Store(false)
			time.Sleep(5 * time.Minute)
			if now, err := s.Token(t.Context()); err != nil || now.AccessToken != "other" || now.RefreshToken != "refresh-other" {
				t.Errorf("the session holds %v (%v), and the other pair is stored", now.AccessToken, err)
			}
			sessiontest.Close(t, s)
			if r, err := other.Load(t.Context(), "alice"); err != nil || r.Number != 2 || r.Token.RefreshToken != "refresh-other" || refreshed != 1 {
				t.Errorf("number %d is stored (%v), %d refreshes", r.Number, err, refreshed)
			}
			synctest.Wait() // for the hook
			if len(adopted) != 1 {
				t.Errorf("adopted %v", adopted)
			}
		})
	}
}

// cutOffKV is an engine whose writes, and some reads, fail.
type cutOffKV struct {
	store.KV
	writesFail atomic.Bool
	readsFail  atomic.Int32
}

func (kv *cutOffKV) Get(ctx context.Context, key string) ([]byte, error) {
	if !kv.writesFail.Load() && kv.readsFail.Add(-1) >= 0 {
		return nil, errors.New("out of order")
	}
	return kv.KV.Get(ctx, key)
}

func (kv *cutOffKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if kv.writesFail.Load() {
		return false, errors.New("out of order")
	}
	return kv.KV.CompareAndSwap(ctx, key, old, new)
}

// TestSaveFailsLogout: a logout ends the attempts, so that no save brings
// the session back, and nothing is left for Close to report.
func TestSaveFailsLogout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaveRig(t)
		r.store.set(3)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		r.Logout(t)
		time.Sleep(10 * time.Minute)
		if rec, err := r.store.Load(t.Context(), "alice"); !errors.Is(err, tokenclient.ErrNoToken) {
			t.Errorf("the store holds %v, error %v", rec, err)
		}
		if err := r.Session.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}
