package tokenclient

import (
	"crypto/subtle"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/events"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/former"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
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
	// The fields are used in five files: here, where what is known is kept under the lock; in
	// session_store.go, where the Store and the Refresher are called; in session_work.go,
	// session_tell.go and session_audience.go. All else goes by the methods that these have.

	*settings // may be other sessions' too

	store Store
	key   string

	held     atomic.Pointer[held] // state.held; written with mu held
	refused  atomic.Uint32        // state.refusedGeneration, the lower half; written with mu held
	accepted accepted             // where what is held was accepted first
	waiting  atomic.Int32         // callers that cannot go on without a refresh
	chores   [chores]atomic.Bool  // which are under way

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

// makeSession makes a session with nothing in it, and without parts. store nil: the token lives
// in memory only.
func makeSession(set *settings, store Store, key string) *Session {
	if store == nil {
		own := new(ownStore)
		if len(set.ofAudiences()) > 0 {
			own.turn = make(chan struct{}, 1)
		}
		store = own
	}
	s := &Session{settings: set, store: store, key: key}
	s.state.held = new(held)
	s.held.Store(s.state.held)
	return s
}

// config is what the settings say.
func (s *Session) config() *settings { return s.settings }

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
func (s *Session) Wrap(c *http.Client) *http.Client { return wrap(c, s.Transport) }

// Format writes the session's key, whatever the verb: its fields lead to tokens.
func (s *Session) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Session{%q}", s.key) }

// name is the key.
func (s *Session) name() string { return s.key }

// whole returns the session that s is a part of, or s.
func (s *Session) whole() *Session {
	if p, ok := s.store.(*partStore); ok {
		return p.whole
	}
	return s
}

// isPart reports whether s is that of an audience.
func (s *Session) isPart() bool { return s.whole() != s }

// storeless reports whether the token lives in memory only.
func (s *Session) storeless() bool {
	_, own := s.whole().store.(*ownStore)
	return own
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
		e.info.Key, e.info.Waiters = s.key, int(s.waiting.Load())
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

func (s *Session) isOpen() (open bool) {
	s.ask(func(st *state, _ time.Time) { open = st.isOpen() })
	return open
}

// holds returns what the session holds at this moment.
func (s *Session) holds() *held { return s.held.Load() }

// stillHolds reports whether that is h's generation.
func (s *Session) stillHolds(h *held) bool { return s.holds().same(h) }

// lastRefused returns the generation that is known to be refused, and is going to be refreshed
// for that: as much of the number as [held.isOf] asks for. 0: none is.
func (s *Session) lastRefused() uint32 { return s.refused.Load() }

// prepare adds to h, which is about to be used, what depends on the settings.
func (s *Session) prepare(h *held, now time.Time) {
	t := h.record.Token
	issued := t.Issued
	if issued.IsZero() && now.Before(t.Expiry) {
		issued = now // what is left is all that is known of the lifetime
	}
	h.windows, h.since = s.config().windows(t.Expiry.Sub(issued)), now
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
	value := s.config().headerValue(r.Token)
	if access := r.Token.AccessToken; value != "" && strings.HasSuffix(value, access) {
		t := *r.Token // a Store may hold the other one
		t.AccessToken = value[len(value)-len(access):]
		r.Token = &t
		if solo, ok := s.store.(*ownStore); ok {
			solo.share(r)
		}
	}
	return value, r
}

// hasHeld reports whether s holds access, or did so since the last logout, as far as it
// remembers.
func (s *Session) hasHeld(access string) (has bool) {
	h := s.holds()
	switch {
	case access == "":
		return false
	case h.usable() && subtle.ConstantTimeCompare([]byte(h.record.Token.AccessToken), []byte(access)) == 1:
		return true
	}
	s.ask(func(*state, time.Time) { has = s.former.Has(access) })
	return has
}

// wasOurs reports whether access is a token of the login that s has, for whatever audience.
func (s *Session) wasOurs(access string) bool {
	s = s.whole()
	return s.hasHeld(access) || slices.ContainsFunc(s.parts, func(part *Session) bool { return part.hasHeld(access) })
}

// isOurs reports whether all values that a caller set for the header that carries the token
// are access tokens of s, each by itself or behind a scheme: such as a client sets who was
// given one, and cannot be kept from it.
func (s *Session) isOurs(values []string) bool {
	for _, v := range values {
		scheme, token, found := strings.Cut(strings.TrimSpace(v), " ")
		if !found || !isHeaderName(scheme) {
			scheme, token = "", v
		}
		if token = strings.TrimSpace(token); !s.wasOurs(token) && (scheme == "" || !s.wasOurs(v)) {
			return false
		}
	}
	return len(values) > 0
}

// accepted is the generation that a server accepted last, and which server was the first to do
// so: the end of the number and a hash of the origin, in few bytes. A server that has
// accepted a token does not refuse it because it does not know it yet.
type accepted struct{ number atomic.Uint32 }

func (a *accepted) knows(h *held) bool { return uint16(a.number.Load()>>16) == uint16(h.generation) }

func (a *accepted) set(h *held, server string) { a.number.Store(numberOf(h, server)) }

func (a *accepted) at(h *held, server string) bool { return a.number.Load() == numberOf(h, server) }

func numberOf(h *held, server string) uint32 {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(server))
	return uint32(h.generation)<<16 | uint32(uint16(sum.Sum32()))
}

// answered notes that resp, which does not refuse h, came from u.
func (s *Session) answered(h *held, u *url.URL, resp *http.Response) {
	if !s.accepted.knows(h) && resp.StatusCode < 400 && s.stillHolds(h) {
		s.accepted.set(h, origin.Of(u).String())
	}
}

// acceptedAt reports whether server was the first to accept h.
func (s *Session) acceptedAt(h *held, server string) bool { return s.accepted.at(h, server) }
