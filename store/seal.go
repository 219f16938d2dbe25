package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A KeyWrapper encrypts the data keys that tokens are sealed with. Most programs
// need not write one: [KeyBytes], [KeyEnv], [KeyFile] and [LoadOrCreateKeyFile]
// return them. Write one for a key that never leaves a key management service, a
// hardware module or the Android Keystore.
//
// Only strings, byte slices and errors pass through it, so that gomobile can bind
// it. Wrap and Unwrap may block: they are called on a goroutine of their own,
// never under a lock of this package, and possibly several at a time. A caller
// whose context ends leaves; the call goes on and its result is dropped, so a
// wrapper should have a time limit of its own. A panic in a wrapper becomes an
// error.
//
// The wrappers of this package never block and are safe for concurrent use.
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

// A Sealer decides how tokens are encrypted before they are stored. [Seal] makes
// one that encrypts, [Plaintext] one that does not. There is no default: the zero
// Sealer and a nil *Sealer are refused by all that take one.
//
// Each save has a data key of its own, with which the token is encrypted by
// AES-256-GCM; a [KeyWrapper] encrypts the data key. The name under which the
// token is stored, the login it stems from and its number are bound in, so that a
// record moved elsewhere does not open. What this cannot prevent is that an older
// record is put back in its own place.
//
// A Sealer is safe for concurrent use and shows no key when it is printed.
type Sealer struct{ s *sealer }

type sealer struct {
	plaintext bool
	keys      []namedKey // the first seals, all open
	err       error      // what was wrong with the arguments of Seal
}

// namedKey holds the id of a wrapper as it was in Seal, so that what is checked
// is what is written.
type namedKey struct {
	id string
	w  KeyWrapper
}

// Seal returns a Sealer that encrypts with current. Records that were encrypted
// with one of older can be read too. To change keys, make the new one current and
// keep the old one in older until each record was saved again, which a refresh
// does.
//
// A missing wrapper and key ids that are empty, too long or not unique are
// reported by the constructor that takes the Sealer, such as [NewFile].
func Seal(current KeyWrapper, older ...KeyWrapper) *Sealer {
	s := &sealer{}
	for i, w := range append([]KeyWrapper{current}, older...) {
		k, err := nameKey(w)
		switch {
		case err != nil:
		case k.id == "":
			err = errors.New("its id is empty")
		case len(k.id) > math.MaxUint8:
			err = fmt.Errorf("its id has %d bytes, at most %d are allowed", len(k.id), math.MaxUint8)
		case s.find(k.id) != nil:
			err = fmt.Errorf("its id %q is the id of another one too", k.id)
		}
		if err != nil && s.err == nil {
			s.err = fmt.Errorf("store: Seal: key wrapper %d of %d: %w", i+1, 1+len(older), err)
		}
		s.keys = append(s.keys, k)
	}
	return &Sealer{s}
}

// nameKey asks w for its id. A typed nil makes that panic; Seal has no error to
// return, and a panic would hide which argument it was.
func nameKey(w KeyWrapper) (k namedKey, err error) {
	if w == nil {
		return k, errors.New("it is nil")
	}
	defer func() {
		if p := recover(); p != nil {
			err = panicError("KeyID", p)
		}
	}()
	return namedKey{w.KeyID(), w}, nil
}

func (s *sealer) find(id string) KeyWrapper {
	i := slices.IndexFunc(s.keys, func(k namedKey) bool { return k.id == id })
	if i < 0 {
		return nil
	}
	return s.keys[i].w
}

// ids is for messages.
func (s *sealer) ids() []string {
	ids := make([]string, len(s.keys))
	for i, k := range s.keys {
		ids[i] = k.id
	}
	return ids
}

// validate reports what makes s unusable. Constructors that take a Sealer call it.
func (s *Sealer) validate() error {
	if s == nil || s.s == nil {
		return errNoSealer
	}
	return s.s.err
}

var errNoSealer = errors.New("store: no Sealer: use Seal, or Plaintext to store tokens unencrypted")

