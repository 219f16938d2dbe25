package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/events"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/former"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/singleflight"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/wait"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/work"
)

// A Session is the life of one identity's token: empty until a login, active,
// ended by a logout or by a refresh token that the server refused. It holds the
// current token in memory, refreshes it, and keeps it in its Store.
//
// A Session is safe for concurrent use. Make it with [New], hand it a first token
// with [Session.SetToken] unless the Store has one, wrap an [http.Client] with
// [Session.Wrap], and end it with [Session.Close].
type Session struct {
	*settings // may be other sessions' too

	store Store
	key   string

	held       atomic.Pointer[held] // state.held; written with mu held
	refused    atomic.Uint32        // state.refusedGeneration, the lower half; written with mu held
	accepted   accepted             // where what is held was accepted first
	waiting    atomic.Int32         // callers that cannot go on without a refresh
	early      atomic.Bool          // an early refresh is under way
	refreshing atomic.Bool          // what was refused is being refreshed, and perhaps nobody waits
	storing    atomic.Bool          // renewed tokens are being stored

	mu     sync.Mutex // guards state and former; not held during I/O, a callback, or while waiting
	state  state
	former *former.Chain // access tokens that were held since the last logout; nil: none

	flights   singleflight.Group // "refresh": a refresh, or the save of a renewed token; "look", "newer": a look at the store
	queue     events.Queue
	released  wait.Signal // waiting has become pointless: a login, a logout, the end
	loginLock wait.Lock   // the login or logout that writes to the store
	work      work.Work
	unsaved   unsaved
	told      atomic.Pointer[told] // nil: nothing was told
	parts     parts
}

// newSession makes a session with nothing in it. store nil: the token lives in memory
// only.
func newSession(set *settings, store Store, key string) *Session {
	if store == nil {
		own := new(ownStore)
		if len(set.audiences) > 0 {
			own.turn = make(chan struct{}, 1)
		}
		store = own
	}
	s := &Session{settings: set, store: store, key: key}
	s.parts = newParts(s)
	s.state.held = new(held)
	s.held.Store(s.state.held)
	return s
}

// change has f change the state, and tells what that asks for.
func (s *Session) change(f func(st *state, now time.Time) effects) {
	now := time.Now()
	s.mu.Lock()
	doubt := s.state.doubt
	fx := f(&s.state, now)
	if doubt != nil && doubt != s.state.doubt {
		close(doubt.changed)
	}
	h, old := s.state.held, s.held.Load()
	if h != old {
		if h.usable() && h.generation != old.generation {
			s.prepare(h, now)
		}
		s.remember(old, h)
		s.held.Store(h)
	}
	if refused := uint32(s.state.refusedGeneration()); refused != s.refused.Load() {
		s.refused.Store(refused)
	}
	for _, e := range fx.events {
		s.tell(e)
	}
	s.mu.Unlock()
	if fx.release {
		s.released.Send()
	}
	if h != old {
		s.movedTo(h, old)
	}
}

// ask calls f, which changes nothing that is held and has nothing to tell.
func (s *Session) ask(f func(st *state, now time.Time)) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.state, now)
}

// prepare adds to h, which is about to be used, what depends on the settings.
func (s *Session) prepare(h *held, now time.Time) {
	t := h.record.Token
	issued := t.Issued
	if issued.IsZero() && now.Before(t.Expiry) {
		issued = now // what is left is all that is known of the lifetime
	}
	h.windows, h.since = limit.NewWindows(t.Expiry.Sub(issued), s.refreshBefore), now
	h.value[0], h.record = s.headerValue(h.record)
}

// remember keeps in mind that old's token was the session's, now that h is held. Whoever
// logs in after a logout, after the end, or in the place of another, may be somebody else.
func (s *Session) remember(old, h *held) {
	switch {
	case h.logouts != old.logouts, !old.usable(), h.usable() && h.follows(old, true) != nil:
		s.former = nil
	case old.usable() && old.record.Token.AccessToken != "" && h.generation != old.generation:
		s.former = s.former.With(old.record.Token.AccessToken)
	}
}

// headerValue returns the value of the header that carries r's token, if all requests
// get the same, and r with a token that shares the text with it: nobody else has a
// use for the token that it replaces.
func (s *Session) headerValue(r Record) (string, Record) {
	a := asValueAttacher(s.attacher)
	if a == nil {
		return "", r
	}
	value, err := a.headerValue(r.Token)
	if access := r.Token.AccessToken; err == nil && strings.HasSuffix(value, access) {
		t := *r.Token // a Store may hold the other one
		t.AccessToken = value[len(value)-len(access):]
		r.Token = &t
		if solo, ok := s.store.(*ownStore); ok {
			solo.share(r)
		}
	}
	return value, r
}

