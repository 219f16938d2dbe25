package tokenclient

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// A Session is the life of one identity's token: empty until a login, active,
// ended by a logout or by a refresh token that the server refused. It holds the
// current token in memory, refreshes it, and keeps it in its Store.
//
// A Session is safe for concurrent use. Make it with [New], hand it a first token
// with [Session.SetToken] unless the Store has one, wrap an [http.Client] with
// [Session.Wrap], and end it with [Session.Close].
type Session struct {
	refresher     Refresher  // nil: only the server renews
	endpoints     []*url.URL // where refresher posts to
	store         Store
	key           string
	origins       []allowedOrigin
	anyOrigin     bool
	insecureHTTP  bool
	refreshBefore time.Duration
	timeout       time.Duration
	heartbeat     time.Duration
	attacher      Attacher
	header        string // the header that attacher sets, canonical; "": none
	rejected      func(*http.Response) bool
	findRenewed   func(*http.Response) (*Token, bool) // nil: no answer brings a token
	hooks         Hooks
	log           *slog.Logger

	// lifetime is the context of what the session does by itself; end ends it.
	// It is not any caller's, whose values and end would reach everybody else.
	lifetime context.Context
	end      context.CancelFunc
	closing  chan struct{} // closed by Close, before end

	born     time.Time    // with a monotonic reading
	wallNext atomic.Int64 // nanoseconds since born: when the wall clock is to be asked again

	held    atomic.Pointer[held] // never nil; written with mu held
	flights singleflight.Group   // "refresh" (and saves of renewed tokens), "look", "newer"
	waiting atomic.Int32         // callers that cannot go on without a refresh
	early   atomic.Bool          // an early refresh is under way
	events  events

	pool *Pool // nil: the session is nobody's

	control chan struct{} // holds one element while a login or logout writes to the store

	mu       sync.Mutex    // guards all below; not held during I/O or while waiting
	epoch    uint64        // goes up with each login and logout; a refresh begun before cannot adopt
	turned   chan struct{} // closed when waiting has become pointless; nil: nobody asked for it
	left     leaving
	lookAt   time.Time // when the session may look at the store again for a token to use
	lookErr  error     // what the last look ended with
	backoff  backoff   // of refreshes that somebody needs
	earlier  backoff   // of looks before an early refresh, which nobody needs yet
	storm    stormGuard
	renewals renewals
	unsaved  map[*NotSavedError]struct{}
	closed   bool
	running  int           // goroutines of the session's own that Close waits for
	idle     chan struct{} // closed when closed and running is 0
	idleOnce sync.Once
}

// held is one generation: what the session holds between one adoption and the
// next. It does not change, but when a renewed token is stored another held of the
// same generation takes its place, with the number that the token got in the store.
type held struct {
	generation uint64
	record     Record   // its Token is nil if the session is empty, ended or closed
	value      []string // of the header that carries the token; nil if it is made for each request
	soft, hard time.Time
	quietUntil time.Duration // soft, by the monotonic clock since Session.born
	logouts    uint64        // how often the session was logged out before
}

// usable reports whether requests may go out with h at all.
func (h *held) usable() bool { return h.record.Token != nil }

// expired reports whether the local clock says that the server will refuse h.
func (h *held) expired(now time.Time) bool {
	return !h.hard.IsZero() && !now.Before(h.record.Token.Expiry)
}

// overdue reports whether nothing should be sent with h any more.
func (h *held) overdue(now time.Time) bool { return !h.hard.IsZero() && !now.Before(h.hard) }

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
// not about to expire it takes no lock and does no I/O.
func (s *Session) current(ctx context.Context) (*held, error) {
	h, err := s.asItIs(ctx)
	if err != nil || s.quiet(h) {
		return h, err
	}
	now := time.Now()
	if now.Before(h.soft) {
		s.wallNext.Store(int64(now.Sub(s.born) + wallInterval))
		return h, nil
	}
	if s.refresher == nil {
		return s.unrefreshed(ctx, h, now)
	}
	if !h.overdue(now) {
		s.refreshEarly(h)
		return h, nil
	}
	next, err := s.refreshed(ctx, h, false)
	if err != nil && ctx.Err() == nil && s.held.Load().generation == h.generation && !h.expired(time.Now()) {
		return h, nil // a token that the server still takes is better than an error
	}
	return next, err
}

