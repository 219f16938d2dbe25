package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A mapKV is an engine in memory.
type mapKV struct {
	mu     sync.Mutex
	values map[string][]byte
	writes int // CompareAndSwap calls so far
}

func (m *mapKV) Get(ctx context.Context, key string) ([]byte, error) {
	return m.raw(key), ctx.Err()
}

func (m *mapKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if ctx.Err() != nil || !bytes.Equal(m.values[key], old) {
		return false, ctx.Err()
	}
	if m.values == nil {
		m.values = make(map[string][]byte)
	}
	m.values[key] = bytes.Clone(new)
	return true, nil
}

// raw is what is stored under key; put changes it.
func (m *mapKV) raw(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.values[key])
}

func (m *mapKV) put(key string, raw []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = raw
}

// A hookedKV is an engine whose operations tests can hold up.
type hookedKV struct {
	m mapKV

	mu     sync.Mutex
	before func(ctx context.Context, op string, n int) error // n counts all operations from 1
	after  func(op string)
	n      int
	keys   map[string]bool
}

func (h *hookedKV) do(ctx context.Context, op, key string, do func() error) error {
	h.mu.Lock()
	h.n++
	if h.keys == nil {
		h.keys = make(map[string]bool)
	}
	h.keys[key] = true
	n, before, after := h.n, h.before, h.after
	h.mu.Unlock()
	if before != nil {
		if err := before(ctx, op, n); err != nil {
			return err
		}
	}
	err := do()
	if after != nil {
		after(op)
	}
	return err
}

func (h *hookedKV) Get(ctx context.Context, key string) (value []byte, err error) {
	err = h.do(ctx, "get", key, func() (err error) {
		value, err = h.m.Get(ctx, key)
		return err
	})
	return value, err
}

