package protocol

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Save stores t as the token that follows seen. There is no hold, which only
// presentations need, so it goes over whatever claim there is, unless it would take the
// place of a token that somebody may be exchanging for another at this moment.
//
// Only a pair that cannot be stored leaves something pending: its predecessor, which is
// in the record, is spent. Of any other token the record has the refresh token, and the
// caller goes on with what it has seen: were it to take the token for stored, and others
// to exchange its refresh token, it would mend the store with the older of the two.
//
// An empty token follows nothing but an absent record, and begins an era there: it is the
// start of a session that needs no login, which is never worth a login of somebody's.
func (e *Engine) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	if err := e.made("Save"); err != nil {
		return tokenclient.Record{}, err
	}
	if err := notEmpty(t); err != nil && !begins(seen, t) {
		return tokenclient.Record{}, err
	}
	if err := e.settle(ctx, key); err != nil {
		return tokenclient.Record{}, err
	}
	s := e.newSaving(key, seen.Era, seen.Number, t)
	s.seen = &seen
	if begins(seen, t) {
		s.next.Era = s.next.WriteID
	}
	if s.spends() {
		ctx = Urgent(ctx)
	}
	var err error
	if s.over, err = e.read(ctx, key); err != nil {
		return tokenclient.Record{}, err
	}
	rec, err := s.mayReplace(ctx, s.over)
	if err == nil {
		if s.data, err = e.Sealer.NewDataKey(ctx, key); err != nil {
			return tokenclient.Record{}, e.fail(ctx, "seal", key, err)
		}
		if err = s.seal(); err != nil {
			return tokenclient.Record{}, err
		}
		rec, err = s.persist(ctx, func() {})
	}
	if errors.Is(err, tokenclient.ErrReplaced) &&
		(rec.State == tokenclient.Absent || rec.State == tokenclient.LoggedOut || rec.State == tokenclient.Refused && begins(seen, t)) {
		err = tokenclient.ErrNoToken
	}
	return rec, err
}

// begins reports whether t, which follows seen, is the start of a session that needs no login.
func begins(seen tokenclient.Record, t *tokenclient.Token) bool {
	return seen.State == tokenclient.Absent && seen.Era == [16]byte{} && t != nil && t.AccessToken == "" && t.RefreshToken == ""
}

// A saving is a token on its way into the record.
type saving struct {
	e    *Engine
	key  string
	over entry   // the record that it goes over next
	next *Record // the same write, with the same write id, in all tries
	raw  []byte  // of next; nil: not sealed yet
	t    *tokenclient.Token
	data DataKey

	// seen is what the caller of Save knew. It is nil if t is the result of a
	// presentation, after which the token in the record is spent.
	seen *tokenclient.Record
}

func (e *Engine) newSaving(key string, era [16]byte, number uint64, t *tokenclient.Token) *saving {
	return &saving{
		e: e, key: key, t: t.Clone(),
		next: &Record{WriteID: newID(), Era: era, Number: number + 1, State: tokenclient.Active},
	}
}

// save stores t as the token after held. If that fails for too long, the turn goes to
// the NotSavedError: while it is pending nobody may present the token in the record,
// which is spent.
func (f *flight) save(ctx context.Context, held entry, t *tokenclient.Token) (tokenclient.Record, error) {
	s := f.e.newSaving(f.key, held.rec.Era, held.rec.Number, t)
	s.over, s.data = held, f.data
	turn := f.turn
	rec, err := s.persist(ctx, func() { turn.End(0) })
	if !settled(err) {
		f.turn = nil
	}
	return rec, err
}

// persist tries until the outcome is final or the patience is at its end. Then, if it is
// a pair, the result is a NotSavedError, which calls end when its outcome is.
func (s *saving) persist(ctx context.Context, end func()) (tokenclient.Record, error) {
	tryCtx, cancel := context.WithTimeout(ctx, patienceLimit)
	defer cancel()
	var rec tokenclient.Record
	var err error
	for p := s.e.patience(); ; {
		if rec, err = s.try(tryCtx); settled(err) {
			return rec, err
		}
		if !p.wait(tryCtx) {
			break
		}
	}
	if !s.spends() {
		return tokenclient.Record{}, err
	}
	var pending *tokenclient.NotSavedError
	pending = tokenclient.NewNotSavedError(s.key, s.t.Clone(), err, func(ctx context.Context) error {
		_, err := s.try(Urgent(ctx))
		if settled(err) {
			s.e.forgetUnsaved(s.key, pending)
			end()
		}
		return err
	})
	s.e.rememberUnsaved(s.key, pending)
	return s.saved(), pending
}

