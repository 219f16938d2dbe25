package tokenclient

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/events"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/singleflight"
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

	held    atomic.Pointer[held] // never nil; written with mu held
	calm    atomic.Pointer[calm] // nil: ask the clock; written with mu held
	asked   atomic.Int64         // when a request asked it last, in Unix nanoseconds
	waiting atomic.Int32         // callers that cannot go on without a refresh
	early   atomic.Bool          // an early refresh is under way
	flights singleflight.Group
	events  events.Queue // of calls of hooks and of the logger

	mu       sync.Mutex // guards all below; not held during I/O or while waiting
	closed   bool
	running  int32         // goroutines of the session's own that Close waits for
	work     *work         // nil: none of them
	epoch    uint64        // goes up with each login and logout; a refresh begun before cannot adopt
	turned   chan struct{} // closed when waiting has become pointless; nil: nobody asked for it
	watchers int           // who may be waiting for that
	control  chan struct{} // closed when the login or logout that writes to the store is over; nil: there is none
	trouble  *trouble      // nil: none
	storm    *limit.Storm  // nil: not needed so far
	renewals *renewals     // nil: no answer brings a token
	unsaved  map[*NotSavedError]struct{}
}

// newSession makes a session with nothing in it. store nil: the token lives in memory
// only.
func newSession(set *settings, store Store, key string) *Session {
	if store == nil {
		store = new(soloStore)
	}
	s := &Session{settings: set, store: store, key: key}
	if set.findRenewed != nil {
		s.renewals = new(renewals)
	}
	s.held.Store(&held{})
	return s
}

// held is one generation: what the session holds between one adoption and the
// next. It does not change, but when a renewed token is stored another held of the
// same generation takes its place, with the number that the token got in the store.
type held struct {
	generation uint64
	record     Record // its Token is nil if the session is empty, ended or closed
	logouts    uint64 // how often the session was logged out before

	// value is that of the header that carries the token; "" if it is made for
	// each request. The Token's AccessToken is a part of it, if it can be: the
	// text is what takes the memory.
	value [1]string

	// windows say when before its Expiry the token is refreshed: in the background
	// from the soft one on, before anything is sent from the hard one on.
	windows limit.Windows
}

// usable reports whether requests may go out with h at all.
func (h *held) usable() bool { return h.record.Token != nil }

// expires reports whether it is known when h does.
func (h *held) expires() bool { return !h.record.Token.Expiry.IsZero() }

// expired reports whether the local clock says that the server will refuse h.
func (h *held) expired(now time.Time) bool { return h.expires() && !now.Before(h.record.Token.Expiry) }

// soft returns from when on h is refreshed; zero if that is never.
func (h *held) soft() time.Time { return h.windows.Soft(h.record.Token.Expiry) }

// hard returns from when on nothing should be sent with h; zero if that is never.
func (h *held) hard() time.Time { return h.windows.Hard(h.record.Token.Expiry) }

// overdue reports whether nothing should be sent with h any more.
func (h *held) overdue(now time.Time) bool { return h.expires() && !now.Before(h.hard()) }

// insideKey marks the contexts that a session hands to its Refresher and Store.
type insideKey struct{ s *Session }

func (s *Session) inside(ctx context.Context) bool { return ctx.Value(insideKey{s}) != nil }

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
// refreshing it if necessary. Without a Config.Refresher that is the token as it is,
// expired or not, after a look at the store if it has expired. Errors are those of a request: ErrLoginRequired,
// a [*TokenError], ErrStoreUnavailable, ErrStoreCorrupt, ErrClosed, ErrReentrant,
// or ctx's.
func (s *Session) Token(ctx context.Context) (*Token, error) {
	h, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	return h.record.Token.Clone(), nil
}

// Peek returns a copy of the token as it is, expired or not, after loading it if
// necessary, and never refreshes it. If there is none the error is
// ErrLoginRequired.
func (s *Session) Peek(ctx context.Context) (*Token, error) {
	h, err := s.asItIs(ctx)
	if err != nil {
		return nil, err
	}
	return h.record.Token.Clone(), nil
}

// asItIs returns what the session holds, after a look at the store if that is
// nothing.
func (s *Session) asItIs(ctx context.Context) (*held, error) {
	for {
		if h := s.held.Load(); h.usable() {
			return h, nil
		}
		if err := s.look(ctx); err != nil {
			return nil, err
		}
	}
}