func (h *hookedKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (swapped bool, err error) {
	err = h.do(ctx, "swap", key, func() (err error) {
		swapped, err = h.m.CompareAndSwap(ctx, key, old, new)
		return err
	})
	return swapped, err
}

// hook sets before, counting from now; nil: none.
func (h *hookedKV) hook(before func(ctx context.Context, op string, n int) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n, h.before = 0, before
}

// hangs is an operation that is never answered.
func hangs(ctx context.Context, _ string, _ int) error {
	<-ctx.Done()
	return ctx.Err()
}

// header is the header of what is stored for the key "k".
func (h *hookedKV) header(t testing.TB) *protocol.Record {
	t.Helper()
	r, err := protocol.DecodeRecord(h.m.raw(nameInKV("k")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// nameInKV is what engines call key.
func nameInKV(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// touch writes the record of "k" again, with another write id.
func (h *hookedKV) touch(t testing.TB) {
	r := h.header(t)
	r.WriteID[0]++
	h.m.put(nameInKV("k"), r.Encode())
}

func newShared(t testing.TB, kv store.KV, margin time.Duration) *store.Shared {
	t.Helper()
	s, err := store.NewShared(kv, store.Plaintext(), &store.SharedOptions{Margin: margin})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sharedWith(t testing.TB, kv store.KV, s *store.Sealer) *store.Shared {
	t.Helper()
	shared, err := store.NewShared(kv, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return shared
}

func TestNewSharedRefuses(t *testing.T) {
	good := &mapKV{}
	margin := func(d time.Duration) *store.SharedOptions { return &store.SharedOptions{Margin: d} }
	for name, c := range map[string]struct {
		kv     store.KV
		sealer *store.Sealer
		o      *store.SharedOptions
	}{
		"no KV":              {nil, store.Plaintext(), nil},
		"no Storage":         {store.SingleProcess(nil), store.Plaintext(), nil},
		"no Sealer":          {good, nil, nil},
		"a zero Sealer":      {good, new(store.Sealer), nil},
		"a Sealer of no key": {good, store.Seal(nil), nil},
		"a short margin":     {good, store.Plaintext(), margin(time.Second - 1)},
		"a negative margin":  {good, store.Plaintext(), margin(-1)},
		"a long margin":      {good, store.Plaintext(), margin(time.Hour + 1)},
	} {
		s, err := store.NewShared(c.kv, c.sealer, c.o)
		if err == nil || s != nil || !strings.HasPrefix(err.Error(), "store: ") {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	for _, o := range []*store.SharedOptions{nil, {}, margin(time.Second), margin(time.Hour)} {
		if _, err := store.NewShared(good, store.Plaintext(), o); err != nil {
			t.Errorf("%v: %v", o, err)
		}
	}
	if good.writes != 0 {
		t.Error("the engine was asked")
	}
}

func TestSharedHold(t *testing.T) {
	for margin, want := range map[time.Duration]time.Duration{0: 30 * time.Second, time.Second: 21 * time.Second} {
		kv := &hookedKV{}
		s := newShared(t, kv, margin)
		seen := login(t, s, "k", "a")
		_, err := s.Refresh(t.Context(), "k", seen, 20*time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			if h := kv.header(t); h.LeaseLen != want || h.Announced != 1 {
				t.Errorf("margin %v: hold of %v, %d announced; want %v", margin, h.LeaseLen, h.Announced, want)
			}
			return next(ctx, cur)
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestSharedShowsNothing: a KV may hold the password of the engine.
func TestSharedShowsNothing(t *testing.T) {
	s := newShared(t, &hookedKV{keys: map[string]bool{"geheim": true}}, 0)
	login(t, s, "k", "geheim")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, v := range []any{s, struct{ S *store.Shared }{s}, []any{s}} {
			if got := fmt.Sprintf(verb, v); !strings.Contains(got, "store.Shared") || strings.Contains(got, "geheim") || len(got) > 60 {
				t.Errorf("%s: %s", verb, got)
			}
		}
	}
}

// TestSharedKeys: engines fold, pad and limit keys.
func TestSharedKeys(t *testing.T) {
	kv := &hookedKV{}
	s := newShared(t, kv, 0)
	keys := []string{"", "alice", "Alice", "alice ", strings.Repeat("a", 1000), "\xff", "a/b"}
	for _, k := range keys {
		login(t, s, k, "a")
	}
	for k := range kv.keys {
		if len(k) != 64 || strings.Trim(k, "0123456789abcdef") != "" {
			t.Errorf("key %q", k)
		}
	}
	if len(kv.keys) != len(keys) {
		t.Errorf("%d keys, want %d", len(kv.keys), len(keys))
	}
}

// TestSharedOverAnEngineThatHangs: each operation of a refresh in turn is never
// answered.
func TestSharedOverAnEngineThatHangs(t *testing.T) {
	for n, what := range []string{1: "read", 2: "claim", 3: "save"} {
		if what == "" {
			continue
		}
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := &hookedKV{}
				s := newShared(t, kv, 0)
				seen := login(t, s, "k", "a")
				hang := func(ctx context.Context, op string, i int) error {
					if i == n {
						return hangs(ctx, op, i)
					}
					return nil
				}

				if what != "save" { // which does not end with its caller
					kv.hook(hang)
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					start := time.Now()
					_, err := s.Refresh(ctx, "k", seen, 20*time.Second, never(t))
					wantErr(t, err, tokenclient.ErrStoreUnavailable)
					wantErr(t, err, context.DeadlineExceeded)
					if d := time.Since(start); d != time.Second {
						t.Errorf("returned after %v, want the caller's second", d)
					}
					if h := kv.header(t); h.Lease != [16]byte{} || h.Announced != 0 {
						t.Errorf("a claim is left behind: %v", h.Announced)
					}
				}

				kv.hook(hang)
				start := time.Now()
				r, err := s.Refresh(t.Context(), "k", seen, 20*time.Second, next)
				d := time.Since(start)
				switch what {
				case "read":
					wantErr(t, err, tokenclient.ErrStoreUnavailable)
				case "claim":
					if err != nil {
						t.Error(err)
					}
					wantToken(t, r, "refresh-a'", 2)
				case "save":
					var pending *tokenclient.NotSavedError
					if !errors.As(err, &pending) {
						t.Errorf("%v; want a NotSavedError", err)
					}
				}
				if d < 5*time.Second || d > 6*time.Second {
					t.Errorf("returned after %v, want about 5 s", d)
				}
				// The engine is back, and nothing needs to be started again.
				if r, err = s.Refresh(t.Context(), "k", seen, 20*time.Second, next); err != nil {
					t.Fatal(err)
				}
				wantToken(t, r, "refresh-a'", 2)
			})
		})
	}
	for what, do := range map[string]func(ctx context.Context, s *store.Shared) error{
		"Load":   func(ctx context.Context, s *store.Shared) error { _, err := s.Load(ctx, "k"); return err },
		"Logout": func(ctx context.Context, s *store.Shared) error { _, _, err := s.Replace(ctx, "k", nil); return err },
	} {
		synctest.Test(t, func(t *testing.T) {
			kv := &hookedKV{before: hangs}
			s := newShared(t, kv, 0)
			for _, limit := range []time.Duration{100 * time.Millisecond, time.Minute} {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				start := time.Now()
				err := do(ctx, s)
				wantErr(t, err, tokenclient.ErrStoreUnavailable)
				wantErr(t, err, context.DeadlineExceeded)
				if d := time.Since(start); d != min(limit, 5*time.Second) {
					t.Errorf("%s with %v returned after %v", what, limit, d)
				}
				cancel()
			}
		})
	}
}

// TestSharedOverAnEngineThatPanics: each operation of a refresh in turn.
func TestSharedOverAnEngineThatPanics(t *testing.T) {
	for n := 1; n <= 3; n++ {
		synctest.Test(t, func(t *testing.T) {
			kv := &hookedKV{}
			s := newShared(t, kv, 0)
			seen := login(t, s, "k", "a")
			kv.hook(func(_ context.Context, _ string, i int) error {
				if i == n {
					panic("nil map")
				}
				return nil
			})
			_, err := s.Refresh(t.Context(), "k", seen, 20*time.Second, next)
			if n == 1 {
				wantErr(t, err, tokenclient.ErrStoreUnavailable)
				if !strings.Contains(err.Error(), "KV.Get") {
					t.Error(err)
				}
				_, err = s.Refresh(t.Context(), "k", seen, 20*time.Second, next)
			}
			if err != nil {
				t.Error(err)
			}
			wantStored(t, s, "k", "refresh-a'", 2)
		})
	}
}

// notifyingKV is a store.Notifier.
type notifyingKV struct {
	store.KV
	watch func(changed func()) (hears func() bool, stop func())
}

func (k notifyingKV) Watch(_ string, changed func()) (hears func() bool, stop func()) {
	return k.watch(changed)
}

// TestSharedOverANotifierThatPanics: who waits asks, and is served as from any other engine.
func TestSharedOverANotifierThatPanics(t *testing.T) {
	panics := func() { panic("nil map") }
	for name, watch := range map[string]func(func()) (func() bool, func()){
		"Watch":         func(func()) (func() bool, func()) { panic("nil map") },
		"hears":         func(func()) (func() bool, func()) { return func() bool { panic("nil map") }, func() {} },
		"stop":          func(func()) (func() bool, func()) { return func() bool { return true }, panics },
		"nothing hears": func(func()) (func() bool, func()) { return nil, func() {} },
		"nothing stops": func(func()) (func() bool, func()) { return func() bool { return false }, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := &hookedKV{}
				a, b := newShared(t, kv, 0), newShared(t, notifyingKV{kv, watch}, 0)
				seen := login(t, a, "k", "a")
				go func() {
					_, err := a.Refresh(t.Context(), "k", seen, 20*time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
						time.Sleep(2 * time.Second)
						return next(ctx, cur)
					})
					if err != nil {
						t.Error(err)
					}
				}()
				synctest.Wait()
				r, err := b.Refresh(t.Context(), "k", seen, 20*time.Second, never(t))
				if err != nil {
					t.Fatal(err)
				}
				wantToken(t, r, "refresh-a'", 2)
			})
		})
	}
}

// TestSharedOverASlowEngine: others count the hold from when they see the claim, so
// time that the engine took for it must not be missing at its end.
func TestSharedOverASlowEngine(t *testing.T) {
	const timeout, reserve = 2 * time.Second, 500 * time.Millisecond
	for _, latency := range []time.Duration{0, 400 * time.Millisecond, 501 * time.Millisecond, 600 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second} {
		for name, grows := range map[string]bool{"alike": false, "ever slower": true} {
			t.Run(fmt.Sprint(latency, " ", name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					kv := &hookedKV{}
					s := newShared(t, kv, time.Second)
					seen := login(t, s, "k", "a")
					var issued time.Time
					d := latency
					kv.hook(func(_ context.Context, op string, _ int) error {
						if op == "swap" {
							issued = time.Now()
						}
						return nil
					})
					kv.after = func(op string) {
						time.Sleep(d)
						if grows {
							d = min(d*3/2, 4500*time.Millisecond)
						}
					}
					r, err := s.Refresh(t.Context(), "k", seen, timeout, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
						h := kv.header(t)
						if left := h.LeaseLen - time.Since(issued); left < timeout+reserve {
							t.Errorf("presented with %v left of %v, want %v", left, h.LeaseLen, timeout+reserve)
						}
						if h.Announced != 1 {
							t.Errorf("announced %d times", h.Announced)
						}
						d = 0
						return next(ctx, cur)
					})
					if err != nil {
						t.Fatal(err)
					}
					wantToken(t, r, "refresh-a'", 2)
				})
			})
		}
	}
}

