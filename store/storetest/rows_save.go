package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// saveRows are the expectations of Save.
var saveRows = []row{
	{"a save is the next number", "a pair that came late exists nowhere else", func(c *check) {
		seen := c.login("1")
		mine := token("2")
		r, err := c.store.Save(c.ctx(), key, seen, mine)
		if err != nil {
			c.fatalf("Save: %v", err)
		}
		want := tokenclient.Record{State: tokenclient.Active, Era: seen.Era, Number: 2, Token: token("2")}
		c.wantRecord("Save", r, want)
		spoil(mine)
		spoil(r.Token)
		c.wantLoad(want)
		want.Number, want.Token = 3, token("3")
		c.wantRecord("Refresh", c.refresh(r, "3"), want)
	}},
	{"a save of what was overtaken", "a newer pair would be overwritten", func(c *check) {
		first := c.login("1")
		second := c.refresh(first, "2")
		c.wantNotSaved(first, token("late"), tokenclient.ErrOvertaken, second)
		c.wantNotSaved(first, renewed(first), tokenclient.ErrOvertaken, second)
	}},
	{"a save of another login", "the new user would be overwritten by the old one", func(c *check) {
		first := c.login("1")
		c.wantNotSaved(first, token("late"), tokenclient.ErrReplaced, c.login("2"))
	}},
	{"a save after a logout", "the session that the user ended would come back", func(c *check) {
		seen := c.login("1")
		now, _, err := c.store.Replace(c.ctx(), key, nil)
		if err != nil {
			c.fatalf("Replace: %v", err)
		}
		c.wantNotSaved(seen, token("late"), tokenclient.ErrNoToken, now)
	}},
	{"a save before any login", "a token of nobody's would be somebody's", func(c *check) {
		c.wantNotSaved(tokenclient.Record{Era: [16]byte{1}, Number: 1}, token("late"), tokenclient.ErrNoToken, tokenclient.Record{})
	}},
	{"a start", "a session that needs no login begins, but never in the place of a login", func(c *check) {
		absent, empty := tokenclient.Record{}, &tokenclient.Token{}
		began, err := c.store.Save(c.ctx(), key, absent, empty)
		if err != nil || began.Number != 1 || began.Era == [16]byte{} {
			c.fatalf("Save of an empty token where there is none: number %d, error %v; want 1", began.Number, err)
		}
		c.wantLoad(tokenclient.Record{State: tokenclient.Active, Era: began.Era, Number: 1, Token: empty})
		c.wantNotSaved(absent, empty, tokenclient.ErrReplaced, began)
		c.wantNotSaved(absent, empty, tokenclient.ErrReplaced, c.login("1"))
		now, _, err := c.store.Replace(c.ctx(), key, nil)
		if err != nil {
			c.fatalf("Replace: %v", err)
		}
		c.wantNotSaved(absent, empty, tokenclient.ErrNoToken, now)
	}},
	{"a save over a refusal", "others are refused because this pair was issued, which is the only one that works", func(c *check) {
		refused := func() (seen, tombstone tokenclient.Record) {
			seen = c.login("1")
			tombstone, err := c.store.Refresh(c.ctx(), key, seen, timeout, returns(nil, tokenclient.ErrRefused))
			if !errors.Is(err, tokenclient.ErrRefused) {
				c.fatalf("Refresh: %v; want ErrRefused", err)
			}
			return seen, tombstone
		}
		seen, _ := refused()
		r, err := c.store.Save(c.ctx(), key, seen, token("late"))
		if err != nil || r.Number != 2 {
			c.errorf("Save: number %d, error %v; want 2", r.Number, err)
		}
		c.wantLoad(tokenclient.Record{State: tokenclient.Active, Era: seen.Era, Number: 2, Token: token("late")})
		seen, tombstone := refused()
		c.wantNotSaved(seen, renewed(seen), tokenclient.ErrNoToken, tombstone)
	}},
	{"a save mends a store that went back", "a restored backup holds a spent token, and the caller the only good one", func(c *check) {
		seen := c.login("1")
		seen.Number, seen.Token = 7, token("7")
		r, err := c.store.Save(c.ctx(), key, seen, token("8"))
		if err != nil || r.Number != 8 {
			c.errorf("Save: number %d, error %v; want 8", r.Number, err)
		}
		c.wantLoad(tokenclient.Record{State: tokenclient.Active, Era: seen.Era, Number: 8, Token: token("8")})
	}},
	{"a save does not wait", "those who hold the key are about to get less than what is at hand", func(c *check) {
		seen := c.login("1")
		r, err := c.during(seen, func() {
			ctx, cancel := context.WithTimeout(c.ctx(), timeout/2)
			defer cancel()
			if r, err := c.store.Save(ctx, key, seen, token("late")); err != nil || r.Number != 2 {
				c.errorf("Save: number %d, error %v; want 2", r.Number, err)
			}
		}, token("2"), nil)
		if !errors.Is(err, tokenclient.ErrOvertaken) {
			c.errorf("Refresh: %v; want ErrOvertaken", err)
		}
		want := tokenclient.Record{State: tokenclient.Active, Era: seen.Era, Number: 2, Token: token("late")}
		c.wantRecord("Refresh", r, want)
		c.wantLoad(want)
	}},
	{"a save hides no announcement", "the new pair that somebody is about to get would find its number taken", func(c *check) {
		seen := c.login("1")
		r, err := c.during(seen, func() {
			c.wantNotSaved(seen, renewed(seen), tokenclient.ErrAnnounced, seen)
		}, token("2"), nil)
		if err != nil || r.Number != 2 {
			c.errorf("Refresh: number %d, error %v; want 2", r.Number, err)
		}
		seen = c.login("3")
		if _, err := c.during(seen, func() {}, nil, errCut); !errors.Is(err, errCut) {
			c.errorf("Refresh: %v; want fn's error", err)
		}
		c.wantNotSaved(seen, renewed(seen), tokenclient.ErrAnnounced, seen)
		if stored, err := c.store.Load(c.ctx(), key); err != nil || stored.Announced != 1 {
			c.errorf("Load: announced %d, error %v; want 1", stored.Announced, err)
		}
		seen.Announced = 1 // this caller knows what came of it
		if r, err = c.store.Save(c.ctx(), key, seen, renewed(seen)); err != nil || r.Number != 2 || r.Announced != 0 {
			c.errorf("Save: number %d, announced %d, error %v; want 2 and 0", r.Number, r.Announced, err)
		}
	}},
	{"one of many saves and refreshes", "two tokens would have the same number, and one of them be lost", func(c *check) {
		seen := c.login("1")
		var won atomic.Int32
		var wg sync.WaitGroup
		try := func(n int, do func(mine *tokenclient.Token) error) {
			wg.Go(func() {
				switch err := do(token(fmt.Sprint("of ", n))); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, tokenclient.ErrOvertaken):
					c.errorf("%v; want ErrOvertaken of those who lose", err)
				}
			})
		}
		for n := range 16 {
			try(n, func(mine *tokenclient.Token) error {
				_, err := c.store.Save(c.ctx(), key, seen, mine)
				return err
			})
			try(100+n, func(mine *tokenclient.Token) error {
				called := false
				_, err := c.store.Refresh(c.ctx(), key, seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
					called = true
					return mine, nil
				})
				if err == nil && !called {
					err = tokenclient.ErrOvertaken
				}
				return err
			})
		}
		wg.Wait()
		if r, err := c.store.Load(c.ctx(), key); err != nil || r.Number != 2 || won.Load() != 1 {
			c.errorf("number %d, error %v, and %d have stored it; want 2 and one", r.Number, err, won.Load())
		}
	}},
}

// renewed is a token that the server sent by itself, with the refresh token that it
// had.
func renewed(r tokenclient.Record) *tokenclient.Token {
	t := token("renewed")
	t.RefreshToken = r.Token.RefreshToken
	return t
}

// wantNotSaved checks that t is not saved, as err says, and that stored is what is
// returned and stays.
func (c *check) wantNotSaved(seen tokenclient.Record, t *tokenclient.Token, want error, stored tokenclient.Record) {
	c.t.Helper()
	r, err := c.store.Save(c.ctx(), key, seen, t)
	if !errors.Is(err, want) {
		c.errorf("Save: %v; want %v", err, want)
	}
	c.wantRecord("Save", r, stored)
	c.wantLoad(stored)
}
