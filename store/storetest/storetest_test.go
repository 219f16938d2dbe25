package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A suite that nothing fails is worth nothing: each row is shown a store that it
// must not let pass.

type (
	record = tokenclient.Record
	pair   = tokenclient.Token
)

// broken is a good store with some of its methods replaced. What a replacement
// calls is good.
type broken struct {
	good    *store.Memory
	load    func(good tokenclient.Store, ctx context.Context, key string) (record, error)
	replace func(good tokenclient.Store, ctx context.Context, key string, t *pair) (record, record, error)
	refresh func(good tokenclient.Store, ctx context.Context, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error)
	save    func(good tokenclient.Store, ctx context.Context, key string, seen record, t *pair) (record, error)
	key     func(string) string
}

func (b *broken) name(key string) string {
	if b.key != nil {
		return b.key(key)
	}
	return key
}

func (b *broken) Load(ctx context.Context, key string) (record, error) {
	if b.load != nil {
		return b.load(b.good, ctx, b.name(key))
	}
	return b.good.Load(ctx, b.name(key))
}

func (b *broken) Replace(ctx context.Context, key string, t *pair) (now, was record, err error) {
	if b.replace != nil {
		return b.replace(b.good, ctx, b.name(key), t)
	}
	return b.good.Replace(ctx, b.name(key), t)
}

func (b *broken) Refresh(ctx context.Context, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
	if b.refresh != nil {
		return b.refresh(b.good, ctx, b.name(key), seen, timeout, fn)
	}
	return b.good.Refresh(ctx, b.name(key), seen, timeout, fn)
}

func (b *broken) Save(ctx context.Context, key string, seen record, t *pair) (record, error) {
	if b.save != nil {
		return b.save(b.good, ctx, b.name(key), seen, t)
	}
	return b.good.Save(ctx, b.name(key), seen, t)
}