// holding runs do while another process holds "k" and does nothing.
func holding(t *testing.T, s *store.Shared, seen tokenclient.Record, timeout time.Duration, do func()) {
	t.Helper()
	held, leave, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, err := s.Refresh(t.Context(), "k", seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
			close(held)
			<-leave
			return nil, tokenclient.ErrNotPresented
		})
		wantErr(t, err, tokenclient.ErrNotPresented)
	}()
	<-held
	do()
	close(leave)
	<-done
}

// TestSharedWaitsForAsLongAsItSees: those who come wait for the whole length of the
// hold, whenever it began, to the millisecond; and from the beginning when it changes.
func TestSharedWaitsForAsLongAsItSees(t *testing.T) {
	const lease = 21 * time.Second
	for _, late := range []time.Duration{0, 15 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			kv := &hookedKV{}
			s := newShared(t, kv, time.Second)
			seen := login(t, s, "k", "a")
			holding(t, s, seen, 20*time.Second, func() {
				time.Sleep(late)
				start := time.Now()
				r, err := newShared(t, kv, 0).Refresh(t.Context(), "k", seen, 20*time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
					if d := time.Since(start); d != lease {
						t.Errorf("came %v later and presented after %v, want %v", late, d, lease)
					}
					if cur.Announced != 2 {
						t.Errorf("announced %d, want 2", cur.Announced)
					}
					return next(ctx, cur)
				})
				if err != nil {
					t.Error(err)
				}
				wantToken(t, r, "refresh-a'", 2)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		kv := &hookedKV{}
		s := newShared(t, kv, time.Second)
		seen := login(t, s, "k", "a")
		holding(t, s, seen, 20*time.Second, func() {
			start := time.Now()
			const changed = 12 * time.Second
			time.AfterFunc(changed, func() { kv.touch(t) })
			_, err := newShared(t, kv, time.Second).Refresh(t.Context(), "k", seen, 20*time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
				// It sees the change no later than a second after.
				if d := time.Since(start) - lease - changed; d < 0 || d > time.Second {
					t.Errorf("%v from a wait that begins anew with the change", d)
				}
				return next(ctx, cur)
			})
			if err != nil {
				t.Error(err)
			}
		})
	})
}

