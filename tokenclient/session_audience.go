package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/check"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// An Audience is a part of what a login is good for that has access tokens of its own: an
// API for which the server issues tokens by "resource" (RFC 8707), "audience" or scope. A
// session with audiences has one refresh token and one access token for each. A request
// gets the one of its origin, and all share one refresh at a time, among processes too.
type Audience struct {
	// Name says which one it is, in a [Token] and for [Session.TokenFor]. Hooks, log lines
	// and errors that name the key have it behind that, in parentheses. It is required.
	Name string

	// Refresher exchanges the session's refresh token for an access token of this
	// audience: mostly Config.Refresher with another Scope, or with "resource" in its
	// Params. If it brings a refresh token, that is the session's from then on. It is
	// required.
	Refresher Refresher

	// Origins lists where its tokens go, as Config.Origins does for those of the login
	// itself. It is required, and no origin may be in two lists.
	Origins []string

	// Attacher puts its token on requests. Nil: Config.Attacher does.
	Attacher Attacher
}

// An AudienceToken is what a [Token] has for an [Audience].
type AudienceToken struct {
	// Token has an access token, and neither a refresh token nor a Binding: there is one of
	// each for all.
	Token *Token

	// Number is that of the [Record] with which it came.
	Number uint64
}

// checkAudiences reports what is wrong with c.Audiences.
func (c *Config) checkAudiences() error {
	if len(c.Audiences) > 0 && (c.Refresher == nil || c.Renewed != nil) {
		return errors.New("Config.Audiences needs a Refresher, and no Renewed: an answer does not say for which audience its token is")
	}
	names, origins := make(map[string]bool), make(map[string]bool)
	for _, o := range c.Origins {
		origins[o] = true
	}
	for i, a := range c.Audiences {
		field := fmt.Sprintf("Config.Audiences[%d]", i)
		switch {
		case a.Name == "":
			return fmt.Errorf("%s.Name is empty; its token is stored under that", field)
		case names[a.Name]:
			return fmt.Errorf("%s.Name is %q, as that of another one; give each its own", field, a.Name)
		case a.Refresher == nil:
			return fmt.Errorf("%s.Refresher is nil; use a copy of Config.Refresher with a Scope or Params of its own", field)
		case len(a.Origins) == 0:
			return fmt.Errorf(`%s.Origins is empty; list where the token may go, like Origins: []string{"https://api.example.com"}`, field)
		}
		names[a.Name] = true
		if err := check.Part(field+".Refresher", a.Refresher); err != nil {
			return err
		}
		if a.Attacher != nil {
			if err := checkAttacher(field+".Attacher", a.Attacher); err != nil {
				return err
			}
		}
		for _, o := range a.Origins {
			if origins[o] {
				return twoTokens(i, o)
			}
			origins[o] = true
		}
	}
	return nil
}

func twoTokens(i int, entry string) error {
	return fmt.Errorf("Config.Audiences[%d].Origins has %s, which is in another list too; a request there would have two tokens", i, origin.Shown(entry))
}

// audienceSettings are those of a part of a session.
type audienceSettings struct {
	name string
	*settings
}

// newAudiences returns the settings of c's audiences. Those of the session itself are whole.
func newAudiences(c *Config, whole *settings) (list []audienceSettings, err error) {
	for i, a := range c.Audiences {
		own := *c
		own.Refresher, own.Origins, own.AnyOrigin = a.Refresher, a.Origins, false
		own.Audiences = append([]Audience{{Refresher: c.Refresher}}, c.Audiences...) // their endpoints
		rules, err := newRules(&own)
		if err != nil {
			return nil, err
		}
		for _, o := range a.Origins { // in whatever spelling
			u, err := url.Parse(o)
			twice := func(other audienceSettings) bool { return other.allows(u) }
			if err == nil && (!c.AnyOrigin && whole.allows(u) || slices.ContainsFunc(list, twice)) {
				return nil, fmt.Errorf("tokenclient: %w", twoTokens(i, o))
			}
		}
		list = append(list, audienceSettings{a.Name, whole.forAudience(a, rules)})
	}
	return list, nil
}