func TestRowsCatchBrokenStores(t *testing.T) {
	type (
		goodStore = tokenclient.Store
		ctxt      = context.Context
	)
	var lastToken *pair
	var alreadyHeld bool
	caughtBy := map[string]func() tokenclient.Store{
		"absent is ErrNoToken": func() tokenclient.Store {
			return &broken{load: func(good goodStore, ctx ctxt, key string) (record, error) {
				r, err := good.Load(ctx, key)
				if errors.Is(err, tokenclient.ErrNoToken) {
					err = nil
				}
				return r, err
			}}
		},
		"login is stored whole": func() tokenclient.Store {
			return &broken{replace: func(good goodStore, ctx ctxt, key string, t *pair) (record, record, error) {
				if t = t.Clone(); t != nil {
					t.Extra = nil
				}
				return good.Replace(ctx, key, t)
			}}
		},
		"tokens are kept to the letter": func() tokenclient.Store {
			return &broken{replace: func(good goodStore, ctx ctxt, key string, t *pair) (record, record, error) {
				if t = t.Clone(); t != nil && len(t.AccessToken) > 4096 {
					t.AccessToken = t.AccessToken[:4096]
				}
				return good.Replace(ctx, key, t)
			}}
		},
		"tokens are copied": func() tokenclient.Store {
			return &broken{
				replace: func(good goodStore, ctx ctxt, key string, t *pair) (record, record, error) {
					lastToken = t
					return good.Replace(ctx, key, t)
				},
				load: func(good goodStore, ctx ctxt, key string) (record, error) {
					r, err := good.Load(ctx, key)
					r.Token = lastToken
					return r, err
				},
			}
		},
		"each login begins an era": func() tokenclient.Store {
			return &broken{replace: func(good goodStore, ctx ctxt, key string, t *pair) (record, record, error) {
				old, err := good.Load(ctx, key)
				if err != nil || t == nil {
					return good.Replace(ctx, key, t)
				}
				now, err := good.Refresh(ctx, key, old, timeout, returns(t, nil))
				return now, old, err
			}}
		},
		"logout leaves a tombstone": func() tokenclient.Store {
			return &broken{load: func(good goodStore, ctx ctxt, key string) (record, error) {
				r, err := good.Load(ctx, key)
				if r.State == tokenclient.LoggedOut {
					r = record{}
				}
				return r, err
			}}
		},
		"logout before any login": func() tokenclient.Store {
			return &broken{replace: func(good goodStore, ctx ctxt, key string, t *pair) (record, record, error) {
				if _, err := good.Load(ctx, key); err != nil && t == nil {
					return record{}, record{}, err
				}
				return good.Replace(ctx, key, t)
			}}
		},
		"refresh saves the next number": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				r, err := good.Refresh(ctx, key, seen, timeout, fn)
				if err == nil {
					r, _, err = good.Replace(ctx, key, r.Token)
				}
				return r, err
			}}
		},
		"fn gets the stored token, announced": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				return good.Refresh(ctx, key, seen, timeout, func(ctx context.Context, r record) (*pair, error) {
					r.Token = seen.Token
					return fn(ctx, r)
				})
			}}
		},
		"a newer record is returned without fn": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				if r, err := good.Load(ctx, key); err == nil {
					seen = r // does not ask which one the caller saw
				}
				return good.Refresh(ctx, key, seen, timeout, fn)
			}}
		},
		"a failed fn changes nothing": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				return good.Refresh(ctx, key, seen, timeout, func(ctx context.Context, r record) (*pair, error) {
					t, err := fn(ctx, r)
					if err != nil {
						err = fmt.Errorf("%w, %w", err, tokenclient.ErrNotPresented) // always taken back
					}
					return t, err
				})
			}}
		},
		"a refused token becomes a tombstone": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				var refusal error
				r, err := good.Refresh(ctx, key, seen, timeout, func(ctx context.Context, r record) (*pair, error) {
					t, err := fn(ctx, r)
					if errors.Is(err, tokenclient.ErrRefused) {
						refusal, err = err, tokenclient.ErrNotPresented
					}
					return t, err
				})
				if refusal != nil {
					err = refusal
				}
				return r, err
			}}
		},
		"a store that went back is mended": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				if r, err := good.Load(ctx, key); err == nil && r.Number < seen.Number {
					seen = r // the store is always right
				}
				return good.Refresh(ctx, key, seen, timeout, fn)
			}}
		},
		"keys are any strings, and apart": func() tokenclient.Store { return &broken{key: strings.ToLower} },
		"one fn for many goroutines": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				t, err := fn(ctx, seen) // before it has the key
				return good.Refresh(ctx, key, seen, timeout, returns(t, err))
			}}
		},
		"another key does not wait": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				if alreadyHeld { // one lock for all keys
					return record{}, tokenclient.ErrStoreUnavailable
				}
				alreadyHeld = true
				defer func() { alreadyHeld = false }()
				return good.Refresh(ctx, key, seen, timeout, fn)
			}}
		},
		"a waiter leaves with its context": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				if _, ok := ctx.Deadline(); ok {
					return record{}, tokenclient.ErrStoreUnavailable // an error of its own
				}
				return good.Refresh(ctx, key, seen, timeout, fn)
			}}
		},
		"Load does not wait": func() tokenclient.Store {
			return &broken{load: func(good goodStore, ctx ctxt, key string) (record, error) {
				r, err := good.Load(ctx, key)
				if r.Announced > 0 {
					return record{}, tokenclient.ErrStoreUnavailable
				}
				return r, err
			}}
		},
		"a context that has ended": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				return good.Refresh(context.WithoutCancel(ctx), key, seen, timeout, fn)
			}}
		},
		"a context that ends during fn": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				return good.Refresh(ctx, key, seen, timeout, func(_ context.Context, r record) (*pair, error) {
					t, err := fn(ctx, r) // the caller's context
					return t, errors.Join(err, ctx.Err())
				})
			}}
		},
		"fn's context": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				return good.Refresh(ctx, key, seen, time.Hour, func(ctx context.Context, r record) (*pair, error) {
					if timeout < time.Second {
						return nil, context.Canceled
					}
					return fn(ctx, r)
				})
			}}
		},
		"re-entrance": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				return good.Refresh(ctx, key, seen, timeout, func(_ context.Context, r record) (*pair, error) {
					return fn(ctx, r) // without the mark
				})
			}}
		},
		"a panic and a Goexit in fn": func() tokenclient.Store {
			return &broken{refresh: func(good goodStore, ctx ctxt, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
				return good.Refresh(ctx, key, seen, timeout, func(ctx context.Context, r record) (t *pair, err error) {
					defer func() {
						if recover() != nil {
							t, err = nil, tokenclient.ErrNotPresented
						}
					}()
					return fn(ctx, r)
				})
			}}
		},
		"a save is the next number": func() tokenclient.Store {
			return &broken{save: func(good goodStore, ctx ctxt, key string, seen record, t *pair) (record, error) {
				r, _, err := good.Replace(ctx, key, t) // another login
				return r, err
			}}
		},
		"a save of what was overtaken": seeing(func(seen, stored record) record {
			seen.Number = stored.Number // over whatever there is of this login
			return seen
		}),
		"a save of another login": seeing(func(_, stored record) record { return stored }),
		"a save after a logout": func() tokenclient.Store {
			return &broken{save: func(good goodStore, ctx ctxt, key string, seen record, t *pair) (record, error) {
				r, err := good.Save(ctx, key, seen, t)
				if r.State == tokenclient.LoggedOut {
					r, _, err = good.Replace(ctx, key, t)
				}
				return r, err
			}}
		},
		"a save before any login": func() tokenclient.Store {
			return &broken{save: func(good goodStore, ctx ctxt, key string, seen record, t *pair) (record, error) {
				r, err := good.Save(ctx, key, seen, t)
				if r.State == tokenclient.Absent {
					err = tokenclient.ErrReplaced
				}
				return r, err
			}}
		},
		"a start": func() tokenclient.Store {
			return &broken{save: func(good goodStore, ctx ctxt, key string, seen record, t *pair) (record, error) {
				if seen.State == tokenclient.Absent {
					r, _, err := good.Replace(ctx, key, t) // over whatever there is
					return r, err
				}
				return good.Save(ctx, key, seen, t)
			}}
		},
		"a save over a refusal": func() tokenclient.Store {
			return &broken{save: func(good goodStore, ctx ctxt, key string, seen record, t *pair) (record, error) {
				if r, err := good.Load(ctx, key); err != nil {
					return r, err // every tombstone is final
				}
				return good.Save(ctx, key, seen, t)
			}}
		},
		"a save mends a store that went back": seeing(func(_, stored record) record { return stored }),
		"a save does not wait": func() tokenclient.Store {
			return &broken{save: func(good goodStore, ctx ctxt, key string, seen record, t *pair) (record, error) {
				return good.Refresh(ctx, key, seen, timeout, returns(t, nil))
			}}
		},
		"a save hides no announcement": seeing(func(seen, stored record) record {
			seen.Announced = stored.Announced
			return seen
		}),
		"one of many saves and refreshes":     seeing(func(_, stored record) record { return stored }),
		"logout during fn":                    overwriting,
		"login during fn":                     overwriting,
		"logout during a fn that is refused":  deleting,
		"login during a fn that is refused":   deleting,
		"two handles are one store":           nil, // has a harness of its own, below
		"one fn for many processes":           nil, // has a test of its own, below
		"no refresh of a process is lost":     nil,
		"a process that dies in fn":           nil,
		"logout in another process during fn": nil,
	}
	for _, row := range append(rows, processRows...) {
		make, known := caughtBy[row.name]
		if !known {
			t.Errorf("no broken store for the row %q", row.name)
		}
		if make == nil {
			continue
		}
		t.Run(row.name, func(t *testing.T) {
			s := make().(*broken)
			s.good = new(store.Memory)
			if !fails(t, row, Harness{Open: func(testing.TB, string) tokenclient.Store { return s }}, "") {
				t.Error("the row let a broken store pass")
			}
		})
	}
	t.Run("two handles are one store", func(t *testing.T) {
		h := Harness{Open: func(testing.TB, string) tokenclient.Store { return new(store.Memory) }}
		if !fails(t, find(t, "two handles are one store"), h, "") {
			t.Error("the row let a broken store pass")
		}
	})
}

