package storetest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// concurrentRows are the expectations that two callers at a time can see.
var concurrentRows = []row{
	{"one fn for many goroutines", "each further presentation of a refresh token may end the session", func(c *check) {
		seen := c.login("1")
		var calls atomic.Int32
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				r, err := c.store.Refresh(c.ctx(), key, seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
					calls.Add(1)
					runtime.Gosched()
					return token("2"), nil
				})
				if err != nil || r.Number != 2 || !same(r.Token, token("2")) {
					c.errorf("Refresh: number %d, error %v; want 2", r.Number, err)
				}
			})
		}
		wg.Wait()
		if n := calls.Load(); n != 1 {
			c.errorf("fn was called %d times, want once", n)
		}
	}},
	{"another key does not wait", "one user's slow server would hold up everybody", func(c *check) {
		seen := c.login("1")
		_, err := c.store.Refresh(c.ctx(), key, seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
			ctx, cancel := context.WithTimeout(c.ctx(), timeout/2)
			defer cancel()
			now, _, err := c.store.Replace(ctx, "bob", token("b"))
			if err == nil {
				_, err = c.store.Refresh(ctx, "bob", now, timeout, returns(token("b2"), nil))
			}
			if err != nil {
				c.errorf("refresh of another key meanwhile: %v", err)
			}
			return token("2"), nil
		})
		if err != nil {
			c.errorf("Refresh: %v", err)
		}
	}},
	{"a waiter leaves with its context", "a request with a deadline would miss it", func(c *check) {
		seen := c.login("1")
		c.wantRefresh(seen, func() {
			ctx, cancel := context.WithTimeout(c.ctx(), 50*time.Millisecond)
			defer cancel()
			_, err := c.store.Refresh(ctx, key, seen, timeout, c.mustNot("another holds the key"))
			if !errors.Is(err, context.DeadlineExceeded) {
				c.errorf("Refresh of a waiter: %v; want context.DeadlineExceeded", err)
			}
		})
	}},
	{"Load does not wait", "status and early refreshes would hang behind a slow server", func(c *check) {
		seen := c.login("1")
		c.wantRefresh(seen, func() { c.wantLoad(seen) })
	}},
	{"a context that has ended", "a call that nobody waits for would spend the token", func(c *check) {
		seen := c.login("1")
		ctx, cancel := context.WithCancel(c.ctx())
		cancel()
		if _, err := c.store.Refresh(ctx, key, seen, timeout, c.mustNot("the context has ended")); !errors.Is(err, context.Canceled) {
			c.errorf("Refresh: %v; want context.Canceled", err)
		}
		if r, _ := c.store.Load(c.ctx(), key); r.Announced != 0 {
			c.errorf("announced %d; want 0", r.Announced)
		}
		c.wantLoad(c.refresh(seen, "2"))
	}},
	{"a context that ends during fn", "the new pair would be thrown away, and the old one is spent", func(c *check) {
		seen := c.login("1")
		ctx, cancel := context.WithCancel(c.ctx())
		defer cancel()
		r, err := c.store.Refresh(ctx, key, seen, timeout, func(fnCtx context.Context, _ tokenclient.Record) (*tokenclient.Token, error) {
			cancel()
			if fnCtx.Err() != nil {
				c.errorf("fn's context ended with the caller's")
			}
			return token("2"), nil
		})
		if err != nil || r.Number != 2 {
			c.errorf("Refresh: number %d, error %v; want 2", r.Number, err)
		}
		c.wantLoad(r)
	}},
	{"fn's context", "a call without a deadline holds the key for ever", func(c *check) {
		seen := c.login("1")
		type name struct{}
		ctx := context.WithValue(c.ctx(), name{}, "value")
		_, err := c.store.Refresh(ctx, key, seen, timeout, func(fnCtx context.Context, _ tokenclient.Record) (*tokenclient.Token, error) {
			if at, ok := fnCtx.Deadline(); !ok || time.Until(at) > timeout {
				c.errorf("deadline %v, %t; want one within %v", at, ok, timeout)
			}
			if fnCtx.Value(name{}) != "value" {
				c.errorf("the caller's values are missing")
			}
			return token("2"), nil
		})
		if err != nil {
			c.errorf("Refresh: %v", err)
		}
		_, err = c.store.Refresh(ctx, key, c.login("3"), 50*time.Millisecond, func(fnCtx context.Context, _ tokenclient.Record) (*tokenclient.Token, error) {
			<-fnCtx.Done()
			return nil, fnCtx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			c.errorf("Refresh: %v; want context.DeadlineExceeded", err)
		}
	}},
	{"re-entrance", "a refresher that calls back would wait for itself", func(c *check) {
		seen := c.login("1")
		r, err := c.store.Refresh(c.ctx(), key, seen, timeout, func(fnCtx context.Context, _ tokenclient.Record) (*tokenclient.Token, error) {
			ctx, cancel := context.WithTimeout(fnCtx, time.Second)
			defer cancel()
			if _, err := c.store.Refresh(ctx, key, seen, timeout, c.mustNot("it is inside itself")); !errors.Is(err, tokenclient.ErrReentrant) {
				c.errorf("Refresh in fn: %v; want ErrReentrant", err)
			}
			return token("2"), nil
		})
		if err != nil {
			c.errorf("Refresh: %v", err)
		}
		c.wantLoad(r)
	}},
	{"a panic and a Goexit in fn", "the process would end, or wait for ever", func(c *check) {
		seen := c.login("1")
		for name, crash := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
			_, err := c.store.Refresh(c.ctx(), key, seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				crash()
				return nil, nil
			})
			if err == nil {
				c.errorf("%s: no error", name)
			}
		}
		if r, err := c.store.Load(c.ctx(), key); err != nil || r.Announced != 2 {
			c.errorf("announced %d, error %v; want 2: both may have spent the token", r.Announced, err)
		}
		c.wantLoad(c.refresh(seen, "2"))
	}},
	{"logout during fn", "the session that the user ended would come back", func(c *check) {
		seen := c.login("1")
		r, err := c.during(seen, func() {
			if _, was, err := c.store.Replace(c.ctx(), key, nil); err != nil {
				c.errorf("Replace: %v", err)
			} else {
				c.wantRecord("was", was, seen)
			}
		}, token("2"), nil)
		if !errors.Is(err, tokenclient.ErrReplaced) || r.State != tokenclient.LoggedOut {
			c.errorf("Refresh: %v, error %v; want logged out and ErrReplaced", r.State, err)
		}
		c.wantLoad(tokenclient.Record{State: tokenclient.LoggedOut})
	}},
	{"login during fn", "the new user would be overwritten by the old one", func(c *check) {
		seen := c.login("1")
		var second tokenclient.Record
		r, err := c.during(seen, func() { second = c.login("other") }, token("2"), nil)
		if !errors.Is(err, tokenclient.ErrReplaced) {
			c.errorf("Refresh: %v; want ErrReplaced", err)
		}
		c.wantRecord("Refresh", r, second)
		c.wantLoad(second)
	}},
	{"logout during a fn that is refused", "a tombstone of the refused token would hide the logout", func(c *check) {
		seen := c.login("1")
		_, err := c.during(seen, func() {
			if _, _, err := c.store.Replace(c.ctx(), key, nil); err != nil {
				c.errorf("Replace: %v", err)
			}
		}, nil, tokenclient.ErrRefused)
		if err == nil {
			c.errorf("Refresh: no error")
		}
		c.wantLoad(tokenclient.Record{State: tokenclient.LoggedOut})
	}},
	{"login during a fn that is refused", "the loser would delete the winner's pair", func(c *check) {
		seen := c.login("1")
		var second tokenclient.Record
		r, err := c.during(seen, func() { second = c.login("other") }, nil, tokenclient.ErrRefused)
		if err != nil {
			c.errorf("Refresh: %v; want the new login", err)
		}
		c.wantRecord("Refresh", r, second)
		c.wantLoad(second)
	}},
}

// wantRefresh calls meanwhile while fn runs, which must not matter to the refresh.
func (c *check) wantRefresh(seen tokenclient.Record, meanwhile func()) {
	c.t.Helper()
	r, err := c.during(seen, meanwhile, token("2"), nil)
	if err != nil {
		c.errorf("Refresh: %v", err)
	}
	want := tokenclient.Record{State: tokenclient.Active, Era: seen.Era, Number: 2, Token: token("2")}
	c.wantRecord("Refresh", r, want)
	c.wantLoad(want)
}

// during calls meanwhile while fn runs, which then returns t and err.
func (c *check) during(seen tokenclient.Record, meanwhile func(), t *tokenclient.Token, err error) (tokenclient.Record, error) {
	c.t.Helper()
	return c.store.Refresh(c.ctx(), key, seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		meanwhile()
		return t, err
	})
}
