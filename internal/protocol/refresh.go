package protocol

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// refreshFunc is the fn of tokenclient.Store.Refresh.
type refreshFunc = func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error)

// A flight is one call of Refresh: at most one hold at a time, at most one call of
// fn.
type flight struct {
	e       *Engine
	key     string
	seen    tokenclient.Record
	timeout time.Duration
	fn      refreshFunc

	turn    Turn          // nil: a save that is pending has it
	lease   [16]byte      // new for each hold: one that is found in a record is ours
	margin  time.Duration // what the hold is longer than the call
	reserve time.Duration // what is left of margin when fn is called
	data    DataKey       // seals the result; nil until first needed

	claiming bool      // a claim of ours may be in the record, and fn was not called
	before   uint8     // what the record announced before our claim
	issued   time.Time // when the last claim was issued
	patience patience  // with writes and reads that fail
	refusal  error     // fn's, while the record is not a tombstone yet

	lingers time.Duration // for how long fn's request may be at work, though fn has returned
}

// The longest hold that there may be is the longest call and the longest margin. A record
// that says more was forged, by somebody who can write to the store and has no key, and
// would keep everybody waiting for weeks.
const (
	maxTimeout = time.Hour
	MaxMargin  = time.Hour // of an Engine
	maxHold    = maxTimeout + MaxMargin
)

// reentry is the key under which the context of fn says whose fn it is.
type reentry struct {
	e   *Engine
	key string
}

// Refresh has fn exchange the token that follows seen, unless a newer one is stored.
func (e *Engine) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn refreshFunc) (tokenclient.Record, error) {
	if ctx.Value(reentry{e, key}) != nil {
		return tokenclient.Record{}, tokenclient.ErrReentrant
	}
	if err := e.made("Refresh"); err != nil {
		return tokenclient.Record{}, err
	}
	if timeout <= 0 || timeout > maxTimeout {
		return tokenclient.Record{}, fmt.Errorf("store: Refresh with a timeout of %v", timeout)
	}
	f := &flight{
		e: e, key: key, seen: seen, timeout: timeout, fn: fn,
		turn: e.turn(key), lease: newID(),
		margin: e.Margin, reserve: min(e.Margin/2, time.Second),
		patience: *e.patience(),
	}
	if f.margin == 0 {
		f.margin = min(max(timeout/4, 250*time.Millisecond), time.Second)
	}
	return f.run(ctx)
}

// run looks at the record, again and again, until it is newer than what the caller
// has seen or may be claimed. Only era and number decide which it is: a text that
// differs may as well come from an old backup.
func (f *flight) run(ctx context.Context) (tokenclient.Record, error) {
	defer f.leave(ctx)
	for waited := false; ; {
		// A token of ours that is not stored yet is newer than whatever is; the
		// one in the record is spent.
		if err := f.e.settle(ctx, f.key); err != nil {
			return tokenclient.Record{}, err
		}
		q, err := f.e.read(ctx, f.key)
		switch {
		case err != nil && f.claiming && f.patience.wait(ctx):
			continue // to leave now would block the key for others
		case err != nil && waited && ctx.Err() != nil:
			return tokenclient.Record{}, f.e.fail(ctx, "wait for", f.key, errHeld) // not what ctx happened to end in
		case err != nil:
			return tokenclient.Record{}, err
		case q.rec == nil || q.rec.State != tokenclient.Active:
			if f.refusal != nil {
				return q.header(), f.refusal
			}
			return q.header(), tokenclient.ErrNoToken
		case q.rec.Era != f.seen.Era || q.rec.Number > f.seen.Number:
			return f.e.answer(ctx, f.key, q)
		case q.rec.Number < f.seen.Number:
			if err := f.restore(ctx, q); err != nil {
				return tokenclient.Record{}, err
			}
			continue
		}
		if q.rec.Lease != f.lease {
			if ready, err := f.turn.Ready(ctx, q.rec); err != nil {
				return tokenclient.Record{}, f.e.fail(ctx, "wait for", f.key, err)
			} else if !ready {
				waited = true
				continue
			}
		}
		if known := f.e.refusalOf(f.key, q.rec); known != nil {
			if rec, done, err := f.refuse(ctx, q, known); done {
				return rec, err
			}
			continue
		}
		held, cur, err := f.claim(ctx, q)
		if err != nil {
			return tokenclient.Record{}, err
		}
		if held.rec == nil {
			continue
		}
		if rec, done, err := f.present(ctx, held, cur); done {
			return rec, err
		}
	}
}