// spends reports whether the refresh token in the record is spent, as far as the caller
// knows.
func (s *saving) spends() bool {
	return s.seen == nil || s.t.RefreshToken != "" && s.seen.Token != nil && s.t.RefreshToken != s.seen.Token.RefreshToken
}

// settled says that the outcome of a save is final.
func settled(err error) bool {
	return err == nil || errors.Is(err, tokenclient.ErrReplaced) || errors.Is(err, tokenclient.ErrOvertaken) ||
		errors.Is(err, tokenclient.ErrAnnounced) || errors.Is(err, tokenclient.ErrNoToken)
}

// saved is the record as it is once the save is done.
func (s *saving) saved() tokenclient.Record {
	rec := entry{rec: s.next}.header()
	rec.Token = s.t.Clone()
	return rec
}

// try makes one try.
func (s *saving) try(ctx context.Context) (tokenclient.Record, error) {
	if err := s.seal(); err != nil {
		return tokenclient.Record{}, err
	}
	for p := (&Backoff{timing: s.e.timing}); ; {
		swapped, err := s.e.Medium.CompareAndSwap(ctx, s.key, s.over.raw, s.raw)
		if err == nil && swapped {
			return s.saved(), nil
		}
		q, readErr := s.e.read(ctx, s.key)
		if readErr != nil {
			return tokenclient.Record{}, readErr
		}
		if q.rec != nil && q.rec.WriteID == s.next.WriteID {
			return s.saved(), nil
		}
		if rec, err := s.mayReplace(ctx, q); err != nil {
			return rec, err
		}
		s.over = q
		if err == nil {
			err = Sleep(ctx, p.Next())
		}
		if err != nil {
			return tokenclient.Record{}, s.e.fail(ctx, "write", s.key, err)
		}
	}
}

func (s *saving) seal() error {
	if s.raw != nil {
		return nil
	}
	if err := s.data.Seal(s.next, s.t); err != nil {
		// What cannot be stored must not cost the pair.
		bare := s.t.Clone()
		bare.Extra, bare.Audiences = nil, nil
		if s.data.Seal(s.next, bare) != nil {
			return err
		}
	}
	s.raw = s.next.Encode()
	return nil
}

// mayReplace is nil if the token may be stored over q, which is there; else it says
// why not. What decides is not who holds the key but what it holds: a holder that lost
// its hold is often the only one who has the pair that works, and may store it over any
// record of the era that is not newer, be it claimed by another, refused, or rolled
// back.
func (s *saving) mayReplace(ctx context.Context, q entry) (tokenclient.Record, error) {
	switch {
	case q.rec == nil && s.next.Era == s.next.WriteID:
		return tokenclient.Record{}, nil // the start of a session that needs no login
	case q.rec == nil || q.rec.Era != s.next.Era:
		return s.lost(ctx, q, tokenclient.ErrReplaced)
	case q.rec.Number >= s.next.Number:
		return s.lost(ctx, q, tokenclient.ErrOvertaken)
	case s.seen == nil || s.t.RefreshToken == "":
		return tokenclient.Record{}, nil
	case q.rec.State == tokenclient.Refused:
		// That says something of the token only if it keeps the refresh token that
		// was refused.
		if q.rec.Number == s.seen.Number && s.seen.Token != nil && s.seen.Token.RefreshToken == s.t.RefreshToken {
			return q.header(), tokenclient.ErrNoToken
		}
	case int(q.rec.Announced) > s.seen.Announced:
		// Somebody may be exchanging the refresh token in the record, or has died
		// doing so. If the token keeps that, it would take the number that the new
		// pair needs, and hide that the refresh token may be spent.
		rec, err := s.e.answer(ctx, s.key, q)
		if err == nil && rec.Token.RefreshToken == s.t.RefreshToken {
			err = tokenclient.ErrAnnounced
		}
		return rec, err
	}
	return tokenclient.Record{}, nil
}

// lost returns the record that is stored instead. If it cannot be read, Save has not
// found out yet what became of it; for a presentation it is over.
func (s *saving) lost(ctx context.Context, q entry, kind error) (tokenclient.Record, error) {
	rec, err := s.e.answer(ctx, s.key, q)
	switch {
	case err == nil || errors.Is(err, tokenclient.ErrNoToken):
		return rec, kind
	case s.seen != nil:
		return rec, err
	}
	return rec, fmt.Errorf("%w (which cannot be read: %v)", kind, err)
}