// wallInterval is how long the monotonic clock is trusted alone after the wall clock
// agreed with it.
const wallInterval = time.Second

// quiet reports whether there is nothing to do about h yet, for most requests of
// which that is so. The monotonic clock is read in half the time that package time
// takes for both; but it stands still while the machine sleeps, so that every now
// and then a request asks the wall clock, too. From when that says otherwise until
// there is another token, all requests ask it.
func (s *Session) quiet(h *held) bool {
	if h.soft.IsZero() {
		return true
	}
	now := time.Since(s.born)
	return now < h.quietUntil && now < time.Duration(s.wallNext.Load())
}

// adoptLocked makes r, which holds a token, the next generation.
func (s *Session) adoptLocked(r Record, announce bool) *held {
	old := s.held.Load()
	h := &held{generation: old.generation + 1, record: r, logouts: old.logouts}
	if a, ok := s.attacher.(valueAttacher); ok {
		if v, err := a.headerValue(r.Token); err == nil {
			h.value = []string{v}
		}
	}
	issued := r.Token.Issued
	if now := time.Now(); issued.IsZero() && now.Before(r.Token.Expiry) {
		issued = now // what is left is all that is known of the lifetime
	}
	h.soft, h.hard = windows(issued, r.Token.Expiry, s.refreshBefore)
	h.quietUntil = time.Since(s.born) + time.Until(h.soft)
	s.left, s.lookErr, s.backoff, s.earlier = leaving{}, nil, backoff{}, backoff{}
	s.renewals.forget()
	s.held.Store(h)
	if announce && s.hooks.Adopted != nil {
		info := s.infoLocked()
		s.events.post(func() { s.hooks.Adopted(info) })
	}
	return h
}

// endLocked ends a session for a reason that is ErrLoginRequired. One that has
// ended keeps its first reason, unless it is a logout that ends it again.
func (s *Session) endLocked(reason error, logout bool) {
	old := s.held.Load()
	if !old.usable() && s.left.reason != nil && !logout {
		return
	}
	h := &held{generation: old.generation + 1, logouts: old.logouts}
	s.left.reason = reason
	if logout {
		h.logouts++
		s.left.unstored = true
	}
	if old.usable() {
		s.left.record = old.record
	}
	s.lookErr, s.lookAt = reason, time.Now().Round(0).Add(lookInterval)
	s.backoff, s.earlier = backoff{}, backoff{}
	s.renewals.forget()
	s.held.Store(h)
	s.turnLocked()
	if old.usable() && !s.closed {
		s.note(slog.LevelInfo, "session ended", "err", reason)
		if s.hooks.SessionEnded != nil {
			s.events.post(func() { s.hooks.SessionEnded(reason) })
		}
	}
}

// note logs. It does so where hooks are called, and for the same reasons: a
// handler may be slow, or send its lines through this very session.
func (s *Session) note(level slog.Level, msg string, args ...any) {
	if s.log == nil {
		return
	}
	args = append([]any{"key", s.key}, args...)
	s.events.post(func() { s.log.Log(context.Background(), level, "tokenclient: "+msg, args...) })
}

func (s *Session) infoLocked() RefreshInfo {
	h := s.held.Load()
	info := RefreshInfo{Key: s.key, Generation: h.generation, Waiters: int(s.waiting.Load())}
	if h.usable() {
		info.Expiry = h.record.Token.Expiry
	}
	return info
}

// turnedLocked returns a channel that is closed by the next login, or when the
// session ends.
func (s *Session) turnedLocked() <-chan struct{} {
	if s.turned == nil {
		s.turned = make(chan struct{})
	}
	return s.turned
}

// turnLocked lets go of everybody who waits for something that has become pointless.
func (s *Session) turnLocked() {
	if s.turned != nil {
		close(s.turned)
		s.turned = nil
	}
}

// begin notes that a goroutine of the session's own runs, unless the session is
// closed and idle: what it was doing before Close it may finish. finish follows.
func (s *Session) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && s.running == 0 {
		return false
	}
	s.running++
	return true
}

func (s *Session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	s.idleLocked()
}

func (s *Session) idleLocked() {
	if s.closed && s.running == 0 {
		s.idleOnce.Do(func() { close(s.idle) })
	}
}