// leave leaves the key to others.
func (f *flight) leave(ctx context.Context) {
	if f.claiming {
		f.retract(ctx)
	}
	if f.turn != nil {
		f.turn.End(f.lingers)
	}
}

var errHeld = errors.New("held by another process or session")

// restore writes what the caller has seen over an older record of its era: the
// store was rolled back, and what the caller has is the newest there is.
func (f *flight) restore(ctx context.Context, q entry) error {
	if f.seen.Token == nil {
		return f.e.fail(ctx, "refresh", f.key, fmt.Errorf("it went back from number %d to %d, and the caller has no token to mend it",
			f.seen.Number, q.rec.Number))
	}
	r := &Record{
		WriteID: newID(), Era: f.seen.Era, Number: f.seen.Number, State: tokenclient.Active,
		Announced: uint8(min(max(f.seen.Announced, 0), 255)),
	}
	if err := f.makeDataKey(ctx); err != nil {
		return err
	}
	if err := f.data.Seal(r, f.seen.Token); err != nil {
		return err
	}
	_, err := f.swap(ctx, q, r)
	return err
}

// claim takes the hold in the record and announces the presentation, in one write:
// nobody holds a key without having announced, and nothing is announced twice for
// one hold. The entry is empty if another look at the record must decide.
//
// Whatever can fail before the token is spent is done before: to open the token
// that is to be presented, and to make the key that will seal the next one.
func (f *flight) claim(ctx context.Context, q entry) (held entry, cur tokenclient.Record, err error) {
	if f.fn == nil { // where the record is newer, nobody needs one
		return held, cur, errors.New("store: Refresh with a nil function, of a token that has to be exchanged")
	}
	if cur, err = f.e.answer(ctx, f.key, q); err != nil {
		return held, cur, err
	}
	if err := f.makeDataKey(ctx); err != nil {
		return held, cur, err
	}
	r := *q.rec
	r.WriteID = newID()
	if r.Lease != f.lease {
		f.before = r.Announced
		r.Lease = f.lease
		r.Announced = min(r.Announced, 254) + 1
	}
	r.LeaseLen = f.timeout + f.margin
	cur.Announced = int(r.Announced)

	f.claiming, f.issued = true, f.e.timing.now()
	held, err = f.swap(ctx, q, &r)
	if err != nil || held.rec == nil {
		return entry{}, cur, err
	}
	// Others wait for the lease length from when they see the claim. If it is old
	// already, the request could outlive that; it is claimed anew, with more room
	// in case the medium is just slow. What is longer than an operation takes was
	// not the medium: the process or its machine stood still, or the clock was set,
	// and others must not wait for as long if this process dies.
	if age, ok := f.e.timing.elapsed(f.issued); !ok || age > f.margin-f.reserve {
		f.margin = max(f.margin, 2*min(age, OperationTimeout)+f.reserve)
		return entry{}, cur, nil
	}
	return held, cur, nil
}

// swap makes one write before fn. The entry is empty if it may not have happened
// and the record must tell; the error, if it is no use to try again.
func (f *flight) swap(ctx context.Context, over entry, r *Record) (entry, error) {
	raw := r.Encode()
	swapped, err := f.e.Medium.CompareAndSwap(ctx, f.key, over.raw, raw)
	switch {
	case err == nil && swapped:
		return entry{raw, r}, nil
	case err == nil:
		err = Sleep(ctx, f.patience.Next())
	case !errors.Is(err, ErrNotWritten) && f.patience.wait(ctx):
		err = nil
	}
	if err != nil {
		err = f.e.fail(ctx, "write", f.key, err)
	}
	return entry{}, err
}

func (f *flight) makeDataKey(ctx context.Context) error {
	if f.data != nil {
		return nil
	}
	d, err := f.e.Sealer.NewDataKey(ctx, f.key)
	if err != nil {
		return f.e.fail(ctx, "seal", f.key, err)
	}
	f.data = d
	return nil
}
