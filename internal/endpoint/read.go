package endpoint

import (
	"bytes"
	"cmp"
	"errors"
	"strings"
	"time"
)

// Names are the names of an answer's members; "" is that of RFC 6749, section 5.1. A dot
// goes into an object.
type Names struct {
	AccessToken, RefreshToken, TokenType, ExpiresIn, RefreshExpiresIn string

	// ExpiresAt and RefreshExpiresAt hold times. Standards have no such names.
	ExpiresAt, RefreshExpiresAt string
}

// Tokens are what an answer brought.
type Tokens struct {
	Access, Refresh, Type, Scope string
	Expiry, RefreshExpiry        time.Time // zero: unknown
	Extra                        Members   // what is left; nil: nothing
}

// The names that members have beside those of RFC 6749, folded. Those in weak lists mean
// other things elsewhere.
var (
	accessNames   = []string{"accesstoken"}
	weakAccess    = []string{"access", "token", "authtoken", "jwt"}
	refreshNames  = []string{"refreshtoken"}
	weakRefresh   = []string{"refresh"}
	typeNames     = []string{"tokentype"}
	scopeNames    = []string{"scope"}
	lifetimeNames = []string{"expiresin", "accesstokenexpiresin", "expirein", "ttl", "lifetime"}
	expiryNames   = []string{
		"expiresat", "accesstokenexpiresat", "expireson", "expires", "expiration", "expirationtime", "expiry", "expirydate",
		"expireat", "expiretime", "validuntil", "exp",
	}

	refreshLifetimeNames = []string{"refreshexpiresin", "refreshtokenexpiresin", "xrefreshtokenexpiresin"}
	refreshExpiryNames   = []string{"refreshexpiresat", "refreshtokenexpiresat", "refreshtokenexpires", "refreshexpires"}

	// wrappers are the objects in which an answer may lie whole.
	wrappers = []string{"data", "result", "results", "body", "response", "payload", "content", "tokens", "token", "auth", "session"}
)

// maxDepth is how many objects an access token may lie in.
const maxDepth = 3

// Read reads the answer with which an endpoint issues tokens. c says when it was.
//
// The access token is what the name says. If nothing is there, it is the member whose name
// is access_token in any spelling (accessToken, Access-Token), of the answer or else of any
// object in it, at most three deep. If nothing is there either, and n does not say a name,
// it is the member access, token, auth_token or jwt of the answer, or of an object that
// wraps it. No two values may be in question, and of an answer with an error in it only
// what wraps it is looked into, for an access_token. All else is looked for beside the
// access token, and then in the objects that this lies in, but for those with another
// access token.
//
// Nothing but the lack of an access token is an error. "null", "false", "expired" and the like
// are no tokens.
func Read(body []byte, n Names, c Clock) (*Tokens, error) {
	d := read(body)
	var why error
	for _, m := range d.objects {
		t, err := n.tokens(m, c)
		if err == nil {
			return t, nil
		}
		why = cmp.Or(why, err)
	}
	if d.part != nil {
		// What was cut off may have been a refresh token; to go on with the spent one would
		// lose the session as well, but later, when the server may have forgotten its grace.
		t, err := n.tokens(d.part, c)
		mayLack := !errors.Is(d.err, errInvalid) || strings.Contains(fold(string(bytes.ToLower(d.rest))), "refresh")
		if err == nil && (t.Refresh != "" || !mayLack) {
			return t, nil
		}
	}
	return nil, cmp.Or(d.err, why, errNoJSON)
}

// tokens reads m, of which it takes what it reads.
func (n Names) tokens(m Members, c Clock) (*Tokens, error) {
	t := new(Tokens)
	home, err := n.access(m, t)
	if err != nil {
		return nil, err
	}
	home = home.own()
	refresh := n.refresh(m, home, t)
	for _, p := range places(m, home, n.TokenType, typeNames) {
		t.Type = typeText(p.path[0].Members[p.name])
		if p.path.take(p.name); t.Type != "" {
			break
		}
	}
	for _, p := range places(m, home, "", scopeNames) {
		var ok bool
		if t.Scope, ok = scopeText(p.path[0].Members[p.name]); ok {
			p.path.take(p.name)
			break
		}
	}
	in, at := places(m, home, n.ExpiresIn, lifetimeNames), places(m, home, n.ExpiresAt, expiryNames)
	if d := c.take(in, at, jwtLifetime(t.Access)); d > 0 {
		t.Expiry = Expiry(c.Sent, d)
	} else {
		t.Expiry, _ = JWTExpiry(t.Access, c.Sent)
	}
	in, at = places(m, home, n.RefreshExpiresIn, refreshLifetimeNames), places(m, home, n.RefreshExpiresAt, refreshExpiryNames)
	d := c.take(in, at, 0)
	if d == 0 && refresh != nil {
		d = c.take(places(m, refresh[:1], "", lifetimeNames), places(m, refresh[:1], "", expiryNames), 0)
		refresh.take("") // the object, if it is empty now
	}
	t.RefreshExpiry = Expiry(c.Sent, d)
	if len(m) > 0 {
		t.Extra = m
	}
	return t, nil
}

// take takes the member that says when a token ends, and returns how long that is from when
// it was issued; 0 if none makes sense. in are where a lifetime may be, and at where a time;
// jwt is what the token says itself.
func (c Clock) take(in, at []place, jwt time.Duration) time.Duration {
	for _, p := range in {
		d := c.lifetime(p.path[0].Members[p.name], jwt)
		p.path.take(p.name)
		if d > 0 {
			return d
		}
	}
	for _, p := range at {
		if d := c.lifetime(p.path[0].Members[p.name], jwt); d > 0 {
			p.path.take(p.name)
			return d
		}
	}
	return 0
}
