package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/recordtest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

var (
	tok        = recordtest.Token
	next       = recordtest.Next
	never      = recordtest.Never
	login      = recordtest.Login
	wantToken  = recordtest.WantToken
	wantStored = recordtest.WantStored
	wantErr    = recordtest.WantErr
)

func TestMemoryLife(t *testing.T) {
	ctx := t.Context()
	var m store.Memory
	rec, err := m.Load(ctx, "k")
	wantErr(t, err, tokenclient.ErrNoToken)
	if rec != (tokenclient.Record{}) {
		t.Errorf("absent record: %v", rec)
	}
	in := login(t, &m, "k", "a")
	wantToken(t, in, "refresh-a", 1)
	rec, err = m.Refresh(ctx, "k", in, time.Second, next)
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a'", 2)
	if rec.Era != in.Era {
		t.Error("a refresh began an era")
	}
	wantStored(t, &m, "k", "refresh-a'", 2)
	out, was, err := m.Replace(ctx, "k", nil)
	if err != nil || out.State != tokenclient.LoggedOut || out.Era == in.Era {
		t.Fatalf("logout: %v, %v", out, err)
	}
	wantToken(t, was, "refresh-a'", 2)
	rec, err = m.Load(ctx, "k")
	wantErr(t, err, tokenclient.ErrNoToken)
	if rec != out {
		t.Errorf("after logout %v is stored, not %v", rec, out)
	}
	wantErr(t, func() error { _, err := m.Load(ctx, "other"); return err }(), tokenclient.ErrNoToken)
}

func TestMemorySharesNoToken(t *testing.T) {
	ctx := t.Context()
	var m store.Memory
	mine := tok("a")
	mine.Extra = map[string]any{"id": "1"}
	now, _, err := m.Replace(ctx, "k", mine)
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(t *tokenclient.Token) { t.RefreshToken, t.Extra["id"] = "spoilt", "spoilt" }
	spoil(mine)
	spoil(now.Token)
	rec, err := m.Load(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	spoil(rec.Token)
	var made *tokenclient.Token
	rec, err = m.Refresh(ctx, "k", rec, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		wantToken(t, cur, "refresh-a", 1)
		made, err = next(ctx, cur)
		spoil(cur.Token)
		return made, err
	})
	if err != nil {
		t.Fatal(err)
	}
	spoil(made)
	wantToken(t, rec, "refresh-a'", 2)
	spoil(rec.Token)
	rec, err = m.Load(ctx, "k")
	if err != nil || rec.Token.Extra["id"] != "1" {
		t.Fatalf("%v, %v", rec.Token.Extra, err)
	}
	wantToken(t, rec, "refresh-a'", 2)
}

// TestMemoryConcurrentSafe: a thousand goroutines see the same token expire, one
// exchanges it.
func TestMemoryConcurrentSafe(t *testing.T) {
	var m store.Memory
	seen := login(t, &m, "k", "a")
	for round := range 3 {
		var calls atomic.Int32
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				rec, err := m.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
					calls.Add(1)
					return next(ctx, cur)
				})
				if err != nil || rec.Number != uint64(round)+2 {
					t.Errorf("number %d, %v", rec.Number, err)
				}
			})
		}
		wg.Wait()
		if n := calls.Load(); n != 1 {
			t.Fatalf("%d calls", n)
		}
		seen, _ = m.Load(t.Context(), "k")
	}
}

func TestMemoryInSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m store.Memory
		seen := login(t, &m, "k", "a")
		started := time.Now()
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Minute)
				defer cancel()
				_, err := m.Refresh(ctx, "k", seen, time.Hour, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
					<-time.After(10*time.Minute + time.Second)
					return next(ctx, cur)
				})
				if err != nil && i >= 11 {
					t.Errorf("%d: %v", i, err)
				}
				if err != nil && (!errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, tokenclient.ErrStoreUnavailable)) {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(started); d != 10*time.Minute+time.Second {
			t.Errorf("took %v", d)
		}
		wantStored(t, &m, "k", "refresh-a'", 2)
	})
}

func TestMemoryManyKeys(t *testing.T) {
	var m store.Memory
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			key := fmt.Sprint(i)
			seen := login(t, &m, key, key)
			rec, err := m.Refresh(t.Context(), key, seen, time.Minute, next)
			if err != nil || rec.Token.RefreshToken != "refresh-"+key+"'" {
				t.Errorf("%s: %v, %v", key, rec, err)
			}
		})
	}
	wg.Wait()
}

func TestMemoryContextEnds(t *testing.T) {
	var m store.Memory
	seen := login(t, &m, "k", "a")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, loadErr := m.Load(ended, "k")
	_, _, logoutErr := m.Replace(ended, "k", nil)
	_, refreshErr := m.Refresh(ended, "k", seen, time.Second, never(t))
	for _, err := range []error{loadErr, logoutErr, refreshErr} {
		wantErr(t, err, context.Canceled)
		wantErr(t, err, tokenclient.ErrStoreUnavailable)
	}
	wantStored(t, &m, "k", "refresh-a", 1)
}