// TestRowsCatchHolderThatFails: rows in which somebody comes during a refresh look at what
// becomes of that, too.
func TestRowsCatchHolderThatFails(t *testing.T) {
	type refresh = func(good tokenclient.Store, ctx context.Context, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error)
	for what, broke := range map[string]refresh{
		"an error": func(good tokenclient.Store, ctx context.Context, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
			r, err := good.Refresh(ctx, key, seen, timeout, fn)
			if err == nil {
				err = tokenclient.ErrStoreUnavailable
			}
			return r, err
		},
		"the old record": func(good tokenclient.Store, ctx context.Context, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
			_, err := good.Refresh(ctx, key, seen, timeout, fn)
			return seen, err
		},
		"what is not saved": func(good tokenclient.Store, ctx context.Context, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
			r, err := good.Refresh(ctx, key, seen, timeout, fn)
			if err == nil {
				_, _, err = good.Replace(ctx, key, nil)
			}
			return r, err
		},
	} {
		for _, row := range []string{"a waiter leaves with its context", "Load does not wait"} {
			t.Run(row+", "+what, func(t *testing.T) {
				s := &broken{good: new(store.Memory), refresh: broke}
				if !fails(t, find(t, row), Harness{Open: func(testing.TB, string) tokenclient.Store { return s }}, "") {
					t.Error("the row let a broken store pass")
				}
			})
		}
	}
}