// TestSharedHoldStaysAfterATimeout, whatever words it comes in, until the server is
// done with the request. A failure that leaves no doubt frees the hold at once.
func TestSharedHoldStaysAfterATimeout(t *testing.T) {
	const timeout, margin = 20 * time.Second, 10 * time.Second
	for _, tc := range []struct {
		name  string
		after time.Duration // how long the call took
		err   error
		want  time.Duration // how long after it the token is presented again
	}{
		{"context", timeout, context.DeadlineExceeded, margin},
		{"context, lost on the way", timeout + time.Millisecond, errors.New("no answer"), margin},
		{"connection", 2 * time.Second, os.ErrDeadlineExceeded, timeout + margin - 2*time.Second},
		{"kernel", 2 * time.Second, &tokenclient.TokenError{Err: syscall.ETIMEDOUT}, timeout + margin - 2*time.Second},
		{"dial", 2 * time.Second, fmt.Errorf("%w: %w", tokenclient.ErrNotPresented, os.ErrDeadlineExceeded), 0},
		{"answer", 2 * time.Second, &tokenclient.TokenError{StatusCode: 400}, 0},
		{"cut", 2 * time.Second, io.ErrUnexpectedEOF, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := &hookedKV{}
				a, b := newShared(t, kv, 0), newShared(t, kv, 0)
				seen := login(t, a, "k", "a")
				_, err := a.Refresh(t.Context(), "k", seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
					time.Sleep(tc.after)
					return nil, tc.err
				})
				if !errors.Is(err, tc.err) {
					t.Fatalf("the first call: %v", err)
				}
				ended := time.Now()
				rec, err := b.Refresh(t.Context(), "k", seen, timeout, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
					if d := time.Since(ended); d != tc.want {
						t.Errorf("presented again %v after the call, want %v", d, tc.want)
					}
					return next(ctx, cur)
				})
				if err != nil {
					t.Fatal(err)
				}
				wantToken(t, rec, "refresh-a'", 2)
			})
		})
	}
}

