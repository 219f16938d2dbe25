package recordtest_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/recordtest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// inner is a test within the test, which may fail.
type inner struct {
	testing.TB
	failed bool
}

func (*inner) Helper()        {}
func (i *inner) Error(...any) { i.failed = true }
func (i *inner) Fatalf(string, ...any) {
	i.failed = true
	runtime.Goexit()
}

func fails(test func(testing.TB)) bool {
	i := &inner{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(i)
	}()
	<-done
	return i.failed
}

// stored is a store that holds one record.
type stored struct {
	tokenclient.Store
	rec tokenclient.Record
	err error
}

func (s stored) Load(context.Context, string) (tokenclient.Record, error) { return s.rec, s.err }

// TestWants: each check fails for what is wrong, and for nothing else.
func TestWants(t *testing.T) {
	good := tokenclient.Record{State: tokenclient.Active, Number: 2, Token: recordtest.Token("a")}
	other, none, ended := good, good, good
	other.Token, none.Token, ended.State = recordtest.Token("b"), nil, tokenclient.Refused
	for _, c := range []struct {
		rec    tokenclient.Record
		number uint64
		err    error
		fails  bool
	}{
		{good, 2, nil, false}, {good, 3, nil, true}, {other, 2, nil, true}, {none, 2, nil, true}, {ended, 2, nil, true},
		{good, 2, tokenclient.ErrNoToken, true},
	} {
		if got := fails(func(tb testing.TB) {
			recordtest.WantStored(tb, stored{rec: c.rec, err: c.err}, "k", "refresh-a", c.number)
		}); got != c.fails {
			t.Errorf("number %d of %+v, %v: failed %t", c.number, c.rec, c.err, got)
		}
	}
	wrapped := errors.Join(tokenclient.ErrNoToken)
	if fails(func(tb testing.TB) { recordtest.WantErr(tb, wrapped, tokenclient.ErrNoToken) }) ||
		!fails(func(tb testing.TB) { recordtest.WantErr(tb, wrapped, tokenclient.ErrRefused) }) {
		t.Error("WantErr")
	}
}

func TestFunctions(t *testing.T) {
	rec := tokenclient.Record{Token: recordtest.Token("a")}
	next, err := recordtest.Next(t.Context(), rec)
	if err != nil || next.RefreshToken != "refresh-a'" || rec.Token.RefreshToken != "refresh-a" {
		t.Errorf("Next: %q of %q, %v", next.RefreshToken, rec.Token.RefreshToken, err)
	}
	if !fails(func(tb testing.TB) { _, _ = recordtest.Never(tb)(t.Context(), rec) }) {
		t.Error("Never may be called")
	}
}
