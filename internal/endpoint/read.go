package endpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"
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
	lifetimeNames = []string{"expiresin", "accesstokenexpiresin", "expirein"}
	expiryNames   = []string{"expiresat", "accesstokenexpiresat", "expireson", "expires", "expiration", "expiry", "expireat"}

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
// object in it, at most three deep. If nothing is there either, and n does not say a name, it is the member
// access, token, auth_token or jwt of the answer, or of an object that wraps it. In the
// last two cases the answer must have no error in it, and no two values may be in
// question. All else is looked for beside the access token, and then in the objects that
// this lies in, but for one with another access token of its own.
//
// Nothing but the lack of an access token is an error.
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
		mayLack := d.err != errInvalid || strings.Contains(fold(string(bytes.ToLower(d.rest))), "refresh")
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
	if in, name, ok := find(m, home, n.TokenType, typeNames); ok {
		t.Type = typeText(in[0].Members[name])
		in.take(name)
	}
	if in, name, ok := find(m, home, "", scopeNames); ok {
		if t.Scope, ok = scopeText(in[0].Members[name]); ok {
			in.take(name)
		}
	}
	jwt := jwtLifetime(t.Access)
	if at := n.expiry(m, home, c, jwt, n.ExpiresIn, n.ExpiresAt, lifetimeNames, expiryNames); at > 0 {
		t.Expiry = Expiry(c.Sent, at)
	} else {
		t.Expiry, _ = JWTExpiry(t.Access, c.Sent)
	}
	at := n.expiry(m, home, c, 0, n.RefreshExpiresIn, n.RefreshExpiresAt, refreshLifetimeNames, refreshExpiryNames)
	if at == 0 && refresh != nil {
		at = n.expiry(m, refresh[:1], c, 0, "", "", lifetimeNames, expiryNames)
		refresh.take("")
	}
	t.RefreshExpiry = Expiry(c.Sent, at)
	if len(m) > 0 {
		t.Extra = m
	}
	return t, nil
}

// access takes the access token and returns where it was.
func (n Names) access(m Members, t *Tokens) (path, error) {
	name := cmp.Or(n.AccessToken, "access_token")
	var why error
	if in, last, ok := m.lookup(name); ok {
		if t.Access, why = tokenText(in[0].Members[last]); t.Access != "" {
			in.take(last)
			return in, nil
		}
	}
	found, failed := search{usable: tokenText}, hasError(m)
	found.walk(path{{m, ""}}, accessNames, nil)
	if found.depth = maxDepth; len(found.values) == 0 && failed { // it may quote what was sent
		found.walk(path{{m, ""}}, accessNames, wrappers)
	} else if len(found.values) == 0 {
		found.walk(path{{m, ""}}, accessNames, nil)
	}
	if len(found.values) == 0 && n.AccessToken == "" && !failed {
		found.usable = weakText
		found.walk(path{{m, ""}}, weakAccess, wrappers)
	}
	switch len(found.values) {
	case 0:
		return nil, noToken(name, why)
	case 1:
		t.Access = found.values[0]
		found.in.take(found.name)
		return found.in, nil
	}
	return nil, errors.New("answer has no " + name + ", and several members that may be it: name the right one in JSONFields.AccessToken")
}

// hasError reports whether m says that something went wrong.
func hasError(m Members) bool {
	for _, name := range m.named("error") {
		if in, ok := object(m[name]); ok {
			for _, code := range in.named("code", "errorcode", "status") {
				return !isNothing(in[code])
			}
			return len(in) > 0
		}
		return !isNothing(m[name])
	}
	return false
}

// isNothing reports whether v, in the place of an error, says that there is none.
func isNothing(v any) bool {
	switch v := v.(type) {
	case string:
		switch strings.ToLower(v) {
		case "", "0", "200", "ok", "success", "none", "no", "null", "false":
			return true
		}
		return false
	case json.Number:
		return v == "0" || v == "200"
	case bool:
		return !v
	}
	return v == nil
}