// parts are the sessions that a session's audiences have. Each is a session like any other,
// over a Store that is a part of the whole one's: to the protocol it is another process
// with the same login.
type parts []*Session

// newSession makes a session with nothing in it, and its parts. store nil: the token lives in
// memory only.
func newSession(set *settings, store Store, key string) *Session {
	s := makeSession(set, store, key)
	for _, a := range set.ofAudiences() {
		name := strings.TrimPrefix(fmt.Sprintf("%s (%s)", key, a.name), " ")
		s.parts = append(s.parts, makeSession(a.settings, &partStore{whole: s, store: s.store, key: key, name: a.name}, name))
	}
	return s
}

// partFor returns the session whose token goes to u: s, or that of an audience.
func (s *Session) partFor(u *url.URL) *Session {
	for _, part := range s.parts {
		if u != nil && part.config().allows(u) {
			return part
		}
	}
	return s
}

// part returns the session of the audience of that name, nil if there is none.
func (s *Session) part(name string) *Session {
	for _, part := range s.parts {
		if part.store.(*partStore).name == name {
			return part
		}
	}
	return nil
}

// eachPart calls f with all of them, and joins the errors.
func (s *Session) eachPart(f func(part *Session) error) error {
	var errs []error
	for _, part := range s.parts {
		errs = append(errs, f(part))
	}
	return errors.Join(errs...)
}

// movedTo has the parts of s, and the session that s is a part of, follow when s holds h:
// another login's token than old, or none. A logout is for the parts also if s held nothing: no
// request of its own had come yet.
func (s *Session) movedTo(h, old *held) {
	if h.usable() == old.usable() && h.record.Era == old.record.Era && h.logouts == old.logouts || !s.isOpen() {
		return // Close closes the parts
	}
	if p, ok := s.store.(*partStore); ok && p.whole.holds().record.Era != h.record.Era {
		p.whole.lookForNewerSoon()
	}
	for _, part := range s.parts {
		view := part.store.(*partStore).view(h.record)
		part.change(func(st *state, now time.Time) effects {
			if !h.usable() {
				return st.endWithWhole(old.record, now)
			}
			return st.beginWithWhole(view, h.logins != old.logins)
		})
	}
}

// take makes r, which a part of s has left in the store, what s holds, if it is newer.
func (s *Session) take(r Record) {
	s.change(func(st *state, _ time.Time) effects { return st.partStored(r) })
}

// partStore is the [Store] of an audience: the part of the whole session's record that is about
// it. A Record of it has the number under which the audience's token came.
type partStore struct {
	whole *Session
	store Store  // the whole session's
	key   string // and its key there
	name  string

	mu        sync.Mutex // guards presented
	presented Record     // of the whole, when a token was last presented
}

// view returns what r, of the whole session, is to the audience: without a token for it one
// that has expired, and whose refresh token is good.
func (p *partStore) view(r Record) Record {
	if r.Token == nil {
		return r
	}
	t := &Token{RefreshToken: r.Token.RefreshToken, RefreshExpiry: r.Token.RefreshExpiry, Binding: r.Token.Binding}
	whole := r.Number
	r.Number = 1
	if own, ok := r.Token.Audiences[p.name]; ok && own.Token != nil {
		t, r.Number = own.Token.Clone(), min(own.Number, whole) // a larger one is of another login
		t.RefreshToken, t.RefreshExpiry, t.Binding = r.Token.RefreshToken, r.Token.RefreshExpiry, r.Token.Binding
	}
	r.Token = t
	return r
}

