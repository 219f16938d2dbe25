package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// finish does what the outcome of fn asks for. done is as for present. ctx is not
// the caller's: from here on nobody may leave.
func (f *flight) finish(ctx context.Context, held entry, cur tokenclient.Record, res outcome) (rec tokenclient.Record, done bool, err error) {
	switch {
	case res.err == nil:
		rec, err = f.save(ctx, held, res.token)
		return rec, true, err
	case errors.Is(res.err, tokenclient.ErrRefused):
		f.e.rememberRefusal(f.key, held.rec, res.err)
		return f.refuse(ctx, held, res.err)
	}
	announced, linger := held.rec.announced, time.Duration(0)
	switch {
	case notSpent(res.err):
		announced = f.before
	case res.late || timedOut(res.err):
		// The server may be at work on the request, and who presented the token
		// meanwhile would end the session. Whoever gave up early says nothing about
		// that; and if the process was stopped in the call, or the connection was
		// slow to come about, the request left late, and is handled later than the
		// timeout, by up to the margin.
		linger = f.timeout + f.margin
		if age, ok := f.e.timing.elapsed(f.issued); ok {
			linger = max(linger-age, f.margin)
		}
	}
	f.release(ctx, held, announced, linger)
	cur.Announced = int(announced)
	return cur, true, res.err
}

// notSpent tells the failures after which the refresh token is as good as before:
// nothing was sent, or the server answered that it is the request that is at
// fault. A 5xx is not among them: a proxy sends it after the server behind it has
// rotated, too; nor is 408, which may be a proxy's.
func notSpent(err error) bool {
	var t *tokenclient.TokenError
	return errors.Is(err, tokenclient.ErrNotPresented) ||
		errors.As(err, &t) && t.StatusCode >= 400 && t.StatusCode < 500 && t.StatusCode != 408
}

// timedOut reports whether err says that there was no answer in time, be it the
// context's time or that of a connection.
func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// release frees the hold in the record, or shortens what is left of it to linger,
// once: if that fails, those who come next wait for the length of the lease, and no
// harm is done.
func (f *flight) release(ctx context.Context, held entry, announced uint8, linger time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patienceLimit)
	defer cancel()
	r := *held.rec
	r.writeID, r.leaseLen, r.announced = newID(), linger, announced
	if linger == 0 {
		r.lease = [16]byte{}
	}
	_, _ = f.e.medium.compareAndSwap(ctx, f.key, held.raw, r.encode())
}

// retract takes a claim back that was not used, if it is in the record at all.
func (f *flight) retract(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patienceLimit)
	defer cancel()
	q, err := f.e.read(ctx, f.key)
	if err == nil && q.rec != nil && q.rec.lease == f.lease {
		f.release(ctx, q, f.before, 0)
	}
}

// A saving is a token on its way into the record.
type saving struct {
	e    *engine
	key  string
	over entry   // the record that it goes over next
	next *record // the same write, with the same write id, in all tries
	raw  []byte  // of next; nil: not sealed yet
	t    *tokenclient.Token
	data *dataKey
}