// seeing returns a store that takes another record for the one that a save's caller has
// seen.
func seeing(what func(seen, stored record) record) func() tokenclient.Store {
	return func() tokenclient.Store {
		return &broken{save: func(good tokenclient.Store, ctx context.Context, key string, seen record, t *pair) (record, error) {
			stored, err := good.Load(ctx, key)
			if err == nil {
				seen = what(seen, stored)
			}
			return good.Save(ctx, key, seen, t)
		}}
	}
}

// overwriting returns a store whose refreshes win over a login or logout.
func overwriting() tokenclient.Store {
	return &broken{refresh: func(good tokenclient.Store, ctx context.Context, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
		var made *pair
		r, err := good.Refresh(ctx, key, seen, timeout, func(ctx context.Context, r record) (_ *pair, err error) {
			made, err = fn(ctx, r)
			return made, err
		})
		if errors.Is(err, tokenclient.ErrReplaced) {
			r, _, err = good.Replace(ctx, key, made)
		}
		return r, err
	}}
}

// deleting returns a store whose refused refreshes delete what is there.
func deleting() tokenclient.Store {
	return &broken{refresh: func(good tokenclient.Store, ctx context.Context, key string, seen record, timeout time.Duration, fn refreshFunc) (record, error) {
		var refusal error
		r, err := good.Refresh(ctx, key, seen, timeout, func(ctx context.Context, r record) (_ *pair, err error) {
			t, err := fn(ctx, r)
			refusal = err
			return t, err
		})
		if errors.Is(refusal, tokenclient.ErrRefused) {
			now, _, _ := good.Replace(ctx, key, token("deleted"))
			r, _ = good.Refresh(ctx, key, now, timeout, returns(nil, refusal))
		}
		return r, err
	}}
}

func find(t *testing.T, name string) row {
	for _, row := range append(rows, processRows...) {
		if row.name == name {
			return row
		}
	}
	t.Fatalf("there is no row %q", name)
	return row{}
}