// TestSharedPolls: soon at first, then ever less often, and never two at one time for
// long. Who waits for a refresh waits no more than a tenth longer than it takes.
func TestSharedPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := &hookedKV{}
		s := newShared(t, kv, time.Second)
		seen := login(t, s, "k", "a")
		var runs [2][]time.Duration // when the engine was asked
		for i := range runs {
			holding(t, s, seen, 29*time.Second, func() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				began := time.Now()
				kv.hook(func(_ context.Context, op string, n int) error {
					if op == "get" {
						runs[i] = append(runs[i], time.Since(began))
					}
					return nil
				})
				_, err := s.Refresh(ctx, "k", seen, time.Second, never(t))
				wantErr(t, err, context.DeadlineExceeded)
				wantErr(t, err, tokenclient.ErrStoreUnavailable)
				kv.hook(nil)
			})
			for n, at := range runs[i] {
				if n < 2 { // it asks twice before it waits
					continue
				}
				last := runs[i][n-1]
				most := min(max(last/10, time.Millisecond), time.Second)
				if d := at - last; d < most/2 || d > most {
					t.Errorf("wait %d is %v after %v, want between %v and %v", n, d, last, most/2, most)
				}
			}
			if n := len(runs[i]); n < 80 || n > 170 {
				t.Errorf("%d looks in 20 s", n)
			}
		}
		if fmt.Sprint(runs[0]) == fmt.Sprint(runs[1]) {
			t.Error("nothing is left to chance")
		}
	})
}

// TestSharedHandsOver: whoever waits goes on soon after the holder is done.
func TestSharedHandsOver(t *testing.T) {
	for _, took := range []time.Duration{10 * time.Millisecond, 15 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			kv := &hookedKV{}
			s := newShared(t, kv, 0)
			seen := login(t, s, "k", "a")
			var wg sync.WaitGroup
			var ended time.Time
			wg.Go(func() {
				_, err := s.Refresh(t.Context(), "k", seen, 20*time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
					time.Sleep(took)
					ended = time.Now()
					return next(ctx, cur)
				})
				if err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			for range 3 {
				wg.Go(func() {
					r, err := newShared(t, kv, 0).Refresh(t.Context(), "k", seen, 20*time.Second, never(t))
					if err != nil {
						t.Error(err)
					}
					wantToken(t, r, "refresh-a'", 2)
					if d := time.Since(ended); d > min(time.Second, took/10+2*time.Millisecond) {
						t.Errorf("a call of %v was noticed after %v", took, d)
					}
				})
			}
			wg.Wait()
		})
		synctest.Test(t, func(t *testing.T) {
			kv := &hookedKV{}
			s := newShared(t, kv, 0)
			seen := login(t, s, "k", "a")
			done := make(chan struct{})
			var released time.Time
			holding(t, s, seen, 20*time.Second, func() {
				go func() {
					defer close(done)
					r, err := newShared(t, kv, 0).Refresh(t.Context(), "k", seen, 20*time.Second, next)
					if err != nil {
						t.Error(err)
					}
					wantToken(t, r, "refresh-a'", 2)
				}()
				time.Sleep(took)
				released = time.Now()
			})
			<-done
			if d := time.Since(released); d > time.Second {
				t.Errorf("a released hold was noticed after %v", d)
			}
		})
	}
}

