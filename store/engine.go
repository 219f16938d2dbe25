package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A medium is where an engine keeps its records. It need not be quick, and it may
// lose replies: the engine finds out what became of a write.
type medium interface {
	// get returns the newest bytes of key, nil if there are none. They belong
	// to the caller.
	get(ctx context.Context, key string) ([]byte, error)

	// compareAndSwap stores new if what is stored is exactly old; nil is
	// absent. After an error it may have happened or may happen later, unless
	// the error is errNotWritten.
	compareAndSwap(ctx context.Context, key string, old, new []byte) (swapped bool, err error)

	// where names the record of key in errors.
	where(key string) string
}

// errNotWritten marks an error of a medium after which nothing was and nothing
// will be written.
var errNotWritten = errors.New("nothing was written")

// A keeper is a medium that can keep bytes that are about to be overwritten,
// though nobody understands them.
type keeper interface {
	keepAside(ctx context.Context, key string, raw []byte) error
}

// A turn is how one Refresh gets hold of a key. Kinds of store differ in nothing
// else: some have a lock beside the record, others know only what the record says.
type turn interface {
	// ready reports whether the caller may claim r, the record as it was just
	// read. If not, ready waits a little for that to change, and the caller
	// reads the record again.
	ready(ctx context.Context, r *record) (bool, error)

	// end gives up what ready took. The claim in the record is the caller's.
	end()
}

// noTurn takes the place of a turn that somebody else ends.
type noTurn struct{}

func (noTurn) ready(context.Context, *record) (bool, error) { return false, nil }
func (noTurn) end()                                         {}

// An engine is the protocol by which processes share one rotating refresh token
// through something that can only read and compare-and-swap. It implements the
// contract of tokenclient.Store. The rules it keeps:
//
//   - Every write has a fresh write id, so equal bytes are the same write, and a
//     reply that was lost can be made up for by reading.
//   - A login or logout begins an era, named by its write id; each refresh adds
//     one to the number. Era and number alone decide what a record means and what
//     may be written over it; a hold decides only who may present a token.
//   - A presentation is announced in the record before it is made. So whoever
//     comes next can tell a token that is certainly good from one that may be
//     spent.
type engine struct {
	medium  medium
	sealer  *Sealer
	newTurn func(key string) turn

	// margin is what a hold is longer than the call. 0: just what the medium
	// needs to write the claim, because the turn is not lost when a holder is
	// stopped.
	margin time.Duration

	timing *timing // nil: the machine's

	mu      sync.Mutex // guards what follows
	unsaved map[string][]*tokenclient.NotSavedError
	refused map[string]refusal
}

// An entry is a record along with its bytes, which the next compare-and-swap must
// name.
type entry struct {
	raw []byte  // nil: absent
	rec *record // nil: absent, or not understood
}

// era is zero if there is no record.
func (q entry) era() (id [16]byte) {
	if q.rec != nil {
		id = q.rec.era
	}
	return id
}

// header is all of q that can be told without a key.
func (q entry) header() tokenclient.Record {
	if q.rec == nil {
		return tokenclient.Record{}
	}
	return tokenclient.Record{
		Era: q.rec.era, Number: q.rec.number, Announced: int(q.rec.announced), State: q.rec.state,
	}
}

func newID() (id [16]byte) {
	rand.Read(id[:]) // never fails
	return id
}

// fail gives an error of the medium or the sealer its place, if it does not name
// that itself, and its kind, if it has none yet.
func (e *engine) fail(ctx context.Context, op, key string, err error) error {
	if where := e.medium.where(key); !strings.Contains(err.Error(), where) {
		op += " " + where
	}
	if errors.Is(err, tokenclient.ErrStoreCorrupt) {
		return fmt.Errorf("store: %s: %w", op, err)
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w (%w)", err, ended) // media may have words of their own for it
	}
	if errors.Is(err, tokenclient.ErrStoreUnavailable) {
		return fmt.Errorf("store: %s: %w", op, err)
	}
	return fmt.Errorf("store: %s: %w: %w", op, tokenclient.ErrStoreUnavailable, err)
}

// read returns the entry of key. If its header cannot be understood, the error is
// ErrStoreCorrupt and the entry has the bytes.
func (e *engine) read(ctx context.Context, key string) (entry, error) {
	raw, err := e.medium.get(ctx, key)
	if err != nil {
		return entry{}, e.fail(ctx, "read", key, err)
	}
	if raw == nil {
		return entry{}, nil
	}
	r, err := decodeRecord(raw)
	if err != nil {
		return entry{raw: raw}, e.fail(ctx, "read", key, err)
	}
	return entry{raw, r}, nil
}

