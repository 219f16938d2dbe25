package behaviour_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// heapDownTo collects garbage until no more than limit is in use, and gives up in the end:
// what has a cleanup goes later than the rest. It returns what is in use.
func heapDownTo(limit int64) int64 {
	var m runtime.MemStats
	for range 1000 {
		runtime.GC()
		if runtime.ReadMemStats(&m); int64(m.HeapAlloc) <= limit {
			break
		}
	}
	return int64(m.HeapAlloc)
}

// TestPoolLongKeys: whoever chooses keys without being logged in cannot fill the memory with
// them, whether Config refuses them or the Store does not know them.
func TestPoolLongKeys(t *testing.T) {
	const strangers, length = 500, 64 << 10
	for name, known := range map[string]bool{"refused by Config": false, "without a token": true} {
		t.Run(name, func(t *testing.T) {
			p := sessiontest.NewPool(t, tokenclient.PoolConfig{
				Store: new(sessiontest.PoolStore),
				Config: func(context.Context, string) (tokenclient.Config, error) {
					if !known {
						return tokenclient.Config{}, tokenclient.ErrLoginRequired
					}
					return goodConfig(), nil
				},
			}, nil)
			client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
			before := heapDownTo(math.MaxInt64)
			for i := range strangers {
				err := sessiontest.Ask(t.Context(), client, fmt.Sprint(i, strings.Repeat("x", length)))
				if !strings.HasSuffix(fmt.Sprint(err), "login required") {
					t.Fatalf("%.200v", err)
				}
			}
			if now := heapDownTo(before + strangers*length/4); now > before+strangers*length/4 {
				t.Errorf("%d MiB more after keys of %d MiB", (now-before)>>20, strangers*length>>20)
			}
			if n := p.Stats().Empty; n != 0 {
				t.Errorf("%d keys are remembered", n)
			}
		})
	}
}

// TestPoolLongKeyWorks: the length of a key makes no other difference.
func TestPoolLongKeyWorks(t *testing.T) {
	for _, length := range []int{512, 513, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			key := strings.Repeat("x", length)
			p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: new(sessiontest.PoolStore)}, func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				return fresh(old), nil
			})
			client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
			sessiontest.WantErr(t, "before the login", sessiontest.Ask(t.Context(), client, key), tokenclient.ErrLoginRequired)
			s := sessionOf(t, p, key)
			if sessionOf(t, p, key) != s {
				t.Fatal("two sessions for one key")
			}
			if err := s.SetToken(t.Context(), expired("alice")); err != nil {
				t.Fatal(err)
			}
			if sessionOf(t, p, key) != s {
				t.Fatal("two sessions for one key, after a login")
			}
			for range 3 {
				if err := sessiontest.Ask(t.Context(), client, key); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Hour)
			}
			if n := p.Stats().Live + p.Stats().Empty; n > 1 {
				t.Errorf("%d keys are remembered", n)
			}
			if err := p.Logout(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			sessiontest.WantErr(t, "after the logout", sessiontest.Ask(t.Context(), client, key), tokenclient.ErrLoginRequired)
			runtime.KeepAlive(s)
		})
	}
}