// with returns whole with t as the audience's token, and t's refresh token and binding for all.
func (p *partStore) with(whole Record, t *Token) *Token {
	next, own := whole.Token.Clone(), t.Clone()
	next.RefreshToken, next.RefreshExpiry, next.Binding = t.RefreshToken, t.RefreshExpiry, t.Binding
	own.RefreshToken, own.RefreshExpiry, own.Audiences, own.Binding = "", time.Time{}, nil, ""
	next.Audiences = maps.Clone(next.Audiences)
	if next.Audiences == nil {
		next.Audiences = make(map[string]AudienceToken)
	}
	next.Audiences[p.name] = AudienceToken{own, whole.Number + 1}
	return next
}

// newest returns the whole session's record: the stored one, or what the session knows if that
// could not be stored yet.
func (p *partStore) newest(ctx context.Context) (Record, error) {
	r, err := p.store.Load(ctx, p.key)
	if known := p.whole.holds().record; err == nil && known.Token != nil && known.Era == r.Era && known.Number > r.Number {
		return known, nil
	}
	return r, err
}

// Load implements [Store].
func (p *partStore) Load(ctx context.Context, _ string) (Record, error) {
	r, err := p.newest(ctx)
	if p.whole.logoutUnstored() {
		return Record{State: LoggedOut}, ErrNoToken
	}
	return p.view(r), err
}

// logoutUnstored reports whether the session was logged out, and the store does not know.
func (s *Session) logoutUnstored() (is bool) {
	s.ask(func(st *state, _ time.Time) { is = !st.held.usable() && st.troubleNow().left.unstored })
	return is
}

// Refresh implements [Store].
func (p *partStore) Refresh(ctx context.Context, key string, seen Record, timeout time.Duration,
	fn func(context.Context, Record) (*Token, error)) (Record, error) {
	r, err := p.newest(ctx)
	for {
		if v := p.view(r); err != nil || v.Era != seen.Era || v.Number > seen.Number {
			return v, err
		}
		was, called := r, false
		r, err = p.store.Refresh(ctx, p.key, was, timeout, func(ctx context.Context, current Record) (*Token, error) {
			called = true
			p.note(current)
			t, err := fn(ctx, p.view(current))
			if err != nil {
				return nil, err
			}
			return p.with(current, t), nil
		})
		if called || err != nil || !newer(r, was) {
			return p.stored(key, r, err)
		}
		// Another part of the session, or another process, was quicker, and r is what it
		// left. It is not looked for again: a Store that reads old records would never end.
	}
}

// Save implements [Store]. It is for a token that came when its refresh had been given up.
func (p *partStore) Save(ctx context.Context, key string, seen Record, t *Token) (Record, error) {
	was := p.lastPresented()
	// What the whole session holds may have gone on while the audience's number stayed.
	if v := p.view(was); v.Era != seen.Era || v.Number != seen.Number || was.Token == nil || seen.Token == nil ||
		was.Token.RefreshToken != seen.Token.RefreshToken {
		return seen, ErrOvertaken
	}
	r, err := p.store.Save(ctx, p.key, was, p.with(was, t))
	return p.stored(key, r, err)
}

// Replace implements [Store]: the whole session logs in and out.
func (p *partStore) Replace(context.Context, string, *Token) (now, was Record, err error) {
	return now, was, errors.ErrUnsupported
}

// stored returns what the end of a refresh or a save of the whole is to the audience, and has
// the whole session take it: nobody in this process must present what is spent.
func (p *partStore) stored(key string, r Record, err error) (Record, error) {
	var unsaved *NotSavedError
	switch {
	case err == nil:
		p.whole.take(r)
	case errors.As(err, &unsaved):
		was := p.lastPresented()
		r = Record{State: Active, Token: unsaved.Token, Era: was.Era, Number: was.Number + 1}
		p.whole.take(r)
		err = NewNotSavedError(key, p.view(r).Token, unsaved.Err, unsaved.Save)
	}
	return p.view(r), err
}

func (p *partStore) note(presented Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.presented = presented
}

func (p *partStore) lastPresented() Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.presented
}

// partHost is the host of a session that is a part of one in h.
type partHost struct{ host }

// changed is that of a [host]: it is for the whole session to say.
func (partHost) changed(*Session) {}
