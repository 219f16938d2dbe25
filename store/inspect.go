package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// An Inspection is what people may see of a record: how it is, and no secret.
type Inspection struct {
	// State, Era, Number and Announced are those of the [tokenclient.Record]. State is
	// Absent, and all else zero, if nobody ever logged in.
	State     tokenclient.State
	Era       [16]byte
	Number    uint64
	Announced int

	// Held reports whether the record says that a process is exchanging the token, and Hold
	// for how long others would wait for it. The record of a process that was killed
	// meanwhile says so until another one takes over.
	Held bool
	Hold time.Duration

	// SealedBy is the id of the key that sealed the token, as [KeyWrapper] has it. It is empty if
	// there is no token, or one that is not sealed: in a Memory, or by [Plaintext].
	SealedBy string

	// Issued is when the last login or refresh was asked for, Expiry when the access token
	// ends, and RefreshExpiry when the refresh token does. They are zero if they are not
	// known, if there is no token, and if it could not be opened.
	Issued, Expiry, RefreshExpiry time.Time
}

// Inspect looks at the record of key in s, for status pages and commands. It waits for
// nobody, changes nothing and presents nothing. s is a [File], a [Memory] or a [Shared];
// for any other store the error is [errors.ErrUnsupported].
//
// A token that cannot be opened, because its key is not at hand say, is the error that
// Load would return, along with what can be told without the key. Any other error comes
// with a zero Inspection. That there is no token is none: State says so.
func Inspect(ctx context.Context, s tokenclient.Store, key string) (Inspection, error) {
	var engine *protocol.Engine
	switch s := s.(type) {
	case *File:
		engine = &s.engine
	case *Memory:
		engine = s.ready()
	case *Shared:
		engine = &s.engine
	default:
		return Inspection{}, fmt.Errorf("store: Inspect: a %T cannot be looked into: %w", s, errors.ErrUnsupported)
	}
	r, t, err := engine.Inspect(ctx, key)
	if r == nil {
		return Inspection{}, err
	}
	i := Inspection{
		State: r.State, Era: r.Era, Number: r.Number, Announced: int(r.Announced),
		Held: r.Lease != [16]byte{}, SealedBy: sealedBy(r.Sealed),
	}
	if i.Held {
		i.Hold = r.Hold()
	}
	if t != nil {
		i.Issued, i.Expiry, i.RefreshExpiry = t.Issued, t.Expiry, t.RefreshExpiry
	}
	return i, err
}

// sealedBy is the id of the key in a sealed payload, or "".
func sealedBy(sealed []byte) string {
	if len(sealed) == 0 || sealed[0] != kindSealed {
		return ""
	}
	id, _, _, _ := splitSealed(sealed[1:])
	return id
}