// weakText is [tokenText] for a member whose name promises little.
func weakText(v any) (string, error) {
	if _, ok := v.(string); !ok {
		return "", errNotText
	}
	text, err := tokenText(v)
	if err != nil || strings.Contains(text, " ") {
		return "", errNotText
	}
	return text, nil
}

// search finds the values that members of some names have, wherever they are.
type search struct {
	usable func(any) (string, error)
	depth  int      // how many objects they may lie in
	values []string // each once
	in     path     // where the first one is, and by which name
	name   string
}

// walk looks into the object p[0] and those inside of it. inside are the names of the
// objects that are looked into, nil for all.
func (s *search) walk(p path, names, inside []string) {
	for _, name := range p[0].named(names...) {
		if v, err := s.usable(p[0].Members[name]); err == nil && v != "" {
			s.found(v, p, name)
		} else if in, ok := p.into(name); ok { // {"access":{"token":"…","expires":"…"}}
			for _, name := range in[0].named("token") {
				if v, err := s.usable(in[0].Members[name]); err == nil && v != "" {
					s.found(v, in, name)
				}
			}
		}
	}
	if len(p) > s.depth {
		return
	}
	for _, name := range p[0].children() {
		if inside != nil && !slices.Contains(inside, fold(name)) {
			continue
		}
		if in, ok := p.into(name); ok {
			s.walk(in, names, inside)
		}
	}
}

func (s *search) found(value string, in path, name string) {
	if slices.Contains(s.values, value) {
		return
	}
	if s.values = append(s.values, value); len(s.values) == 1 {
		s.in, s.name = in, name
	}
}

// own returns p without the objects that hold another access token.
func (p path) own() path {
	for i := 1; i < len(p); i++ {
		for _, name := range p[i].named(accessNames...) {
			if v, err := tokenText(p[i].Members[name]); err == nil && v != "" {
				return p[:i]
			}
		}
	}
	return p
}

// refresh takes the refresh token. It returns the object that this had to itself, nil if
// there is none.
func (n Names) refresh(m Members, home path, t *Tokens) path {
	list := places(m, home, n.RefreshToken, refreshNames)
	for _, in := range append(list, places(m, home, "", weakRefresh)...) {
		v := in.path[0].Members[in.name]
		if t.Refresh = refreshText(v); t.Refresh != "" {
			in.path.take(in.name)
			return nil
		}
		if isNothing(v) {
			in.path.take(in.name)
		} else if deeper, ok := in.path.into(in.name); ok {
			for _, name := range deeper[0].named("token") {
				if t.Refresh = refreshText(deeper[0].Members[name]); t.Refresh != "" {
					deeper.take(name)
					return deeper
				}
			}
		}
	}
	return nil
}

// A place is where a member is.
type place struct {
	path path
	name string
}

// places are where a member may be: by the name that was given, and in the objects of home
// by one of names.
func places(m Members, home path, given string, names []string) []place {
	var list []place
	if given != "" {
		if in, name, ok := m.lookup(given); ok {
			list = append(list, place{in, name})
		}
	}
	for i := range home {
		for _, name := range home[i].named(names...) {
			list = append(list, place{home[i:], name})
		}
	}
	return list
}

func find(m Members, home path, given string, names []string) (path, string, bool) {
	for _, p := range places(m, home, given, names) {
		return p.path, p.name, true
	}
	return nil, "", false
}

// expiry takes the member that says when a token ends, and returns how long that is from
// when it was issued; 0 if none makes sense.
func (n Names) expiry(m Members, home path, c Clock, jwt time.Duration, in, at string, inNames, atNames []string) time.Duration {
	for _, p := range places(m, home, in, inNames) {
		d := c.lifetime(p.path[0].Members[p.name], jwt)
		p.path.take(p.name)
		if d > 0 {
			return d
		}
	}
	for _, p := range places(m, home, at, atNames) {
		if d := c.lifetime(p.path[0].Members[p.name], jwt); d > 0 {
			p.path.take(p.name)
			return d
		}
	}
	return 0
}