// holds returns what the session holds at this moment.
func (s *Session) holds() *held { return s.held.Load() }

// Format writes the session's key, whatever the verb: its fields lead to tokens.
func (s *Session) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Session{%q}", s.key) }

// Transport returns a RoundTripper whose requests carry s's token. base nil means
// [http.DefaultTransport]. Most programs want [Session.Wrap] or [Session.Client].
func (s *Session) Transport(base http.RoundTripper) *Transport {
	return &Transport{Base: base, Session: s}
}

// Client returns a new client over [http.DefaultTransport] whose requests carry
// s's token.
func (s *Session) Client() *http.Client { return s.Wrap(nil) }

// Wrap returns a copy of c whose requests carry s's token: Jar, Timeout and
// CheckRedirect are c's, and its Transport becomes the [Transport.Base]. A nil c
// is like a zero one.
//
// To bound a request, give it a context with a deadline rather than setting
// Timeout, which costs each request a goroutine and hides the errors of this
// package behind text.
func (s *Session) Wrap(c *http.Client) *http.Client {
	wrapped := new(http.Client)
	if c != nil {
		*wrapped = *c
	}
	wrapped.Transport = s.Transport(wrapped.Transport)
	return wrapped
}

// Token returns a copy of a token that is good to be sent now, after loading or
// refreshing it if necessary; for a token that a server has just refused it waits until
// that is refreshed. If only the server renews it (without a Config.Refresher, or with
// one that could present nothing but an expired token, see Config.Renewed) that is the
// token as it is, expired or not, after a look at the store if it has expired. Errors are
// those of a request: ErrLoginRequired, a [*TokenError], ErrStoreUnavailable,
// ErrStoreCorrupt, ErrClosed, ErrReentrant, or ctx's.
func (s *Session) Token(ctx context.Context) (*Token, error) {
	h, err := s.unrefused(ctx)
	for errors.Is(err, errOtherLogin) { // there is no request yet that began with the other one
		h, err = s.unrefused(ctx)
	}
	return s.copyOf(h, err)
}

// Peek returns a copy of the token as it is, expired or not, after loading it if
// necessary, and never refreshes it. Its AccessToken is empty if the login brought a refresh
// token alone and no request has come since. If there is none the error is
// ErrLoginRequired.
func (s *Session) Peek(ctx context.Context) (*Token, error) { return s.copyOf(s.asItIs(ctx)) }

// Do is for protocols that have no RoundTripper. It calls f with a token that is good to be
// sent now: f dials, proves by t who it is, and does what there is to do. If the server
// refuses t, f returns an error that is [ErrRejected]. The token is then refreshed, together
// with everybody who was refused, and f is called a second time, to begin again with the new
// one. What it returns then is the result, whatever it is.
//
// There is no second call, and Do returns what f did, if a refresh is out of the question:
// refreshed tokens have been refused too often of late, as for requests of a [Transport], or
// there is no Config.Refresher. If the refresh fails, or there is no token to begin with, the
// error is that of a request: ErrLoginRequired, a [*TokenError], ErrStoreUnavailable,
// ErrStoreCorrupt, ErrReplaced, ErrClosed, ErrReentrant, or ctx's.
//
// f gets ctx as it is, and a copy of the token: the login's own, if there are
// Config.Audiences. It runs on the caller's goroutine; no lock is
// held. Where the token goes is for f to know: Config.Origins is not asked.
func (s *Session) Do(ctx context.Context, f func(ctx context.Context, t *Token) error) error {
	h, err := s.unrefused(ctx)
	if err != nil {
		return s.whose(err)
	}
	rejected := s.lend(ctx, h, f)
	if !errors.Is(rejected, ErrRejected) {
		return rejected
	}
	v := s.rejected(h, nil)
	if !v.again {
		return rejected
	}
	if h, err = s.insteadOf(ctx, h); err != nil {
		return s.whose(err)
	}
	err = s.lend(ctx, h, f)
	s.replayed(h, v, errors.Is(err, ErrRejected))
	return err
}

// lend calls f with h's token.
func (s *Session) lend(ctx context.Context, h *held, f func(context.Context, *Token) error) error {
	if s.hooks.Attached != nil {
		s.hooks.Attached(ctx, h.generation)
	}
	return f(ctx, h.record.Token.Clone())
}

// copyOf returns a copy of h's token.
func (s *Session) copyOf(h *held, err error) (*Token, error) {
	if err != nil {
		return nil, s.whose(err)
	}
	return h.record.Token.Clone(), nil
}
