package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

var errCut = errors.New("storetest: the answer was lost")

// rows are the expectations that one caller at a time can see; saveRows, concurrentRows
// and processRows have the others.
var rows = slices.Concat([]row{
	{"absent is ErrNoToken", "a first run must be told to log in, and nothing else may be mistaken for it", func(c *check) {
		c.wantLoad(tokenclient.Record{State: tokenclient.Absent})
		r, err := c.store.Refresh(c.ctx(), key, tokenclient.Record{}, timeout, c.mustNot("nothing is stored"))
		if !errors.Is(err, tokenclient.ErrNoToken) || r.State != tokenclient.Absent {
			c.errorf("Refresh: state %v, error %v; want absent and ErrNoToken", r.State, err)
		}
	}},
	{"login is stored whole", "what is left out is gone after a restart", func(c *check) {
		now, was, err := c.store.Replace(c.ctx(), key, token("1"))
		if err != nil || was.State != tokenclient.Absent || was.Token != nil {
			c.fatalf("Replace: was %v, error %v; want absent", was.State, err)
		}
		if now.Era == [16]byte{} || now.Number != 1 {
			c.errorf("number %d, era %x; want 1 and an era", now.Number, now.Era)
		}
		c.wantRecord("Replace", now, tokenclient.Record{State: tokenclient.Active, Era: now.Era, Number: 1, Token: token("1")})
		c.wantLoad(now)
	}},
	{"tokens are kept to the letter", "a token that comes back changed is refused, and the session with it", func(c *check) {
		for name, t := range map[string]*tokenclient.Token{
			"access token only": {AccessToken: "a"},
			"64 KiB":            {AccessToken: strings.Repeat("a", 64<<10), RefreshToken: strings.Repeat("r", 64<<10)},
			"all of ASCII":      {AccessToken: ascii(), RefreshToken: ascii()},
			"binding":           {AccessToken: "a", RefreshToken: "r", TokenType: "DPoP", Binding: strings.Repeat("key:", 100)},
			"audiences":         {AccessToken: "a", RefreshToken: "r", Audiences: map[string]tokenclient.AudienceToken{"mail": {Token: &tokenclient.Token{AccessToken: "m", Expiry: time.Unix(1e9, 0).UTC()}, Number: 7}}},
			"nested extra":      {AccessToken: "a", Extra: map[string]any{"o": map[string]any{"list": []any{"x", json.Number("9007199254740993")}, "n": nil, "b": true}}},
		} {
			if _, _, err := c.store.Replace(c.ctx(), key, t); err != nil {
				c.fatalf("%s: Replace: %v", name, err)
			}
			if got, err := c.store.Load(c.ctx(), key); err != nil || !same(got.Token, t) {
				c.errorf("%s: another token came back, error %v", name, err)
			}
		}
	}},
	{"tokens are copied", "a caller that changes its token would change what everybody else gets", func(c *check) {
		mine := token("1")
		now, _, err := c.store.Replace(c.ctx(), key, mine)
		if err != nil {
			c.fatalf("Replace: %v", err)
		}
		spoil(mine)
		spoil(now.Token)
		got, err := c.store.Load(c.ctx(), key)
		if err != nil || !same(got.Token, token("1")) {
			c.fatalf("the stored token changed with the caller's, error %v", err)
		}
		spoil(got.Token)
		mine = token("2")
		r, err := c.store.Refresh(c.ctx(), key, now, timeout, returns(mine, nil))
		if err != nil {
			c.fatalf("Refresh: %v", err)
		}
		spoil(mine)
		spoil(r.Token)
		if got, err = c.store.Load(c.ctx(), key); err != nil || !same(got.Token, token("2")) {
			c.errorf("the refreshed token changed with the caller's, error %v", err)
		}
	}},
	{"each login begins an era", "a refresh of the old login would overwrite the new one", func(c *check) {
		first := c.login("1")
		now, was, err := c.store.Replace(c.ctx(), key, token("2"))
		if err != nil || now.Era == first.Era || now.Number != 1 {
			c.errorf("second login: number %d, same era %t, error %v", now.Number, now.Era == first.Era, err)
		}
		c.wantRecord("was", was, first)
		c.wantLoad(now)
	}},
	{"logout leaves a tombstone", "a store that deletes cannot tell a logout from a login that never was, and an old write brings the session back", func(c *check) {
		first := c.login("1")
		now, was, err := c.store.Replace(c.ctx(), key, nil)
		if err != nil || now.State != tokenclient.LoggedOut || now.Era == first.Era || now.Era == [16]byte{} || now.Token != nil {
			c.errorf("logout: %v, same era %t, error %v", now.State, now.Era == first.Era, err)
		}
		c.wantRecord("was", was, first)
		c.wantLoad(now)
		r, err := c.store.Refresh(c.ctx(), key, first, timeout, c.mustNot("it is logged out"))
		if !errors.Is(err, tokenclient.ErrNoToken) || r.State != tokenclient.LoggedOut {
			c.errorf("Refresh: %v, error %v; want logged out and ErrNoToken", r.State, err)
		}
		c.wantLoad(c.login("2"))
	}},
	{"logout before any login", "Logout must work in every state", func(c *check) {
		now, was, err := c.store.Replace(c.ctx(), key, nil)
		if err != nil || now.State != tokenclient.LoggedOut || was.State != tokenclient.Absent {
			c.errorf("now %v, was %v, error %v", now.State, was.State, err)
		}
	}},
	{"refresh saves the next number", "without numbers nobody can tell the newer of two tokens", func(c *check) {
		seen := c.login("1")
		for n := 2; n <= 4; n++ {
			text := fmt.Sprint(n)
			r := c.refresh(seen, text)
			want := tokenclient.Record{State: tokenclient.Active, Era: seen.Era, Number: uint64(n), Token: token(text)}
			c.wantRecord("Refresh", r, want)
			c.wantLoad(want)
			seen = r
		}
	}},
	{"fn gets the stored token, announced", "whoever finds the record after a crash must know that the token may be spent", func(c *check) {
		seen := c.login("1")
		seen.Token = token("made up") // the store's counts
		_, err := c.store.Refresh(c.ctx(), key, seen, timeout, func(_ context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
			c.wantRecord("fn", r, tokenclient.Record{State: tokenclient.Active, Era: seen.Era, Number: 1, Token: token("1")})
			stored, err := c.store.Load(c.ctx(), key)
			if err != nil || r.Announced != 1 || stored.Announced != 1 {
				c.errorf("in fn: announced %d, stored %d, error %v; want 1 and 1", r.Announced, stored.Announced, err)
			}
			return token("2"), nil
		})
		if err != nil {
			c.errorf("Refresh: %v", err)
		}
		if r, err := c.store.Load(c.ctx(), key); err != nil || r.Announced != 0 {
			c.errorf("after a refresh: announced %d, error %v; want 0", r.Announced, err)
		}
	}},
	{"a newer record is returned without fn", "the refresh token that the caller saw is spent", func(c *check) {
		first := c.login("1")
		second := c.refresh(first, "2")
		r, err := c.store.Refresh(c.ctx(), key, first, timeout, c.mustNot("another refreshed"))
		if err != nil {
			c.errorf("Refresh: %v", err)
		}
		c.wantRecord("Refresh after a refresh", r, second)
		third := c.login("3")
		r, err = c.store.Refresh(c.ctx(), key, second, timeout, c.mustNot("another logged in"))
		if err != nil {
			c.errorf("Refresh: %v", err)
		}
		c.wantRecord("Refresh after a login", r, third)
	}},
	{"a failed fn changes nothing", "a refresh token that is good would be lost to a hiccup", func(c *check) {
		seen := c.login("1")
		for _, tc := range []struct {
			err   error
			spent bool
		}{
			{fmt.Errorf("dial: %w", tokenclient.ErrNotPresented), false},
			{&tokenclient.TokenError{StatusCode: 400, Code: "invalid_client"}, false},
			{&tokenclient.TokenError{StatusCode: 429}, false},
			{&tokenclient.TokenError{StatusCode: 408}, true},
			{&tokenclient.TokenError{StatusCode: 502}, true},
			{errCut, true},
		} {
			before, _ := c.store.Load(c.ctx(), key)
			_, err := c.store.Refresh(c.ctx(), key, seen, timeout, returns(nil, tc.err))
			if !errors.Is(err, tc.err) {
				c.errorf("Refresh: %v; want fn's error %v", err, tc.err)
			}
			c.wantLoad(seen)
			after, _ := c.store.Load(c.ctx(), key)
			want := before.Announced
			if tc.spent {
				want++
			}
			if after.Announced != want {
				c.errorf("after %v: announced %d; want %d", tc.err, after.Announced, want)
			}
		}
		c.wantLoad(c.refresh(seen, "2"))
	}},
	{"a refused token becomes a tombstone", "it would be presented again, by this process or the next", func(c *check) {
		seen := c.login("1")
		cause := &tokenclient.TokenError{StatusCode: 400, Code: "invalid_grant", Err: tokenclient.ErrRefused}
		r, err := c.store.Refresh(c.ctx(), key, seen, timeout, returns(nil, cause))
		if !errors.Is(err, tokenclient.ErrRefused) || r.State != tokenclient.Refused {
			c.errorf("Refresh: %v, error %v; want refused and ErrRefused", r.State, err)
		}
		c.wantLoad(tokenclient.Record{State: tokenclient.Refused})
		if _, err = c.store.Refresh(c.ctx(), key, seen, timeout, c.mustNot("the token was refused")); !errors.Is(err, tokenclient.ErrNoToken) {
			c.errorf("Refresh: %v; want ErrNoToken", err)
		}
		c.wantLoad(c.login("2"))
	}},
	{"a store that went back is mended", "a restored backup holds a spent token, and the caller the only good one", func(c *check) {
		seen := c.login("1")
		seen.Number, seen.Token = 7, token("7")
		r, err := c.store.Refresh(c.ctx(), key, seen, timeout, func(_ context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
			c.wantRecord("fn", r, seen)
			return token("8"), nil
		})
		if err != nil || r.Number != 8 {
			c.errorf("Refresh: number %d, error %v; want 8", r.Number, err)
		}
		c.wantLoad(r)
	}},
	{"keys are any strings, and apart", "one user would get another's token", func(c *check) {
		keys := []string{
			"alice", "Alice", "alice ", " alice", "alice/bob", "alice\\bob", "../alice", ".", "..", "a\x00b", "a\nb",
			"CON", strings.Repeat("ä", 512), strings.Repeat("ä", 512) + "x", "\xff\xfe", "alice.token", "*", "a%2Fb",
		}
		for _, k := range keys {
			if _, _, err := c.store.Replace(c.ctx(), k, &tokenclient.Token{AccessToken: "of " + fmt.Sprintf("%q", k)}); err != nil {
				c.errorf("Replace of key %q: %v", k, err)
			}
		}
		for _, k := range keys {
			r, err := c.store.Load(c.ctx(), k)
			if err != nil || r.Token.AccessToken != "of "+fmt.Sprintf("%q", k) {
				c.errorf("Load of key %q: another token, or error %v", k, err)
			}
		}
	}},
	{"two handles are one store", "two processes would each have a token of their own", func(c *check) {
		other := c.open()
		first := c.login("1")
		r, err := other.Load(c.ctx(), key)
		if err != nil {
			c.fatalf("Load: %v", err)
		}
		c.wantRecord("Load of the other handle", r, first)
		second, err := other.Refresh(c.ctx(), key, r, timeout, returns(token("2"), nil))
		if err != nil {
			c.fatalf("Refresh: %v", err)
		}
		c.wantLoad(second)
	}},
}, saveRows, concurrentRows)

// ascii returns all characters that a token may have.
func ascii() string {
	b := make([]byte, 0, 95)
	for ch := byte(' '); ch <= '~'; ch++ {
		b = append(b, ch)
	}
	return string(b)
}

// spoil changes all of t.
func spoil(t *tokenclient.Token) {
	t.AccessToken, t.RefreshToken = "spoiled", "spoiled"
	for name := range t.Extra {
		t.Extra[name] = "spoiled"
	}
}
