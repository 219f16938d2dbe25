package protocol

import (
	"bytes"
	"context"
	"fmt"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// refuse makes the record a tombstone if it still holds the token that the server
// refused with refusal. done is false if another has claimed that token since: it
// is left to find out by itself, and the flight begins anew.
func (f *flight) refuse(ctx context.Context, q entry, refusal error) (rec tokenclient.Record, done bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patienceLimit)
	defer cancel()
	r := *q.rec
	r.WriteID, r.State, r.Lease, r.LeaseLen, r.Sealed = newID(), tokenclient.Refused, [16]byte{}, 0, nil
	raw := r.Encode()
	for p := f.e.patience(); ; {
		swapped, err := f.e.Medium.CompareAndSwap(ctx, f.key, q.raw, raw)
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
			case found.rec == nil || found.rec.State != tokenclient.Active:
				f.e.forgetRefusal(f.key)
				return found.header(), true, refusal
			case found.rec.Era != r.Era || found.rec.Number > r.Number:
				f.e.forgetRefusal(f.key)
				rec, err := f.e.answer(ctx, f.key, found)
				return rec, true, err
			case found.rec.Lease != f.lease && !bytes.Equal(found.raw, q.raw):
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
func (e *Engine) refusalOf(key string, r *Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.refused[key]; f.era == r.Era && f.number == r.Number {
		return f.err
	}
	return nil
}

func (e *Engine) rememberRefusal(key string, r *Record, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refused == nil {
		e.refused = make(map[string]refusal)
	}
	e.refused[key] = refusal{r.Era, r.Number, err}
}

func (e *Engine) forgetRefusal(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.refused, key)
}
