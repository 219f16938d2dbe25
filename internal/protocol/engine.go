package protocol

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Medium is where an [Engine] keeps its records. It need not be quick, and it may
// lose replies: the engine finds out what became of a write.
type Medium interface {
	// Get returns the newest bytes of key, nil if there are none. They belong
	// to the caller.
	Get(ctx context.Context, key string) ([]byte, error)

	// CompareAndSwap stores new if what is stored is exactly old; nil is
	// absent. After an error it may have happened or may happen later, unless
	// the error is ErrNotWritten.
	CompareAndSwap(ctx context.Context, key string, old, new []byte) (swapped bool, err error)

	// Where says in errors where the record of key is, other than by key itself.
	Where(key string) string
}

// ErrNotWritten marks an error of a Medium after which nothing was and nothing
// will be written.
var ErrNotWritten = errors.New("nothing was written")

// OperationTimeout is how long a Medium in which an operation can hang waits for one.
const OperationTimeout = 5 * time.Second

// A Keeper is a Medium that can keep bytes that are about to be overwritten,
// though nobody understands them.
type Keeper interface {
	KeepAside(ctx context.Context, key string, raw []byte) error
}

// A Sealer encrypts tokens. What it binds to a seal, besides the key, are the era,
// number and state of the record.
type Sealer interface {
	// NewDataKey makes what seals the next token of key. Whatever can fail or
	// take time is done here, before the refresh token is presented.
	NewDataKey(ctx context.Context, key string) (DataKey, error)

	// Open returns the token in r, which was read under the name key. Its error
	// is tokenclient.ErrStoreCorrupt if nobody can ever open it.
	Open(ctx context.Context, key string, r *Record) (*tokenclient.Token, error)
}

// A DataKey seals one token, as often as that is tried to be saved.
type DataKey interface {
	// Seal sets r.Sealed. It fails only if t holds what cannot be stored exactly.
	Seal(r *Record, t *tokenclient.Token) error
}

// A Turn is how one refresh gets hold of a key. Kinds of store differ in nothing
// else: some have a lock beside the record, others know only what the record says.
type Turn interface {
	// Ready reports whether the caller may claim r, the record as it was just
	// read. If not, Ready waits a little for that to change, and the caller
	// reads the record again.
	Ready(ctx context.Context, r *Record) (bool, error)

	// End gives up what Ready took. The claim in the record is the caller's. lingers is
	// for how long the request of a call that was given up may be at work still; 0: none
	// is. A Turn that takes its end for the end of a process lasts until then.
	End(lingers time.Duration)
}

// An Engine is a tokenclient.Store over a Medium; see the package comment. Its
// exported fields do not change once it is in use.
type Engine struct {
	Medium Medium
	Sealer Sealer

	// NewTurn makes the turn of a refresh of key. Nil: nothing but the lease in
	// the record says who holds it.
	NewTurn func(key string) Turn

	// Margin is what a hold is longer than the call. 0: just what the medium
	// needs to write the claim, because the turn is not lost when a holder is
	// stopped.
	Margin time.Duration

	timing *timing // nil: the machine's

	mu      sync.Mutex // guards what follows
	unsaved map[string][]*tokenclient.NotSavedError
	refused map[string]refusal

	waits waits
}

var _ tokenclient.Store = (*Engine)(nil)

// An entry is a record along with its bytes, which the next compare-and-swap must
// name.
type entry struct {
	raw []byte  // nil: absent
	rec *Record // nil: absent, or not understood
}

// era is zero if there is no record.
func (q entry) era() (id [16]byte) {
	if q.rec != nil {
		id = q.rec.Era
	}
	return id
}

// header is all of q that can be told without a key.
func (q entry) header() tokenclient.Record {
	if q.rec == nil {
		return tokenclient.Record{}
	}
	return tokenclient.Record{
		Era: q.rec.Era, Number: q.rec.Number, Announced: int(q.rec.Announced), State: q.rec.State,
	}
}

func (e *Engine) turn(key string) Turn {
	if e.NewTurn == nil {
		caller, _ := e.Medium.(Caller)
		return &leaseTurn{timing: e.timing, waits: &e.waits, caller: caller, key: key}
	}
	return e.NewTurn(key)
}

// made refuses a store that nobody made, like a zero File.
func (e *Engine) made(op string) error {
	if e.Medium == nil {
		return fmt.Errorf("store: %s of a store that was not made by its constructor", op)
	}
	return nil
}

func newID() (id [16]byte) {
	rand.Read(id[:]) // never fails
	return id
}

// read returns the entry of key. If its header cannot be understood, the error is
// ErrStoreCorrupt and the entry has the bytes.
func (e *Engine) read(ctx context.Context, key string) (entry, error) {
	raw, err := e.Medium.Get(ctx, key)
	if err != nil {
		return entry{}, e.fail(ctx, "read", key, err)
	}
	if raw == nil {
		return entry{}, nil
	}
	r, err := DecodeRecord(raw)
	if err != nil {
		return entry{raw: raw}, e.fail(ctx, "read", key, withRemedy(err))
	}
	e.waits.saw(key, r.WriteID)
	return entry{raw, r}, nil
}

// answer is q as callers get it. The error is ErrNoToken if there is no token in
// it; after any error the Record has the header.
func (e *Engine) answer(ctx context.Context, key string, q entry) (tokenclient.Record, error) {
	rec := q.header()
	if rec.State != tokenclient.Active {
		return rec, tokenclient.ErrNoToken
	}
	t, err := e.Sealer.Open(ctx, key, q.rec)
	if err != nil {
		return rec, e.fail(ctx, "open", key, withRemedy(err))
	}
	rec.Token = t
	return rec, nil
}

// Load returns the record of key.
func (e *Engine) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	if err := e.made("Load"); err != nil {
		return tokenclient.Record{}, err
	}
	q, err := e.read(ctx, key)
	if err != nil {
		return tokenclient.Record{}, err
	}
	return e.answer(ctx, key, q)
}
