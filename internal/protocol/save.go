package protocol

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A saving is a token on its way into the record.
type saving struct {
	e    *Engine
	key  string
	over entry   // the record that it goes over next
	next *Record // the same write, with the same write id, in all tries
	raw  []byte  // of next; nil: not sealed yet
	t    *tokenclient.Token
	data DataKey
}

// save stores t as the token after held. If that fails for too long, the result is
// a NotSavedError, and the turn goes to that: while it is pending nobody may
// present the token in the record, which is spent.
func (f *flight) save(ctx context.Context, held entry, t *tokenclient.Token) (tokenclient.Record, error) {
	s := &saving{
		e: f.e, key: f.key, over: held, t: t.Clone(), data: f.data,
		next: &Record{WriteID: newID(), Era: held.rec.Era, Number: held.rec.Number + 1, State: tokenclient.Active},
	}
	tryCtx, cancel := context.WithTimeout(ctx, patienceLimit)
	defer cancel()
	var rec tokenclient.Record
	var err error
	for p := f.e.patience(); ; {
		if rec, err = s.try(tryCtx); settled(err) {
			return rec, err
		}
		if !p.wait(tryCtx) {
			break
		}
	}
	turn := f.turn
	f.turn = noTurn{}
	var pending *tokenclient.NotSavedError
	pending = tokenclient.NewNotSavedError(f.key, t.Clone(), err, func(ctx context.Context) error {
		_, err := s.try(ctx)
		if settled(err) {
			f.e.forgetUnsaved(f.key, pending)
			turn.End()
		}
		return err
	})
	f.e.rememberUnsaved(f.key, pending)
	return s.saved(), pending
}

// saveAlone stores what fn returns without a hold, which only presentations need. A
// token that follows the one in the record goes over whatever claim there is.
func (f *flight) saveAlone(ctx context.Context) (tokenclient.Record, error) {
	if err := f.e.settle(ctx, f.key); err != nil {
		return tokenclient.Record{}, err
	}
	q, err := f.e.read(ctx, f.key)
	switch {
	case err != nil:
		return tokenclient.Record{}, err
	case q.rec == nil || q.rec.State == tokenclient.LoggedOut:
		return q.header(), tokenclient.ErrNoToken
	case q.rec.Era != f.seen.Era || q.rec.Number > f.seen.Number:
		return f.e.answer(ctx, f.key, q)
	}
	if err := f.makeDataKey(ctx); err != nil {
		return tokenclient.Record{}, err
	}
	detached := context.WithoutCancel(ctx)
	res := call(detached, f.fn, f.seen)
	if res.err != nil {
		return q.header(), res.err
	}
	return f.save(detached, entry{q.raw, &Record{Era: f.seen.Era, Number: f.seen.Number}}, res.token)
}

// noTurn takes the place of a turn that somebody else ends.
type noTurn struct{}

func (noTurn) Ready(context.Context, *Record) (bool, error) { return false, nil }
func (noTurn) End()                                         {}

// settled says that the outcome of a save is final.
func settled(err error) bool {
	return err == nil || errors.Is(err, tokenclient.ErrReplaced) || errors.Is(err, tokenclient.ErrOvertaken)
}

// saved is the record as it is once the save is done.
func (s *saving) saved() tokenclient.Record {
	rec := entry{rec: s.next}.header()
	rec.Token = s.t.Clone()
	return rec
}

// try makes one try. What decides is not who holds the key but what it holds: a
// holder that lost its hold is often the only one who has the pair that works, and
// may store it over any record of the era that is not newer, be it claimed by
// another, refused, or rolled back.
func (s *saving) try(ctx context.Context) (tokenclient.Record, error) {
	if s.raw == nil {
		if err := s.data.Seal(s.next, s.t); err != nil {
			// What cannot be stored must not cost the pair.
			bare := s.t.Clone()
			bare.Extra = nil
			if s.data.Seal(s.next, bare) != nil {
				return tokenclient.Record{}, err
			}
		}
		s.raw = s.next.Encode()
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
		switch {
		case q.rec != nil && q.rec.WriteID == s.next.WriteID:
			return s.saved(), nil
		case q.era() != s.next.Era:
			return s.lost(ctx, q, tokenclient.ErrReplaced)
		case q.rec.Number >= s.next.Number:
			return s.lost(ctx, q, tokenclient.ErrOvertaken)
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

// lost returns the record that is stored instead.
func (s *saving) lost(ctx context.Context, q entry, kind error) (tokenclient.Record, error) {
	rec, err := s.e.answer(ctx, s.key, q)
	if err != nil && !errors.Is(err, tokenclient.ErrNoToken) {
		return rec, fmt.Errorf("%w (which cannot be read: %v)", kind, err)
	}
	return rec, kind
}