// A sealed payload begins with one of these. A new kind comes with a new record
// format, so that older programs leave such a record alone.
//
//	sealed:     kind, length of key id (1 byte), key id, length of wrapped data
//	            key (2 bytes, big-endian), wrapped data key, AES-256-GCM of the
//	            token (nonce, ciphertext, tag)
//	plaintext:  kind, SHA-256 of associated data and token, token
const (
	kindSealed    = 1
	kindPlaintext = 2
)

// dataKeyLen makes it AES-256.
const dataKeyLen = 32

// dataKey seals one token. It is made and wrapped before the refresh token is
// presented, because after that a key that is locked would cost the new pair. To
// seal the same token again, for another try to save it, is fine.
type dataKey struct {
	key     string // name of the token
	id      string // of the wrapping key; empty: plaintext
	wrapped []byte
	aead    cipher.AEAD // nil: plaintext
}

// newDataKey returns a dataKey for the token named key. Its errors are
// tokenclient.ErrStoreUnavailable, and ctx's error too if ctx ended.
func (s *Sealer) newDataKey(ctx context.Context, key string) (*dataKey, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if s.s.plaintext {
		return &dataKey{key: key}, nil
	}
	current := s.s.keys[0]
	raw := make([]byte, dataKeyLen)
	rand.Read(raw) // never fails
	aead, err := newAEAD(raw)
	if err != nil {
		return nil, lockedErr("encrypt a data key", current.id, err)
	}
	wrapped, err := callWrapper(ctx, func() ([]byte, error) {
		// Wiped here, as after the end of ctx the wrapper still reads it. A
		// wrapper may return what it was given, hence the copy.
		defer clear(raw)
		b, err := current.w.Wrap(raw, label(key))
		return slices.Clone(b), err
	})
	if err == nil && (len(wrapped) == 0 || len(wrapped) > math.MaxUint16) {
		err = fmt.Errorf("Wrap returned %d bytes, 1 to %d are allowed", len(wrapped), math.MaxUint16)
	}
	if err != nil {
		return nil, lockedErr("encrypt a data key", current.id, err)
	}
	return &dataKey{key: key, id: current.id, wrapped: wrapped, aead: aead}, nil
}

// seal sets r.sealed from t. Era, number and state of r must be set before, as
// they are bound in. It fails only if t holds what cannot be stored exactly.
func (d *dataKey) seal(r *record, t *tokenclient.Token) error {
	if r.state != tokenclient.Active || r.number == 0 {
		return fmt.Errorf("store: seal a token into a record that is %v with number %d", r.state, r.number)
	}
	token, err := encodeToken(t)
	if err != nil {
		return err
	}
	defer clear(token)
	ad := r.associatedData(d.key, d.id)
	if d.aead == nil {
		r.sealed = sealPlaintext(token, ad)
		return nil
	}
	b := make([]byte, 0, 1+1+len(d.id)+2+len(d.wrapped)+len(token)+d.aead.Overhead())
	b = append(b, kindSealed, byte(len(d.id)))
	b = append(b, d.id...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.wrapped)))
	b = append(b, d.wrapped...)
	r.sealed = d.aead.Seal(b, nil, token, ad) // with a random nonce of its own; any other nonce panics
	return nil
}

// open returns the token in r, which was read under the name key.
//
// An error that is tokenclient.ErrStoreUnavailable means that the token is there,
// but locked: the key is not among those of s, or cannot be used now; it is ctx's
// error too if ctx ended. A sealed record under a Plaintext sealer belongs here:
// only a key is missing.
//
// An error that is tokenclient.ErrStoreCorrupt means that nobody can open r as it
// is. A plaintext record under a Seal sealer belongs here: without the key,
// anybody could have written it.
func (s *Sealer) open(ctx context.Context, key string, r *record) (*tokenclient.Token, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if r.state != tokenclient.Active {
		return nil, corruptf("no token in a record that is %v", r.state)
	}
	if len(r.sealed) == 0 {
		return nil, corruptf("active, without a token")
	}
	switch kind := r.sealed[0]; kind {
	case kindPlaintext:
		if !s.s.plaintext {
			return nil, corruptf("its token is stored in plaintext, which a store with a key does not trust: log in again")
		}
		token, err := openPlaintext(r.sealed[1:], r.associatedData(key, ""))
		if err != nil {
			return nil, err
		}
		return decodeToken(token)
	case kindSealed:
		return s.openSealed(ctx, key, r)
	default:
		return nil, corruptf("unknown kind of payload %d", kind)
	}
}

