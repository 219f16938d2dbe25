package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A KeyWrapper encrypts the data keys that tokens are sealed with. Most programs
// need not write one: [KeyBytes], [KeyEnv], [KeyFile], [LoadOrCreateKeyFile] and
// [Passphrase] return them. Write one for a key that never leaves a key management service, a
// hardware module or the Android Keystore.
//
// Only strings, byte slices and errors pass through it, so that gomobile can bind
// it. Wrap and Unwrap may block: they are called on a goroutine of their own,
// never under a lock of this package, and possibly several at a time. A caller
// whose context ends leaves; the call goes on and its result is dropped, so a
// wrapper should have a time limit of its own. A panic in a wrapper becomes an
// error.
//
// The wrappers of this package are safe for concurrent use, and never block;
// [Passphrase] takes a moment at first.
//
// Errors of a wrapper become part of the errors of the store, and must hold no
// key. Every failure means "locked or unavailable"
// ([tokenclient.ErrStoreUnavailable]), but for one, described at Unwrap.
type KeyWrapper interface {
	// KeyID names the key. It is stored with each record, in the clear, and
	// finds the key again when the record is read. It is 1 to 255 bytes long,
	// another one for each key, and never changes. [Seal] calls it once; it
	// must not block.
	KeyID() string

	// Wrap encrypts dataKey, which is 32 bytes long, so that Unwrap with the
	// same label gives it back. The result is 1 to 65,535 bytes long. Where the
	// key supports it, label is bound to the result as associated data; it is
	// the same for each save of a token, short, and printable ASCII. Wrap must
	// not keep or change dataKey.
	//
	// Wrap is called before a refresh token is presented to the server: if it
	// fails, nothing is lost.
	Wrap(dataKey []byte, label string) ([]byte, error)

	// Unwrap returns the data key. An error that is
	// [tokenclient.ErrStoreCorrupt] says that wrapped can never be unwrapped
	// any more, because it or label is not what it was, or because the key is
	// gone for good; then a login replaces the record. With any other error the
	// record stays as it is.
	Unwrap(wrapped []byte, label string) ([]byte, error)
}

// namedKey holds the id of a wrapper as it was in Seal, so that what is checked
// is what is written.
type namedKey struct {
	id string
	w  KeyWrapper
}

// nameKey asks w for its id, and refuses what cannot be used. A typed nil makes
// KeyID panic; Seal has no error to return, and a panic would hide which argument
// it was.
func nameKey(w KeyWrapper) (k namedKey, err error) {
	if w == nil {
		return k, errors.New("it is nil")
	}
	defer func() {
		if p := recover(); p != nil {
			err = panicError("KeyID", p)
		}
	}()
	k = namedKey{w.KeyID(), w}
	switch n := len(k.id); {
	case n == 0:
		return k, errors.New("its id is empty")
	case n > math.MaxUint8:
		return k, fmt.Errorf("its id has %d bytes, at most %d are allowed", n, math.MaxUint8)
	}
	if p, ok := w.(*passphrase); ok {
		return k, p.validate()
	}
	return k, nil
}

// label is the wrapper's label for the token named key. It is a hash, because a
// key's name can be long, hold any bytes, and is nobody's business in the log of
// a key management service.
func label(key string) string {
	h := sha256.Sum256([]byte(key))
	return "silentrefresh/1/" + hex.EncodeToString(h[:])
}

// unwrap asks each wrapper in turn, until one does not say that it is not the
// right passphrase.
func unwrap(ctx context.Context, wrappers []KeyWrapper, wrapped []byte, label string) (raw []byte, err error) {
	for _, w := range wrappers {
		b := slices.Clone(wrapped) // the wrapper may still have it when the record is gone
		raw, err = callWrapper(ctx, func() ([]byte, error) {
			return w.Unwrap(b, label) // not wiped afterwards: it may be the wrapper's cache
		})
		if !errors.Is(err, errOtherPhrase) {
			break
		}
	}
	return raw, err
}

// callWrapper runs call on its own goroutine and waits for it as long as ctx
// lasts.
func callWrapper(ctx context.Context, call func() ([]byte, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1) // buffered: the receiver may have left
	go func() {
		res := result{err: errors.New("the wrapper ended its goroutine")} // by runtime.Goexit
		defer func() {
			if p := recover(); p != nil {
				res = result{err: panicError("it", p)}
			}
			done <- res
		}()
		b, err := call()
		res = result{b, err}
	}()
	select {
	case res := <-done:
		return res.b, res.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// panicError shows a panic's value only if it is a text or an error, which were
// made to be read. Anything else could be the key itself.
func panicError(who string, p any) error {
	switch p := p.(type) {
	case error:
		return fmt.Errorf("%s panicked: %w", who, p)
	case string:
		return fmt.Errorf("%s panicked: %s", who, p)
	}
	return fmt.Errorf("%s panicked with a %T", who, p)
}

// lockedErr is the error for a wrapper that failed with err.
func lockedErr(op, id string, err error) error {
	return protocol.Unavailable(fmt.Errorf("%s with sealing key %q: %w", op, id, withoutVerdict(err)))
}

// withoutVerdict returns err, unless that has a meaning that a failure of a key or an
// engine must not have: one that uses a session of its own, say, may find itself
// logged out there, or have got a token that it could not store, which is not this session's.
func withoutVerdict(err error) error {
	var refused *tokenclient.TokenError
	var unsaved *tokenclient.NotSavedError
	if errors.As(err, &refused) || errors.As(err, &unsaved) {
		return &mutedError{err}
	}
	for _, verdict := range []error{
		tokenclient.ErrNoToken, tokenclient.ErrLoginRequired, tokenclient.ErrStoreCorrupt,
		tokenclient.ErrReplaced, tokenclient.ErrOvertaken, tokenclient.ErrNotPresented,
		tokenclient.ErrStillRefused, tokenclient.ErrClosed,
	} {
		if errors.Is(err, verdict) {
			return &mutedError{err}
		}
	}
	return err
}

// A mutedError is an error of which nothing is left but its text, and that time was up.
type mutedError struct{ err error }

func (e *mutedError) Error() string { return e.err.Error() }

func (e *mutedError) Is(target error) bool {
	return (target == context.DeadlineExceeded || target == context.Canceled) && errors.Is(e.err, target)
}
