// Package storetest is the suite of tests that every [tokenclient.Store] passes, and
// every engine below a [store.Shared].
//
// To test a store, say in a [Harness] how one is made and opened, and hand it to
// [Run] in a test of its own:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, storetest.Harness{
//			Make: func(t *testing.T) string { return t.TempDir() },
//			Open: func(t testing.TB, address string) tokenclient.Store { return open(t, address) },
//		})
//	}
//
// To test an engine, a [store.KV], hand two such functions to [RunKV].
//
// Each row of the suites is a subtest whose name says what is expected; when it
// fails it says why that matters.
package storetest

import (
	"context"
	"errors"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Harness makes stores for [Run].
type Harness struct {
	// Make makes an empty store for one subtest and returns its address, which
	// is all that Open gets to know: a folder, or the name of a table. It
	// cleans up by t.Cleanup.
	//
	// An empty address says that the store lives in this process alone, as
	// store.Memory does. The rows with several processes are left out then.
	Make func(t *testing.T) (address string)

	// Open opens the store at address. It is called several times for one
	// address, and the results must behave as one store. With an address that
	// is not empty it is called in child processes, too: those run the test
	// binary again, with the arguments that select this test, and everything
	// before Run in that test is executed there as well.
	Open func(t testing.TB, address string) tokenclient.Store
}

// Run runs all rows against stores that h makes, each against one of its own. It
// must be called from a top-level test or a subtest whose name can be selected
// with -test.run.
func Run(t *testing.T, h Harness) {
	if role := os.Getenv(envRole); role != "" {
		child(t, h, role)
		return
	}
	all := rows
	if h.Make(t) != "" {
		all = slices.Concat(rows, processRows)
	}
	for _, row := range all {
		t.Run(row.name, func(t *testing.T) { row.try(t, h, h.Make(t)) })
	}
}

// A row is one expectation.
type row struct {
	name string
	why  string // what users lose if it does not hold
	run  func(c *check)
}

func (r row) try(t testing.TB, h Harness, address string) {
	t.Helper()
	c := &check{t: t, h: h, address: address, why: r.why}
	c.store = c.open()
	r.run(c)
}

// check is a row being tried. Its t is not always a *testing.T: the suite's own
// test has another one, which expects failures.
type check struct {
	t       testing.TB
	h       Harness
	address string
	why     string
	store   tokenclient.Store
}

func (c *check) open() tokenclient.Store { return c.h.Open(c.t, c.address) }

func (c *check) ctx() context.Context { return c.t.Context() }

func (c *check) errorf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf(format+"\n\twhy it matters: %s", append(args, c.why)...)
}

func (c *check) fatalf(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf(format+"\n\twhy it matters: %s", append(args, c.why)...)
}

const key = "alice"

// timeout is for calls of fn that are expected to return.
const timeout = 10 * time.Second

// token returns a token whose texts end in n.
func token(n string) *tokenclient.Token {
	now := time.Date(2026, 11, 21, 12, 30, 15, 123456789, time.UTC)
	return &tokenclient.Token{
		AccessToken: "access-" + n, RefreshToken: "refresh-" + n, TokenType: "Bearer", Scope: "a b",
		Expiry: now.Add(time.Hour), RefreshExpiry: now.Add(24 * time.Hour), Issued: now,
		Extra: map[string]any{"id_token": "id-" + n},
	}
}

// login writes a token and returns its record.
func (c *check) login(n string) tokenclient.Record {
	c.t.Helper()
	now, _, err := c.store.Replace(c.ctx(), key, token(n))
	if err != nil {
		c.fatalf("Replace: %v", err)
	}
	return now
}

// refresh refreshes seen to token(n) and returns the record.
func (c *check) refresh(seen tokenclient.Record, n string) tokenclient.Record {
	c.t.Helper()
	r, err := c.store.Refresh(c.ctx(), key, seen, timeout, returns(token(n), nil))
	if err != nil {
		c.fatalf("Refresh: %v", err)
	}
	return r
}

type refreshFunc = func(context.Context, tokenclient.Record) (*tokenclient.Token, error)

func returns(t *tokenclient.Token, err error) refreshFunc {
	return func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return t, err }
}

// mustNot is a fn that must not be called.
func (c *check) mustNot(why string) refreshFunc {
	return func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		c.errorf("fn was called although %s", why)
		return nil, tokenclient.ErrNotPresented
	}
}

// wantLoad checks what is stored.
func (c *check) wantLoad(want tokenclient.Record) {
	c.t.Helper()
	got, err := c.store.Load(c.ctx(), key)
	if want.State != tokenclient.Active {
		if !errors.Is(err, tokenclient.ErrNoToken) || got.State != want.State {
			c.errorf("Load: state %v, error %v; want %v and ErrNoToken", got.State, err, want.State)
		}
		return
	}
	if err != nil {
		c.errorf("Load: %v", err)
		return
	}
	c.wantRecord("Load", got, want)
}

// wantRecord compares all but Announced.
func (c *check) wantRecord(what string, got, want tokenclient.Record) {
	c.t.Helper()
	if got.State != want.State || got.Era != want.Era || got.Number != want.Number {
		c.errorf("%s: %v, number %d, era %x; want %v, number %d, era %x",
			what, got.State, got.Number, got.Era, want.State, want.Number, want.Era)
	}
	if !same(got.Token, want.Token) {
		c.errorf("%s: another token than expected", what)
	}
}

// same compares tokens; times are the same if they are the same instant.
func same(a, b *tokenclient.Token) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a.Clone(), *b.Clone()
	times := x.Expiry.Equal(y.Expiry) && x.RefreshExpiry.Equal(y.RefreshExpiry) && x.Issued.Equal(y.Issued)
	x.Expiry, x.RefreshExpiry, x.Issued = y.Expiry, y.RefreshExpiry, y.Issued
	return times && reflect.DeepEqual(x, y)
}