// fails reports whether row fails against a store of h.
func fails(t *testing.T, row row, h Harness, address string) bool {
	return failing(t, func(t testing.TB) { row.try(t, h, address) })
}

// failing reports whether run fails.
func failing(t *testing.T, run func(testing.TB)) bool {
	ctx, cancel := context.WithCancel(t.Context()) // no deadline, which rows look at
	defer time.AfterFunc(20*time.Second, cancel).Stop()
	defer cancel()
	r := &recorder{TB: t, ctx: ctx}
	done := make(chan struct{})
	go func() { // which Fatalf ends
		defer close(done)
		run(r)
	}()
	<-done
	return r.failed.Load()
}

// recorder is a testing.TB whose failures are what the test wants.
type recorder struct {
	testing.TB
	ctx    context.Context // what is broken may never end
	failed atomic.Bool
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Errorf(string, ...any)    { r.failed.Store(true) }
func (r *recorder) Fatalf(string, ...any) {
	r.failed.Store(true)
	runtime.Goexit()
}

// fileWithoutLock is a store for several processes that forgot that there are
// several: it calls and writes, and does not look what is there by then.
type fileWithoutLock struct{ path string }

func (f fileWithoutLock) Load(context.Context, string) (r record, err error) {
	b, err := os.ReadFile(f.path)
	if err != nil {
		return record{}, tokenclient.ErrNoToken
	}
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return r, tokenclient.ErrStoreCorrupt
	}
	r = record{State: s.State, Era: s.Era, Number: s.Number}
	if s.State != tokenclient.Active {
		return r, tokenclient.ErrNoToken
	}
	r.Token = &pair{AccessToken: s.Access, RefreshToken: s.Refresh}
	return r, nil
}

// stored is how fileWithoutLock writes a record.
type stored struct {
	State           tokenclient.State
	Era             [16]byte
	Number          uint64
	Access, Refresh string
}

func (f fileWithoutLock) save(r record) error {
	s := stored{State: r.State, Era: r.Era, Number: r.Number}
	if r.Token != nil {
		s.Access, s.Refresh = r.Token.AccessToken, r.Token.RefreshToken
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temp := fmt.Sprintf("%s.%d", f.path, os.Getpid())
	return errors.Join(os.WriteFile(temp, b, 0o600), os.Rename(temp, f.path))
}

func (f fileWithoutLock) Replace(ctx context.Context, _ string, t *pair) (now, was record, err error) {
	was, _ = f.Load(ctx, "")
	now = record{State: tokenclient.LoggedOut, Era: [16]byte{byte(was.Era[0] + 1)}}
	if t != nil {
		now.State, now.Number, now.Token = tokenclient.Active, 1, t
	}
	return now, was, f.save(now)
}

func (f fileWithoutLock) Refresh(ctx context.Context, _ string, seen record, _ time.Duration, fn refreshFunc) (record, error) {
	t, err := fn(ctx, seen)
	if err != nil {
		return seen, err
	}
	r := record{State: tokenclient.Active, Era: seen.Era, Number: seen.Number + 1, Token: t}
	return r, f.save(r)
}

func (f fileWithoutLock) Save(ctx context.Context, key string, seen record, t *pair) (record, error) {
	return f.Refresh(ctx, key, seen, 0, returns(t, nil))
}

// TestProcessRowsCatchBrokenStore runs each row with a test of its own name, since
// that is what the children run.
func TestProcessRowsCatchBrokenStore(t *testing.T) {
	h := Harness{Open: func(_ testing.TB, address string) tokenclient.Store { return fileWithoutLock{address} }}
	if role := os.Getenv(envRole); role != "" {
		child(t, h, role)
		return
	}
	for _, row := range processRows {
		t.Run(row.name, func(t *testing.T) {
			if !fails(t, row, h, filepath.Join(t.TempDir(), "record")) {
				t.Error("the row let a broken store pass")
			}
		})
	}
}