// current returns the generation to send a request with. With a token that is
// not about to expire it waits for no lock and does no I/O.
func (s *Session) current(ctx context.Context) (*held, error) {
	h, err := s.asItIs(ctx)
	if err != nil || s.calmAbout(h) != nil {
		return h, err
	}
	now := time.Now()
	left := time.Duration(math.MaxInt64)
	if h.expires() {
		left = h.soft().Sub(now)
	}
	if left > 0 {
		s.mayCalm(h, now, left)
		return h, nil
	}
	if s.refresher == nil {
		return s.unrefreshed(ctx, h, now)
	}
	if !h.overdue(now) {
		s.refreshEarly(h, CauseSoft)
		return h, nil
	}
	next, err := s.refreshed(ctx, h, CauseHard)
	if err != nil && ctx.Err() == nil && s.held.Load().generation == h.generation && !h.expired(time.Now()) {
		return h, nil // a token that the server still takes is better than an error
	}
	return next, err
}

// adoptLocked makes r, which holds a token, the next generation.
func (s *Session) adoptLocked(r Record, announce bool) *held {
	old := s.held.Load()
	h := &held{generation: old.generation + 1, logouts: old.logouts}
	h.value[0], h.record = s.headerValue(r)
	issued := r.Token.Issued
	if now := time.Now(); issued.IsZero() && now.Before(r.Token.Expiry) {
		issued = now // what is left is all that is known of the lifetime
	}
	h.windows = limit.NewWindows(r.Token.Expiry.Sub(issued), s.refreshBefore)
	s.trouble = nil
	s.renewals.forget()
	s.held.Store(h)
	if announce {
		s.adoptedLocked(flight{})
	}
	return h
}

// headerValue returns the value of the header that carries r's token, if all requests
// get the same, and r with a token that shares the text with it: nobody else has a
// use for the token that it replaces.
func (s *Session) headerValue(r Record) (string, Record) {
	a, ok := s.attacher.(valueAttacher)
	if !ok {
		return "", r
	}
	value, err := a.headerValue(r.Token)
	if access := r.Token.AccessToken; err == nil && strings.HasSuffix(value, access) {
		t := *r.Token // a Store may hold the other one
		t.AccessToken = value[len(value)-len(access):]
		r.Token = &t
		if solo, ok := s.store.(*soloStore); ok {
			solo.share(r)
		}
	}
	return value, r
}

// endLocked ends a session for a reason that is ErrLoginRequired. One that has
// ended keeps its first reason, unless it is a logout that ends it again.
func (s *Session) endLocked(reason error, logout bool) {
	old := s.held.Load()
	if !old.usable() && s.trouble.now().left.reason != nil && !logout {
		return
	}
	h := &held{generation: old.generation + 1, logouts: old.logouts}
	left := s.trouble.now().left
	left.reason = reason
	if logout {
		h.logouts++
		left.unstored = true
	}
	if old.usable() {
		left.record = old.record
	}
	s.trouble = &trouble{left: left, lookErr: reason, lookAt: time.Now().Round(0).Add(lookInterval)}
	s.renewals.forget()
	s.held.Store(h)
	s.turnLocked()
	if old.usable() && !s.closed {
		s.note(slog.LevelInfo, "session ended", "err", reason)
		if s.hooks.SessionEnded != nil {
			s.events.Post(func() { s.hooks.SessionEnded(reason) })
		}
	}
}

// note logs. It does so where hooks are called, and for the same reasons: a
// handler may be slow, or send its lines through this very session.
func (s *Session) note(level slog.Level, msg string, args ...any) {
	if s.hooks.log == nil {
		return
	}
	args = append([]any{"key", s.key}, args...)
	s.events.Post(func() { s.hooks.log.Log(context.Background(), level, "tokenclient: "+msg, args...) })
}

// infoLocked tells about f, or about no refresh if f is zero.
func (s *Session) infoLocked(f flight) RefreshInfo {
	h := s.held.Load()
	info := RefreshInfo{Key: s.key, Generation: h.generation, Cause: f.cause, Began: f.began, Waiters: int(s.waiting.Load())}
	if !f.began.IsZero() {
		info.Duration = time.Since(f.began)
	}
	if h.usable() {
		info.Expiry = h.record.Token.Expiry
	}
	return info
}

// turnedLocked returns a channel that is closed by the next login, or when the
// session ends. It is for watchers, the last of whom takes it away.
func (s *Session) turnedLocked() <-chan struct{} {
	if s.turned == nil {
		s.turned = make(chan struct{})
	}
	return s.turned
}

func (s *Session) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers++
}

func (s *Session) unwatch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers--; s.watchers == 0 {
		s.turned = nil
	}
}

// turnLocked lets go of everybody who waits for something that has become pointless.
func (s *Session) turnLocked() {
	if s.turned != nil {
		close(s.turned)
		s.turned = nil
	}
}
