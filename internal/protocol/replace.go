package protocol

import (
	"bytes"
	"context"
	"errors"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Replace is a login or, if t is nil, a logout. It looks at no hold: people do not
// wait for a refresh to log out, and the refresh finds another era when it saves.
// For the same reason fn may call it.
//
// A write that may have been lost is repeated only while the era is the one first
// read. Otherwise a login whose reply was lost could be repeated over a later
// logout, and would bring the session back.
func (e *Engine) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	if err := e.made("Replace"); err != nil {
		return now, was, err
	}
	next, err := e.newEra(ctx, key, t)
	if err != nil {
		return now, was, err
	}
	ctx = Urgent(ctx)
	over, err := e.readOver(ctx, key, entry{}, t != nil)
	if err != nil {
		return now, was, err
	}
	first, corrupt := over.era(), over.rec == nil && over.raw != nil
	raw := next.Encode()
	found := entry{raw, next}
	unclear := false // it may have been done
	for p := e.patience(); ; {
		swapped, err := e.Medium.CompareAndSwap(ctx, key, over.raw, raw)
		if swapped && err == nil {
			break
		}
		if errors.Is(err, ErrNotWritten) {
			return now, was, e.fail(ctx, "write", key, err)
		}
		unclear = unclear || err != nil
		lost := !unclear && over.raw == nil // what is there now came first
		q, err := e.readAgain(ctx, key, p, over, corrupt, err)
		if err != nil {
			return now, was, err
		}
		if next.isIn(q) {
			break
		}
		if lost && e.isStart(ctx, key, q) {
			first = q.era()
		}
		if q.era() != first {
			found = q // a later login or logout; or ours, and it was refused
			break
		}
		over = q
	}
	e.forgetRefusal(key)

	was = over.header()
	if rec, err := e.answer(ctx, key, over); err == nil {
		was = rec
	}
	if found.rec == next {
		now = found.header()
		now.Token = t.Clone()
		return now, was, nil
	}
	if now, err = e.answer(ctx, key, found); errors.Is(err, tokenclient.ErrNoToken) {
		err = nil
	}
	return now, was, err
}

// isIn reports whether q has what was written with r, the reply to which was lost. If another
// process has refreshed this login since, the caller gets what it wrote all the same, and
// knows by it that it is logged in; of the newer token it learns as of any other.
func (r *Record) isIn(q entry) bool {
	return q.rec != nil && (q.rec.WriteID == r.WriteID || q.rec.Era == r.Era && q.rec.State == tokenclient.Active)
}

// isStart reports whether q is the start of a session that needs no login. Nobody has asked
// for that, so that it overtakes no login or logout. It can come between only where
// nothing was: a write over nothing that has failed for certain can be repeated over it,
// because it did not happen before.
func (e *Engine) isStart(ctx context.Context, key string, q entry) bool {
	r, err := e.answer(ctx, key, q)
	return err == nil && r.Number == 1 && notEmpty(r.Token) != nil
}

// newEra returns the record that begins an era with t, or with a tombstone.
func (e *Engine) newEra(ctx context.Context, key string, t *tokenclient.Token) (*Record, error) {
	id := newID()
	r := &Record{WriteID: id, Era: id, State: tokenclient.LoggedOut}
	if t == nil {
		return r, nil
	}
	r.State, r.Number = tokenclient.Active, 1 // t may be empty: a grant may need no token
	d, err := e.Sealer.NewDataKey(ctx, key)
	if err != nil {
		return nil, e.fail(ctx, "seal", key, err)
	}
	return r, d.Seal(r, t)
}

// notEmpty guards the record against what a refresh brought and is no token: it would be
// written over a good one.
func notEmpty(t *tokenclient.Token) error {
	if t == nil {
		return errors.New("store: a nil token")
	}
	if t.AccessToken == "" && t.RefreshToken == "" {
		return errors.New("store: a token with neither access nor refresh token")
	}
	return nil
}

// readOver reads what Replace is about to write over. If it cannot be understood, a
// login may have it all the same, even if a later version of this package would
// understand it; its bytes are kept aside first, unless that was done for last.
func (e *Engine) readOver(ctx context.Context, key string, last entry, evenCorrupt bool) (entry, error) {
	q, err := e.read(ctx, key)
	if err == nil || !evenCorrupt || q.raw == nil {
		return q, err
	}
	if k, ok := e.Medium.(Keeper); ok && !bytes.Equal(q.raw, last.raw) {
		if err := k.KeepAside(ctx, key, q.raw); err != nil {
			return entry{}, e.fail(ctx, "keep aside", key, err)
		}
	}
	return q, nil
}

// readAgain reads what is there after a write of Replace over last that failed
// with cause, or met another record if cause is nil.
func (e *Engine) readAgain(ctx context.Context, key string, p *patience, last entry, evenCorrupt bool, cause error) (entry, error) {
	if cause == nil {
		cause = errChanging
	}
	for p.wait(ctx) {
		q, err := e.readOver(ctx, key, last, evenCorrupt)
		if !errors.Is(err, tokenclient.ErrStoreUnavailable) || errors.Is(err, ErrNewerFormat) {
			return q, err
		}
		cause = err
	}
	return entry{}, e.fail(ctx, "write", key, cause)
}

// errChanging is why a compare-and-swap was given up that never failed.
var errChanging = errors.New("the record changes all the time")