// answer is q as callers get it. The error is ErrNoToken if there is no token in
// it; after any error the Record has the header.
func (e *engine) answer(ctx context.Context, key string, q entry) (tokenclient.Record, error) {
	rec := q.header()
	if rec.State != tokenclient.Active {
		return rec, tokenclient.ErrNoToken
	}
	t, err := e.sealer.open(ctx, key, q.rec)
	if err != nil {
		return rec, e.fail(ctx, "open", key, err)
	}
	rec.Token = t
	return rec, nil
}

func (e *engine) load(ctx context.Context, key string) (tokenclient.Record, error) {
	q, err := e.read(ctx, key)
	if err != nil {
		return tokenclient.Record{}, err
	}
	return e.answer(ctx, key, q)
}

// replace is a login or, if t is nil, a logout. It looks at no hold: people do not
// wait for a refresh to log out, and the refresh finds another era when it saves.
// For the same reason fn may call it.
//
// A write that may have been lost is repeated only while the era is the one first
// read. Otherwise a login whose reply was lost could be repeated over a later
// logout, and would bring the session back.
func (e *engine) replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	next, err := e.newEra(ctx, key, t)
	if err != nil {
		return now, was, err
	}
	over, err := e.readOver(ctx, key, entry{}, t != nil)
	if err != nil {
		return now, was, err
	}
	first, corrupt := over.era(), over.rec == nil && over.raw != nil
	raw := next.encode()
	found := entry{raw, next}
	for p := e.patience(); ; {
		swapped, err := e.medium.compareAndSwap(ctx, key, over.raw, raw)
		if swapped && err == nil {
			break
		}
		if errors.Is(err, errNotWritten) {
			return now, was, e.fail(ctx, "write", key, err)
		}
		q, err := e.readAgain(ctx, key, p, over, corrupt, err)
		if err != nil {
			return now, was, err
		}
		if q.rec != nil && q.rec.writeID == next.writeID {
			break
		}
		if q.era() != first {
			found = q // a later login or logout; or ours, and what came of it
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

// newEra returns the record that begins an era with t, or with a tombstone.
func (e *engine) newEra(ctx context.Context, key string, t *tokenclient.Token) (*record, error) {
	id := newID()
	r := &record{writeID: id, era: id, state: tokenclient.LoggedOut}
	if t == nil {
		return r, nil
	}
	if err := notEmpty(t); err != nil {
		return nil, err
	}
	r.state, r.number = tokenclient.Active, 1
	d, err := e.sealer.newDataKey(ctx, key)
	if err != nil {
		return nil, e.fail(ctx, "seal", key, err)
	}
	return r, d.seal(r, t)
}

// notEmpty guards the record against a token that is none: it would be written
// over a good one.
func notEmpty(t *tokenclient.Token) error {
	if t.AccessToken == "" && t.RefreshToken == "" {
		return errors.New("store: a token with neither access nor refresh token")
	}
	return nil
}

// readOver reads what replace is about to write over. If nobody can understand it,
// a login may have it all the same, except if a later version of this package
// would understand it; its bytes are kept aside first, unless that was done for
// last.
func (e *engine) readOver(ctx context.Context, key string, last entry, evenCorrupt bool) (entry, error) {
	q, err := e.read(ctx, key)
	if err == nil || !evenCorrupt || q.raw == nil || errors.Is(err, errNewerFormat) {
		return q, err
	}
	if k, ok := e.medium.(keeper); ok && !bytes.Equal(q.raw, last.raw) {
		if err := k.keepAside(ctx, key, q.raw); err != nil {
			return entry{}, e.fail(ctx, "keep aside", key, err)
		}
	}
	return q, nil
}

// readAgain reads what is there after a write of replace over last that failed
// with cause, or met another record if cause is nil.
func (e *engine) readAgain(ctx context.Context, key string, p *patience, last entry, evenCorrupt bool, cause error) (entry, error) {
	if cause == nil {
		cause = errChanging
	}
	for p.wait(ctx) {
		q, err := e.readOver(ctx, key, last, evenCorrupt)
		if !errors.Is(err, tokenclient.ErrStoreUnavailable) || errors.Is(err, errNewerFormat) {
			return q, err
		}
		cause = err
	}
	return entry{}, e.fail(ctx, "write", key, cause)
}

// errChanging is why a compare-and-swap was given up that never failed.
var errChanging = errors.New("the record changes all the time")