// TestSessionWhileTheEngineIsDown: nobody notices as long as the token is good; then
// the failure is clear and soon, and passes by itself.
func TestSessionWhileTheEngineIsDown(t *testing.T) {
	for name, trouble := range map[string]func(context.Context, string, int) error{
		"refuses": func(context.Context, string, int) error { return errors.New("connection reset") },
		"hangs":   hangs,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
				kv := &hookedKV{}
				session, err := tokenclient.New(tokenclient.Config{
					Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}, Store: newShared(t, kv, 0), Key: "alice",
				})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = session.Close(context.Background()) }()
				if err := session.SetToken(t.Context(), srv.Issue("alice")); err != nil {
					t.Fatal(err)
				}
				client := session.Wrap(srv.Client())
				request := func(limit time.Duration) error {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/api/orders", nil)
					if err != nil {
						t.Fatal(err)
					}
					resp, err := client.Do(req)
					if err != nil {
						return err
					}
					defer resp.Body.Close()
					if resp.StatusCode != 200 {
						return errors.New(resp.Status)
					}
					return nil
				}

				kv.hook(trouble)
				for at := time.Duration(0); at < 14*time.Minute+30*time.Second; at += 10 * time.Second {
					start := time.Now()
					if err := request(2 * time.Second); err != nil {
						t.Fatalf("after %v: %v", at, err)
					}
					if d := time.Since(start); d != 0 {
						t.Fatalf("after %v a request took %v", at, d)
					}
					time.Sleep(10 * time.Second)
				}
				time.Sleep(time.Minute) // the token has expired
				for _, limit := range []time.Duration{10 * time.Second, 2 * time.Second, 10 * time.Second} {
					start := time.Now()
					err := request(limit)
					if !errors.Is(err, tokenclient.ErrStoreUnavailable) && (name != "hangs" || limit > 5*time.Second || !errors.Is(err, context.DeadlineExceeded)) {
						t.Errorf("a request with %v: %v", limit, err)
					}
					if errors.Is(err, tokenclient.ErrLoginRequired) {
						t.Errorf("the session is over: %v", err)
					}
					if d := time.Since(start); d > min(limit, 5*time.Second) {
						t.Errorf("a request with %v took %v", limit, d)
					}
					time.Sleep(20 * time.Second)
				}
				if n := srv.Counters().Refreshes; n != 0 {
					t.Errorf("%d refreshes that could not be announced", n)
				}

				kv.hook(nil)
				time.Sleep(time.Minute)
				if err := request(2 * time.Second); err != nil {
					t.Errorf("the engine is back: %v", err)
				}
				if n := srv.Counters().Refreshes; n != 1 {
					t.Errorf("%d refreshes, want 1", n)
				}
			})
		})
	}
}

// brokenKV is an engine that fails with err, unless that is nil.
type brokenKV struct {
	store.KV
	err error
}

func (b *brokenKV) Get(ctx context.Context, key string) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	return b.KV.Get(ctx, key)
}

