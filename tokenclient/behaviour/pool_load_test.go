package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestPoolConfigOnce: everybody waits for the same call of Config, and one who leaves
// takes nobody along.
func TestPoolConfigOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		p := configuredBy(t, func(ctx context.Context, _ string) (tokenclient.Config, error) {
			calls.Add(1)
			time.Sleep(time.Second)
			return goodConfig(), ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			_, err := p.Session(ctx, "alice")
			left <- err
		}()
		synctest.Wait()
		got := make(chan *tokenclient.Session, 100)
		for range 100 {
			go func() { got <- sessionOf(t, p, "alice") }()
		}
		synctest.Wait()
		cancel()
		sessiontest.WantErr(t, "one who left", <-left, context.Canceled)
		first := <-got
		for range 99 {
			if s := <-got; s != first || s == nil {
				t.Fatal("two sessions of one key")
			}
		}
		if calls.Load() != 1 {
			t.Errorf("Config was called %d times", calls.Load())
		}
		if _, err := p.Session(ctx, "bob"); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: error %v", err)
		}
	})
}

// TestPoolConfigAbandoned: when everybody has left, the context of Config ends, and
// who comes then gets a call of his own.
func TestPoolConfigAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		p := configuredBy(t, func(ctx context.Context, _ string) (tokenclient.Config, error) {
			if calls.Add(1) == 1 {
				<-ctx.Done()
				return tokenclient.Config{}, ctx.Err()
			}
			return goodConfig(), nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Session(ctx, "alice")
		sessiontest.WantErr(t, "the first", err, context.DeadlineExceeded)
		if _, err := p.Session(t.Context(), "alice"); err != nil {
			t.Errorf("the second: %v", err)
		}
	})
}

// TestPoolConfigFails: what Config does wrong is an error that says so, once a second.
func TestPoolConfigFails(t *testing.T) {
	own := errors.New("no such tenant")
	for name, c := range map[string]struct {
		config func() (tokenclient.Config, error)
		text   string
		is     error
	}{
		"error":     {func() (tokenclient.Config, error) { return tokenclient.Config{}, own }, `key "alice"`, own},
		"no user":   {func() (tokenclient.Config, error) { return tokenclient.Config{}, tokenclient.ErrLoginRequired }, `key "alice"`, tokenclient.ErrLoginRequired},
		"panic":     {func() (tokenclient.Config, error) { panic("secret") }, "panicked: a string", nil},
		"nil deref": {func() (tokenclient.Config, error) { var c *tokenclient.Config; return *c, nil }, "nil pointer", nil},
		"Goexit":    {func() (tokenclient.Config, error) { runtime.Goexit(); return goodConfig(), nil }, "Goexit", nil},
		"Store": {func() (tokenclient.Config, error) {
			c := goodConfig()
			c.Store = new(sessiontest.PoolStore)
			return c, nil
		}, "Store or Key", nil},
		"Key": {func() (tokenclient.Config, error) {
			c := goodConfig()
			c.Key = "bob"
			return c, nil
		}, "Store or Key", nil},
		"no Refresher": {func() (tokenclient.Config, error) {
			return tokenclient.Config{Origins: []string{sessiontest.FakeAPI}}, nil
		}, "Config.Refresher is nil", nil},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			var calls atomic.Int32
			var mended atomic.Bool
			p := configuredBy(t, func(context.Context, string) (tokenclient.Config, error) {
				calls.Add(1)
				if mended.Load() {
					return goodConfig(), nil
				}
				return c.config()
			})
			client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
			for range 10 {
				err := sessiontest.Ask(t.Context(), client, "alice")
				if err == nil || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "secret") || c.is != nil && !errors.Is(err, c.is) {
					t.Fatalf("error %v, want one with %q", err, c.text)
				}
			}
			if calls.Load() != 1 {
				t.Errorf("Config was called %d times for 10 requests", calls.Load())
			}
			mended.Store(true)
			time.Sleep(time.Second)
			if err := sessiontest.Ask(t.Context(), client, "alice"); err != nil {
				t.Errorf("a second later: %v", err)
			}
		})
	}
}

// TestPoolConfigReentrant: a Config that waits for its own Pool is told so at once.
func TestPoolConfigReentrant(t *testing.T) {
	for _, key := range []string{"alice", "bob"} {
		synctest.Test(t, func(t *testing.T) {
			var p *tokenclient.Pool
			p = configuredBy(t, func(ctx context.Context, _ string) (tokenclient.Config, error) {
				_, err := p.Session(ctx, key)
				return goodConfig(), err
			})
			_, err := p.Session(t.Context(), "alice")
			sessiontest.WantErr(t, key, err, tokenclient.ErrReentrant)
		})
	}
}

// TestPoolStoreDown: a Store that cannot be read is asked once a second, and keeps
// nobody from getting a session.
func TestPoolStoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &sessiontest.PoolStore{Known: sessiontest.Everybody}
		down.Fail.Store(true)
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: down}, sessiontest.NoRefresh)
		client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
		for range 10 {
			sessiontest.WantErr(t, "a request", sessiontest.Ask(t.Context(), client, "alice"), tokenclient.ErrStoreUnavailable)
		}
		if n := down.Loads.Load(); n != 1 {
			t.Errorf("%d looks for 10 requests", n)
		}
		sessionOf(t, p, "alice")
		down.Fail.Store(false)
		time.Sleep(time.Second)
		if err := sessiontest.Ask(t.Context(), client, "alice"); err != nil {
			t.Error(err)
		}
	})
}

// TestPoolPrints: a Pool shows neither keys nor tokens, whatever the verb.
func TestPoolPrints(t *testing.T) {
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: &sessiontest.PoolStore{Known: sessiontest.Everybody}}, sessiontest.NoRefresh)
	sessionOf(t, p, "alice")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		for _, v := range []any{p, p.Transport(nil), *p.Transport(nil), p.Client()} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, "alice") || strings.Contains(s, "616c696365") {
				t.Errorf("%s of a %T: %s", verb, v, s)
			}
		}
	}
}