func (s *Sealer) openSealed(ctx context.Context, key string, r *record) (*tokenclient.Token, error) {
	id, wrapped, ciphertext, ok := splitSealed(r.sealed[1:])
	if !ok {
		return nil, corruptf("sealed token truncated")
	}
	if s.s.plaintext {
		return nil, fmt.Errorf("%w: the token is sealed with key %q, and this store has no key (Plaintext)",
			tokenclient.ErrStoreUnavailable, id)
	}
	w := s.s.find(id)
	if w == nil {
		return nil, fmt.Errorf("%w: the token is sealed with key %q, at hand are only %q",
			tokenclient.ErrStoreUnavailable, id, s.s.ids())
	}
	wrapped = slices.Clone(wrapped) // the wrapper may still have it when r is gone
	raw, err := callWrapper(ctx, func() ([]byte, error) {
		return w.Unwrap(wrapped, label(key)) // not wiped afterwards: it may be the wrapper's cache
	})
	if errors.Is(err, tokenclient.ErrStoreCorrupt) {
		return nil, fmt.Errorf("decrypt the data key with key %q: %w", id, err)
	}
	if err == nil && len(raw) != dataKeyLen {
		err = fmt.Errorf("Unwrap returned %d bytes, not %d", len(raw), dataKeyLen)
	}
	if err != nil {
		return nil, lockedErr("decrypt the data key", id, err)
	}
	aead, err := newAEAD(raw)
	if err != nil {
		return nil, lockedErr("decrypt the token", id, err)
	}
	token, err := aead.Open(nil, nil, ciphertext, r.associatedData(key, id))
	if err != nil {
		return nil, corruptf("%s", notAuthentic)
	}
	return decodeToken(token)
}

// notAuthentic is the message for a seal that does not fit.
const notAuthentic = "the seal does not fit: the record may have been moved here from another key name, damaged or tampered with"

// splitSealed takes apart what follows the kind of a sealed payload.
func splitSealed(b []byte) (id string, wrapped, ciphertext []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return "", nil, nil, false
	}
	id, b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	if len(b) < 2 {
		return "", nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return "", nil, nil, false
	}
	return id, b[:n], b[n:], true
}

// associatedData is what a seal binds besides the token. Write id, announced and
// lease are not in it: a claim changes them and must not need the key.
func (r *record) associatedData(key, keyID string) []byte {
	b := []byte("silentrefresh record")
	b = append(b, recordFormat)
	b = append(b, r.era[:]...)
	b = binary.BigEndian.AppendUint64(b, r.number)
	b = append(b, byte(r.state))
	for _, s := range []string{key, keyID} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// label is the wrapper's label for the token named key. It is a hash, because a
// key's name can be long, hold any bytes, and is nobody's business in the log of
// a key management service.
func label(key string) string {
	h := sha256.Sum256([]byte(key))
	return "silentrefresh/1/" + hex.EncodeToString(h[:])
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
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

// lockedErr is the error for a wrapper that failed with err. It is err too, unless
// that would give it a meaning that a failure of a key must not have: a wrapper
// that uses a session of its own, say, may find itself logged out there.
func lockedErr(op, id string, err error) error {
	for _, not := range []error{
		tokenclient.ErrNoToken, tokenclient.ErrLoginRequired, tokenclient.ErrStoreCorrupt,
		tokenclient.ErrReplaced, tokenclient.ErrOvertaken, tokenclient.ErrNotPresented,
	} {
		if errors.Is(err, not) {
			err = errors.New(err.Error())
			break
		}
	}
	return fmt.Errorf("%w: %s with key %q: %w", tokenclient.ErrStoreUnavailable, op, id, err)
}