// TestSharedOverAnEngineWithASession: an engine, or a key, that is called through a session of
// its own may find that logged out, refused or not stored. It is out of reach then, and nothing
// else: no verdict of that session is one of this, and no token of its is.
func TestSharedOverAnEngineWithASession(t *testing.T) {
	for _, verdict := range []error{
		tokenclient.ErrRefused, tokenclient.ErrLoginRequired, tokenclient.ErrLoggedOut,
		tokenclient.ErrNoToken, tokenclient.ErrReplaced, tokenclient.ErrOvertaken,
		tokenclient.ErrNotPresented, tokenclient.ErrAnnounced, tokenclient.ErrStillRefused, tokenclient.ErrClosed,
		&tokenclient.TokenError{StatusCode: 403},
		&tokenclient.TokenError{StatusCode: 503, RetryAfter: time.Hour},
		tokenclient.NewNotSavedError("engine", tok("engine"), errors.New("disk full"), nil),
	} {
		kv, key := &brokenKV{KV: &hookedKV{}}, &hooked{KeyWrapper: keyOf(t, "a")}
		err := fmt.Errorf("its own session: %w", verdict)
		t.Run("engine: "+verdict.Error(), func(t *testing.T) {
			ownSession(t, sharedWith(t, kv, store.Plaintext()), func() { kv.err = err }, func() { kv.err = nil })
		})
		t.Run("key: "+verdict.Error(), func(t *testing.T) {
			ownSession(t, sharedWith(t, &hookedKV{}, store.Seal(key)), func() { key.wrap = func() error { return err } }, func() { key.wrap = nil })
		})
	}
}

// ownSession has a session refresh over s while that is broken, and afterwards.
func ownSession(t *testing.T, s *store.Shared, breaks, mends func()) {
	synctest.Test(t, func(t *testing.T) {
		session, err := tokenclient.New(tokenclient.Config{
			Store: s, Key: "k", AnyOrigin: true,
			Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				return tok("new"), nil
			}),
			Hooks: &tokenclient.Hooks{
				StillRefused: func(_ tokenclient.RefreshInfo, err error) { t.Errorf("StillRefused: %v", err) },
				SessionEnded: func(err error) { t.Errorf("SessionEnded: %v", err) },
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := session.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		if err := session.SetToken(t.Context(), tok("a")); err != nil {
			t.Fatal(err)
		}
		breaks()
		for range 4 {
			_, err := session.Refresh(t.Context())
			var te *tokenclient.TokenError
			if !errors.Is(err, tokenclient.ErrStoreUnavailable) || errors.As(err, &te) || errors.Is(err, tokenclient.ErrLoginRequired) ||
				errors.Is(err, tokenclient.ErrStillRefused) || errors.Is(err, tokenclient.ErrClosed) {
				t.Errorf("%v, want ErrStoreUnavailable alone", err)
			}
			time.Sleep(time.Minute)
		}
		if now, err := session.Peek(t.Context()); err != nil || now.AccessToken != tok("a").AccessToken {
			t.Errorf("the session has %v, %v", now, err)
		}
		mends()
		time.Sleep(time.Minute)
		if now, err := session.Refresh(t.Context()); err != nil || now.AccessToken != tok("new").AccessToken {
			t.Errorf("it is back: %v, %v", now, err)
		}
	})
}

// revoker notes which refresh tokens are revoked.
type revoker struct {
	tokenclient.RefresherFunc
	revoked []string
}

func (r *revoker) Revoke(_ context.Context, t *tokenclient.Token) error {
	r.revoked = append(r.revoked, t.RefreshToken)
	return nil
}

// TestLogoutOfATokenThatCannotBeOpened is an error: the server was not told.
func TestLogoutOfATokenThatCannotBeOpened(t *testing.T) {
	sealer := func(b byte) *store.Sealer {
		k, err := store.KeyBytes("k", bytes.Repeat([]byte{b}, 32))
		if err != nil {
			t.Fatal(err)
		}
		return store.Seal(k)
	}
	kv := &hookedKV{}
	right, err := store.NewShared(kv, sealer(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	login(t, right, "alice", "a")
	wrong, err := store.NewShared(kv, sealer(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := new(revoker)
	s, err := tokenclient.New(tokenclient.Config{Store: wrong, Key: "alice", AnyOrigin: true, Refresher: r})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Logout(t.Context()); err == nil || errors.Is(err, tokenclient.ErrStoreUnavailable) || len(r.revoked) > 0 {
		t.Errorf("%v, and %d tokens revoked; want an error that is not about the store: the logout is stored", err, len(r.revoked))
	}
	if _, err := right.Load(t.Context(), "alice"); !errors.Is(err, tokenclient.ErrNoToken) {
		t.Errorf("after the logout: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