// save stores t as the token after held. If that fails for too long, the result is
// a NotSavedError, and the turn goes to that: while it is pending nobody may
// present the token in the record, which is spent.
func (f *flight) save(ctx context.Context, held entry, t *tokenclient.Token) (tokenclient.Record, error) {
	s := &saving{
		e: f.e, key: f.key, over: held, t: t.Clone(), data: f.data,
		next: &record{writeID: newID(), era: held.rec.era, number: held.rec.number + 1, state: tokenclient.Active},
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
			turn.end()
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
	case q.rec == nil || q.rec.state == tokenclient.LoggedOut:
		return q.header(), tokenclient.ErrNoToken
	case q.rec.era != f.seen.Era || q.rec.number > f.seen.Number:
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
	return f.save(detached, entry{q.raw, &record{era: f.seen.Era, number: f.seen.Number}}, res.token)
}

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
		if err := s.data.seal(s.next, s.t); err != nil {
			// What cannot be stored must not cost the pair.
			bare := s.t.Clone()
			bare.Extra = nil
			if s.data.seal(s.next, bare) != nil {
				return tokenclient.Record{}, err
			}
		}
		s.raw = s.next.encode()
	}
	for p := (&backoff{timing: s.e.timing}); ; {
		swapped, err := s.e.medium.compareAndSwap(ctx, s.key, s.over.raw, s.raw)
		if err == nil && swapped {
			return s.saved(), nil
		}
		q, readErr := s.e.read(ctx, s.key)
		if readErr != nil {
			return tokenclient.Record{}, readErr
		}
		switch {
		case q.rec != nil && q.rec.writeID == s.next.writeID:
			return s.saved(), nil
		case q.era() != s.next.era:
			return s.lost(ctx, q, tokenclient.ErrReplaced)
		case q.rec.number >= s.next.number:
			return s.lost(ctx, q, tokenclient.ErrOvertaken)
		}
		s.over = q
		if err == nil {
			err = sleep(ctx, p.next())
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

// refuse makes the record a tombstone if it still holds the token that the server
// refused with refusal. done is false if another has claimed that token since: it
// is left to find out by itself, and the flight begins anew.
func (f *flight) refuse(ctx context.Context, q entry, refusal error) (rec tokenclient.Record, done bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patienceLimit)
	defer cancel()
	r := *q.rec
	r.writeID, r.state, r.lease, r.leaseLen, r.sealed = newID(), tokenclient.Refused, [16]byte{}, 0, nil
	raw := r.encode()
	for p := f.e.patience(); ; {
		swapped, err := f.e.medium.compareAndSwap(ctx, f.key, q.raw, raw)
		if err == nil && swapped {
			f.e.forgetRefusal(f.key)
			return entry{rec: &r}.header(), true, refusal
		}
		if err == nil {
			err = errChanging
		}
		found, readErr := f.e.read(ctx, f.key)
		if readErr == nil {
			switch {
			case found.rec == nil || found.rec.state != tokenclient.Active:
				f.e.forgetRefusal(f.key)
				return found.header(), true, refusal
			case found.rec.era != r.era || found.rec.number > r.number:
				f.e.forgetRefusal(f.key)
				rec, err := f.e.answer(ctx, f.key, found)
				return rec, true, err
			case found.rec.lease != f.lease && !bytes.Equal(found.raw, q.raw):
				f.refusal, f.lease = refusal, newID()
				return rec, false, nil
			}
			q = found
		} else {
			err = readErr
		}
		if !p.wait(ctx) {
			// Without another look at the store nobody knows whether the token
			// was refused because another process has exchanged it. So this is
			// no refusal yet; it is remembered, and the token not sent again.
			return rec, true, f.e.fail(ctx, "write", f.key, fmt.Errorf("%w (the server said: %v)", err, refusal))
		}
	}
}

// A refusal is a token that the server refused while the store could not be told.
type refusal struct {
	era    [16]byte
	number uint64
	err    error
}

// refusalOf returns the error of the server that refused the token of r, nil if
// it is not known to.
func (e *engine) refusalOf(key string, r *record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.refused[key]; f.era == r.era && f.number == r.number {
		return f.err
	}
	return nil
}

func (e *engine) rememberRefusal(key string, r *record, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refused == nil {
		e.refused = make(map[string]refusal)
	}
	e.refused[key] = refusal{r.era, r.number, err}
}

func (e *engine) forgetRefusal(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.refused, key)
}

// settle stores what is not stored yet of key. Its error is that of a store that
// cannot be used: as long as a newer token is not in it, nothing may be done with
// the one that is.
func (e *engine) settle(ctx context.Context, key string) error {
	e.mu.Lock()
	unsaved := slices.Clone(e.unsaved[key])
	e.mu.Unlock()
	for _, u := range unsaved {
		if err := u.Save(ctx); !settled(err) {
			return e.fail(ctx, "save the last token of", key, err)
		}
	}
	return nil
}

func (e *engine) rememberUnsaved(key string, u *tokenclient.NotSavedError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.unsaved == nil {
		e.unsaved = make(map[string][]*tokenclient.NotSavedError)
	}
	e.unsaved[key] = append(e.unsaved[key], u)
}

func (e *engine) forgetUnsaved(key string, u *tokenclient.NotSavedError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rest := slices.DeleteFunc(e.unsaved[key], func(v *tokenclient.NotSavedError) bool { return v == u })
	if len(rest) == 0 {
		delete(e.unsaved, key)
	} else {
		e.unsaved[key] = rest
	}
}
