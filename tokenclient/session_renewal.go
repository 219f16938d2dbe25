package tokenclient

import (
	"context"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// RenewedHeader is a Config.Renewed for servers that put the new access token into
// a header of their answers, bare, without a scheme: RenewedHeader("X-Auth-Token").
// The header's other values, if it comes more than once, are not looked at. [New] refuses
// what a name gives that cannot be a header's (RFC 9110, section 5.1), and that finds no
// token in any answer.
func RenewedHeader(name string) func(*http.Response) (*Token, bool) {
	if !isHeaderName(name) {
		return unnamed // it may come from a configuration file, so this is no panic
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

// unnamed is the RenewedHeader of a name that no header can have.
func unnamed(*http.Response) (*Token, bool) { return nil, false }

// isUnnamed reports whether f is unnamed. No two functions that are declared share their
// code; closures may, and so unnamed is none.
func isUnnamed(f func(*http.Response) (*Token, bool)) bool {
	return reflect.ValueOf(f).Pointer() == reflect.ValueOf(unnamed).Pointer()
}

// sendTime is when a request is sent, if anybody is going to ask.
func (s *Session) sendTime() time.Time {
	if s.findRenewed == nil {
		return time.Time{}
	}
	return time.Now().Round(0)
}

// serverRenews reports whether it is the API's server that may renew h when it has expired.
// A Refresher that presents the access token itself, as a heartbeat does, is no way out then:
// its refusal would end the session. One that has something else to present is.
func (s *Session) serverRenews(h *held) bool {
	return s.refresher == nil ||
		s.findRenewed != nil && h.record.Token.RefreshToken == "" && !canRefresh(s.refresher, new(Token))
}

// renewedBy looks for a token in resp, which answers a request that was sent with h. resp is
// nil if there was no answer.
func (s *Session) renewedBy(resp *http.Response, h *held, sent time.Time) {
	if s.findRenewed == nil || resp == nil {
		return
	}
	t, ok := s.findRenewed(resp)
	if !ok || t == nil || !renews(t, h.record.Token) || s.holds().generation != h.generation {
		return
	}
	t, err := s.complete(t, h.record.Token, sent)
	if err != nil {
		s.note(slog.LevelDebug, "token in an answer ignored", "err", err)
		return
	}
	keep := !s.storeless() // it would be one memory for another
	s.change(func(st *state, now time.Time) effects { return st.renewedBy(h, t, keep, now) })
	s.saveRenewedSoon()
}

// renews reports whether t is another token than the one that was sent. Some servers repeat
// that in each answer.
func renews(t, sent *Token) bool {
	return t.AccessToken != sent.AccessToken ||
		t.RefreshToken != "" && t.RefreshToken != sent.RefreshToken
}

// saveRenewedSoon has renewed tokens stored in the background until there is none left to store.
// Those that come faster than they can be written are stored together: the newest of them.
func (s *Session) saveRenewedSoon() {
	if !s.renewalDue() || !s.storing.CompareAndSwap(false, true) {
		return
	}
	s.inBackground(func() {
		var retry limit.Retry
		for s.renewalDue() && s.isOpen() { // Close makes the last attempt
			err := s.saveRenewedInFlight()
			if err == nil {
				retry = limit.Retry{}
				continue
			}
			if s.isOpen() { // else it is too early to say
				s.saveFailed(err)
			}
			s.pause(&retry)
		}
		s.storing.Store(false)
		if s.isOpen() {
			s.saveRenewedSoon() // what came in between
		}
	})
}

// saveRenewedInFlight runs saveRenewed under the flight name of refreshes, because a save and a
// refresh must not run at the same time: the save would get the number that the refresh wants.
// Who needs a refresh and joins a save looks again when that is over. A save that joins a
// refresh does nothing and returns nil.
func (s *Session) saveRenewedInFlight() (err *NotSavedError) {
	<-s.flights.DoChan("refresh", func() (any, error) {
		if s.begin() { // else Close has made the last attempt, or is going to
			defer s.finish()
			err = s.saveRenewed(s.lifetime())
		}
		return nil, errFenced
	})
	return err
}

// saveRenewedLast is Close's attempt to store what no other has. Everything of the session's
// own has ended, unless the context of Close has.
func (s *Session) saveRenewedLast(ctx context.Context) *NotSavedError {
	ctx, cancel := context.WithTimeout(s.insideContext(ctx), s.timeout)
	defer cancel()
	for s.renewalDue() {
		if err := s.saveRenewed(ctx); err != nil {
			return err
		}
	}
	return nil
}

// saveRenewedAgain is NotSavedError.Save of a renewed token.
func (s *Session) saveRenewedAgain(ctx context.Context) error {
	for s.isOpen() && s.renewalDue() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.saveRenewedInFlight(); err != nil {
			return err.Err
		}
	}
	if err := s.saveRenewedLast(ctx); err != nil {
		return err.Err
	}
	return nil
}

func (s *Session) renewalDue() (due bool) {
	s.ask(func(st *state, _ time.Time) { _, _, due = st.saveBegins() })
	return due
}

// saveRenewed tries to store the renewed token. An error says that it is to be tried again;
// without one there may be something to store all the same.
func (s *Session) saveRenewed(ctx context.Context) *NotSavedError {
	var fence uint64
	var h *held
	var due bool
	s.ask(func(st *state, _ time.Time) { fence, h, due = st.saveBegins() })
	if !due {
		return nil
	}
	seen := h.record
	seen.Announced = 0
	if s.refresher == nil {
		seen.Announced = math.MaxUint8 // somebody else may be exchanging it; this session has no use for that pair
	}
	r, err := s.save(ctx, seen, h.record.Token.Clone())
	s.change(func(st *state, now time.Time) (fx effects) {
		fx, err = st.saveEnds(fence, h, r, err, now)
		return fx
	})
	if err == nil {
		return nil
	}
	return NewNotSavedError(s.key, h.record.Token.Clone(), err, s.saveRenewedAgain)
}
