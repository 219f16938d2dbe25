package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// hooked is a KeyWrapper whose calls go through functions first, where set.
type hooked struct {
	store.KeyWrapper
	wrap, unwrap func() error
}

func (w *hooked) Wrap(dataKey []byte, label string) ([]byte, error) {
	if w.wrap != nil {
		if err := w.wrap(); err != nil {
			return nil, err
		}
	}
	return w.KeyWrapper.Wrap(dataKey, label)
}

func (w *hooked) Unwrap(wrapped []byte, label string) ([]byte, error) {
	if w.unwrap != nil {
		if err := w.unwrap(); err != nil {
			return nil, err
		}
	}
	return w.KeyWrapper.Unwrap(wrapped, label)
}

// A key that is slow, one that is locked and one that is gone are three different
// errors, for whoever reads and for whoever refreshes; only the last one lets a
// login throw the record away.
func TestSlowLockedGoneKey(t *testing.T) {
	locked := errors.New("the keystore is locked")
	for name, c := range map[string]struct {
		hook     func() error
		is, not  []error
		contains string
	}{
		"slow": {
			func() error { time.Sleep(time.Hour); return nil },
			[]error{tokenclient.ErrStoreUnavailable, context.DeadlineExceeded}, []error{tokenclient.ErrStoreCorrupt, locked}, `"a"`,
		},
		"locked": {
			func() error { return locked },
			[]error{tokenclient.ErrStoreUnavailable, locked}, []error{tokenclient.ErrStoreCorrupt, context.DeadlineExceeded}, `"a"`,
		},
		"gone": {
			func() error { return fmt.Errorf("%w: the key was deleted", tokenclient.ErrStoreCorrupt) },
			[]error{tokenclient.ErrStoreCorrupt}, []error{tokenclient.ErrStoreUnavailable, context.DeadlineExceeded, locked}, "deleted",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := &hookedKV{}
				w := &hooked{KeyWrapper: keyOf(t, "a")}
				seen := login(t, sharedWith(t, kv, store.Seal(w)), "k", "a")
				w.unwrap = c.hook
				other := sharedWith(t, kv, store.Seal(w))
				for what, call := range map[string]func(context.Context) error{
					"Load": func(ctx context.Context) error { _, err := other.Load(ctx, "k"); return err },
					"Refresh": func(ctx context.Context) error {
						_, err := other.Refresh(ctx, "k", tokenclient.Record{}, time.Second, never(t))
						return err
					},
				} {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					err := call(ctx)
					cancel()
					for _, is := range c.is {
						if !errors.Is(err, is) {
							t.Errorf("%s: %v is not %v", what, err, is)
						}
					}
					for _, not := range append(c.not, tokenclient.ErrNoToken, tokenclient.ErrLoginRequired) {
						if errors.Is(err, not) {
							t.Errorf("%s: %v is %v", what, err, not)
						}
					}
					if err != nil && !strings.Contains(err.Error(), c.contains) {
						t.Errorf("%s: %v does not say %s", what, err, c.contains)
					}
				}
				if h := kv.header(t); h.Era != seen.Era {
					t.Error("the record was written")
				}
				time.Sleep(2 * time.Hour) // slow calls end
				synctest.Wait()
				w.unwrap = nil
				wantStored(t, other, "k", "refresh-a", 1)
			})
		})
	}
}

// While a wrapper blocks, nobody waits who does not need that very call.
func TestBlockedWrapperHoldsNoLock(t *testing.T) {
	dir := t.TempDir() + "/tokens"
	entered, release := make(chan struct{}), make(chan struct{})
	block := func() error {
		entered <- struct{}{}
		<-release
		return nil
	}
	w := &hooked{KeyWrapper: keyOf(t, "a")}
	blocked, err := store.NewFile(dir, store.Seal(w)) // one File: its locks are those in question
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := login(t, blocked, "alice", "a"), login(t, blocked, "bob", "b")

	for name, call := range map[string]func(context.Context) error{
		"Unwrap in Load":     func(ctx context.Context) error { _, err := blocked.Load(ctx, "alice"); return err },
		"Wrap in Replace":    func(ctx context.Context) error { _, _, err := blocked.Replace(ctx, "carol", tok("c")); return err },
		"Wrap in Refresh":    func(ctx context.Context) error { _, err := blocked.Refresh(ctx, "alice", alice, 1e9, next); return err },
		"Unwrap of a waiter": func(ctx context.Context) error { _, err := blocked.Load(ctx, "alice"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			first := block
			hook := func() error { f := first; first = nil; return f() }
			if strings.HasPrefix(name, "Wrap") {
				w.wrap = hook
			} else {
				w.unwrap = hook
			}
			done := make(chan error)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { done <- call(ctx) }()
			<-entered
			w.wrap, w.unwrap = nil, nil // all others are quick

			if _, err := blocked.Load(t.Context(), "alice"); err != nil {
				t.Error("Load of the same key:", err)
			}
			if _, err := blocked.Load(t.Context(), "bob"); err != nil {
				t.Error("Load of another key:", err)
			}
			if bob, err = blocked.Refresh(t.Context(), "bob", bob, time.Second, next); err != nil {
				t.Error("Refresh of another key:", err)
			}
			if _, _, err := blocked.Replace(t.Context(), "dave", tok("d")); err != nil {
				t.Error("login of another key:", err)
			}
			if name == "Unwrap of a waiter" { // who may leave before the wrapper does
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) || !errors.Is(err, tokenclient.ErrStoreUnavailable) {
					t.Errorf("left with %v", err)
				}
				release <- struct{}{}
				return
			}
			release <- struct{}{}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
