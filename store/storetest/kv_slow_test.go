//go:build unix

package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// slowKV is a good engine that does not answer some operations in time.
type slowKV struct {
	*mapKV
	mu     sync.Mutex
	n      int
	silent func(n int) bool // whether it does not answer the n-th operation, from 1
	done   bool             // though it has done it
}

func (s *slowKV) next() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.silent(s.n)
}

func (s *slowKV) Get(ctx context.Context, key string) ([]byte, error) {
	if s.next() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.mapKV.Get(ctx, key)
}

func (s *slowKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if s.next() {
		if s.done {
			_, _ = s.mapKV.CompareAndSwap(ctx, key, old, new)
		}
		<-ctx.Done()
		return false, ctx.Err()
	}
	return s.mapKV.CompareAndSwap(ctx, key, old, new)
}

// checkOf returns a check of kv whose failures are what the test wants.
func checkOf(t *testing.T, kv store.KV) (*kvCheck, *witness) {
	w := &witness{TB: quiet{t}}
	return &kvCheck{check: &check{t: w}, openKV: func(testing.TB, string) store.KV { return kv }, kv: kv, thorough: true}, w
}

// quiet is a testing.TB for what fails, or is late, all the time.
type quiet struct{ testing.TB }

func (quiet) Logf(string, ...any) {}

// ended runs do, and returns when it or Fatalf has ended it.
func ended(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
}

func at(operations ...int) func(int) bool {
	return func(n int) bool { return slices.Contains(operations, n) }
}

// Engines that do not answer one operation in a while are good ones, in all rows that
// look at values, whether the operation was done or not.
func TestRowsForgiveLateAnswers(t *testing.T) {
	rows := map[string]func(int) bool{
		"absent is nil":              at(1, 2, 4),
		"a value is created once":    at(2, 5, 9, 11),
		"swap only what was read":    at(1, 4, 9, 12),
		"slices are the caller's":    at(2, 5, 8),
		"two handles are one engine": at(2, 60, 61, 120),
		"one of many creates":        at(2, 30, 60, 61),
		"no swap is lost":            at(2, 50, 51, 200, 300),
	}
	for _, row := range kvRows {
		silent, ok := rows[row.name]
		if !ok {
			continue
		}
		delete(rows, row.name)
		for _, done := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				c, w := checkOf(t, &slowKV{mapKV: newMapKV(), silent: silent, done: done})
				ended(func() { row.run(c) })
				if len(w.complaints) != 0 || c.lateOnes.Load() == 0 {
					t.Errorf("%s: %d late, done: %t: %q", row.name, c.lateOnes.Load(), done, w.complaints)
				}
			})
		}
	}
	if len(rows) != 0 {
		t.Errorf("no such rows: %v", rows)
	}
}

// One that never answers is none.
func TestRowsGiveUp(t *testing.T) {
	for _, row := range kvRows {
		synctest.Test(t, func(t *testing.T) {
			c, w := checkOf(t, &slowKV{mapKV: newMapKV(), silent: func(int) bool { return true }})
			ended(func() { row.run(c) })
			if len(w.complaints) == 0 {
				t.Errorf("%s: an engine that never answers passed", row.name)
			}
		})
	}
}

// What is late is forgiven, and nothing else: increments that are missing, and more
// than those in doubt, are found.
func TestNumbers(t *testing.T) {
	for _, test := range []struct {
		stored, want, unsure int
		good                 bool
	}{
		{8, 8, 0, true}, {7, 8, 0, false}, {9, 8, 0, false},
		{8, 8, 2, true}, {9, 8, 2, true}, {10, 8, 2, true}, {7, 8, 2, false}, {11, 8, 2, false},
	} {
		c, w := checkOf(t, newMapKV())
		c.mustSwap(c.kv, kvKey(1), nil, kvCount(uint64(test.stored)))
		c.wantNumber(test.want, test.unsure)
		if good := len(w.complaints) == 0; good != test.good {
			t.Errorf("%d stored, %d wanted, %d unsure: %q", test.stored, test.want, test.unsure, w.complaints)
		}
	}
}

func TestFairly(t *testing.T) {
	const slow, quick = 2 * tooSlow, tooSlow / 2
	for _, test := range []struct {
		name   string
		engine time.Duration
		fails  int // cases before the first that is good
		surely bool
		tries  int // that are wanted
		good   bool
	}{
		{"good", quick, 0, false, 1, true},
		{"good though slow", slow, 0, false, 1, true},
		{"bad", quick, 1, false, 1, false},
		{"bad while slow", slow, 2, false, 3, true},
		{"bad time and again", slow, 100, false, mostTries, false},
		{"bad while slow, without excuse", slow, 1, true, 1, false},
	} {
		for name, complain := range map[string]func(c *kvCheck){
			"Errorf": func(c *kvCheck) { c.errorf("wrong") },
			"Fatalf": func(c *kvCheck) { c.fatalf("wrong") },
		} {
			if test.surely && name == "Fatalf" {
				continue // reports nothing any more
			}
			synctest.Test(t, func(t *testing.T) {
				c, w := checkOf(t, brokenKV{mapKV: newMapKV(), get: func(good *mapKV, ctx context.Context, key string) ([]byte, error) {
					time.Sleep(test.engine)
					return good.Get(ctx, key)
				}})
				tries := 0
				c.fairly(func(c *kvCheck) bool {
					tries++
					c.want(c.kv, kvKey(1), nil)
					if tries <= test.fails {
						complain(c)
					}
					return test.surely
				})
				if good := len(w.complaints) == 0; tries != test.tries || good != test.good {
					t.Errorf("%s, %s: %d tries, complaints %q", test.name, name, tries, w.complaints)
				}
			})
		}
	}
}

// Errors that come before the time is over are errors.
func TestErrorsAreNotLate(t *testing.T) {
	c, w := checkOf(t, brokenKV{mapKV: newMapKV(), get: func(*mapKV, context.Context, string) ([]byte, error) {
		return nil, errors.New("no table")
	}})
	ended(func() { c.want(c.kv, kvKey(1), nil) })
	if len(w.complaints) != 1 || !strings.Contains(w.complaints[0], "no table") || c.lateOnes.Load() != 0 {
		t.Errorf("complaints %q, %d late", w.complaints, c.lateOnes.Load())
	}
}
