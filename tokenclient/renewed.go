package tokenclient

import (
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// RenewedHeader is a Config.Renewed for servers that put the new access token into
// a header of their answers, bare, without a scheme: RenewedHeader("X-Auth-Token").
// The header's other values, if it comes more than once, are not looked at. A name
// that cannot be a header's (RFC 9110, section 5.1) gives nil, as if Renewed was
// not set.
func RenewedHeader(name string) func(*http.Response) (*Token, bool) {
	if !isHeaderName(name) {
		return nil
	}
	name = http.CanonicalHeaderKey(name)
	return func(resp *http.Response) (*Token, bool) {
		value := ""
		if values := resp.Header[name]; len(values) > 0 {
			value = strings.TrimSpace(values[0])
		}
		if value == "" {
			return nil, false
		}
		return &Token{AccessToken: value}, true
	}
}

// renewals is what a session knows of the tokens that came in answers. Session.mu
// guards it.
//
// Such a token is in use before it is stored. Until then it has the era and number
// of what the store holds: the number is the store's business. A refresh therefore
// finds the stored record unchanged and presents the token in unstored in its
// place; a refresh in another process wins, because its number is higher. When the
// token is stored it gets the next number, and its generation stays.
type renewals struct {
	last       uint64 // the last generation that came in an answer
	unstored   *held  // what is held, or was when the session was closed; nil: it is stored
	due        bool   // unstored is to be stored
	storing    bool   // storeRenewals runs
	refreshing bool   // a refresh runs
}

// forget is for when the session turns to another token, or to none. r may be nil.
func (r *renewals) forget() {
	if r != nil {
		r.unstored, r.due = nil, false
	}
}

// now is a copy of r, for reading. r may be nil.
func (r *renewals) now() renewals {
	if r == nil {
		return renewals{}
	}
	return *r
}

// setRefreshing notes whether a refresh runs. r may be nil.
func (r *renewals) setRefreshing(runs bool) {
	if r != nil {
		r.refreshing = runs
	}
}

// sendTime is when a request is sent, if anybody is going to ask.
func (s *Session) sendTime() time.Time {
	if s.findRenewed == nil {
		return time.Time{}
	}
	return wallNow()
}

func wallNow() time.Time { return time.Now().Round(0) }

// renewedBy looks for a token in resp, which answers a request that was sent with
// h. resp is nil if there was no answer.
func (s *Session) renewedBy(resp *http.Response, h *held, sent time.Time) {
	if s.findRenewed != nil && resp != nil {
		s.findAndAdopt(resp, h, sent)
	}
}

// findAndAdopt makes the token in resp the session's, unless the session has
// another token than h by now: that came in an earlier answer, or from a refresh,
// login or logout, all of which win.
func (s *Session) findAndAdopt(resp *http.Response, h *held, sent time.Time) {
	t, ok := s.findRenewed(resp)
	if !ok || t == nil || !renews(t, h.record.Token) || s.held.Load().generation != h.generation {
		return
	}
	t, err := s.complete(t, h.record.Token, sent)
	if err != nil {
		s.note(slog.LevelDebug, "token in an answer ignored", "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.held.Load()
	if s.closed || now.generation != h.generation || s.renewals.refreshing {
		return
	}
	r := now.record // its number may be higher than h's: h was stored meanwhile
	r.Token = t
	next := s.adoptLocked(r, true)
	s.renewals.last = next.generation
	s.renewals.unstored = next
	s.storeSoonLocked()
	s.note(slog.LevelDebug, "token renewed by the server", "generation", next.generation, "expiry", t.Expiry)
}

// renews reports whether t is another token than the one that was sent. Some
// servers repeat that in each answer.
func renews(t, sent *Token) bool {
	return t.AccessToken != sent.AccessToken ||
		t.RefreshToken != "" && t.RefreshToken != sent.RefreshToken
}

// cameInAnswer reports whether h is a token that the server sent by itself.
func (s *Session) cameInAnswer(h *held) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewals.now().last == h.generation
}

func (s *Session) refreshEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewals.setRefreshing(false)
}
