package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

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

// Seal returns a Sealer that encrypts with current. Records that were encrypted
// with one of older can be read too. To change keys, make the new one current and
// keep the old one in older until each record was saved again, which a refresh
// does. A record whose key is no longer among them is
// [tokenclient.ErrStoreUnavailable], with an error that names the key. If that key is
// gone, or is none because the record is damaged where it names the key, a login helps:
// it replaces what is stored, whatever that was sealed with.
//
// A missing wrapper, an empty passphrase, and key ids that are empty, too long or
// not unique (only passphrases may share theirs) are reported by the constructor
// that takes the Sealer, such as [NewFile].
func Seal(current KeyWrapper, older ...KeyWrapper) *Sealer {
	s := &sealer{}
	for i, w := range append([]KeyWrapper{current}, older...) {
		k, err := nameKey(w)
		if err == nil && !s.unique(k) {
			err = fmt.Errorf("its id %q is the id of another one too", k.id)
		}
		if err != nil && s.err == nil {
			s.err = fmt.Errorf("store: Seal: key wrapper %d of %d: %w", i+1, 1+len(older), err)
		}
		s.keys = append(s.keys, k)
	}
	return &Sealer{s}
}

// unique reports whether k can be told from the keys before it. Passphrases are
// told apart by trying them: their id must not depend on the phrase.
func (s *sealer) unique(k namedKey) bool {
	_, phrase := k.w.(*passphrase)
	for _, w := range s.find(k.id) {
		if _, other := w.(*passphrase); !phrase || !other {
			return false
		}
	}
	return true
}

// find returns the wrappers with that id, which are several only if they are
// passphrases.
func (s *sealer) find(id string) (found []KeyWrapper) {
	for _, k := range s.keys {
		if k.id == id {
			found = append(found, k.w)
		}
	}
	return found
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

// Seal sets r.Sealed from t. Era, number and state of r must be set before, as
// they are bound in. It fails only if t holds what cannot be stored exactly.
func (d *dataKey) Seal(r *protocol.Record, t *tokenclient.Token) error {
	if r.State != tokenclient.Active || r.Number == 0 {
		return fmt.Errorf("store: seal a token into a record that is %v with number %d", r.State, r.Number)
	}
	token, err := encodeToken(t)
	if err != nil {
		return err
	}
	defer clear(token)
	ad := associatedData(r, d.key, d.id)
	if d.aead == nil {
		r.Sealed = sealPlaintext(token, ad)
		return nil
	}
	b := make([]byte, 0, 1+1+len(d.id)+2+len(d.wrapped)+len(token)+d.aead.Overhead())
	b = append(b, kindSealed, byte(len(d.id)))
	b = append(b, d.id...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.wrapped)))
	b = append(b, d.wrapped...)
	r.Sealed = d.aead.Seal(b, nil, token, ad) // with a random nonce of its own; any other nonce panics
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
func (s *Sealer) open(ctx context.Context, key string, r *protocol.Record) (*tokenclient.Token, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	if r.State != tokenclient.Active {
		return nil, protocol.Corruptf("no token in a record that is %v", r.State)
	}
	if len(r.Sealed) == 0 {
		return nil, protocol.Corruptf("active, without a token")
	}
	switch kind := r.Sealed[0]; kind {
	case kindPlaintext:
		if !s.s.plaintext {
			return nil, protocol.Corruptf("its token is stored in plaintext, which a store with a key does not trust")
		}
		token, err := openPlaintext(r.Sealed[1:], associatedData(r, key, ""))
		if err != nil {
			return nil, err
		}
		return decodeToken(token)
	case kindSealed:
		return s.openSealed(ctx, key, r)
	default:
		return nil, protocol.Corruptf("unknown kind of payload %d", kind)
	}
}

func (s *Sealer) openSealed(ctx context.Context, key string, r *protocol.Record) (*tokenclient.Token, error) {
	id, wrapped, ciphertext, ok := splitSealed(r.Sealed[1:])
	if !ok {
		return nil, protocol.Corruptf("sealed token truncated")
	}
	if s.s.plaintext {
		return nil, protocol.Unavailable(fmt.Errorf("the token is sealed with key %q, and this store has no key (Plaintext)%s", id, withoutKey))
	}
	wrappers := s.s.find(id)
	if len(wrappers) == 0 {
		return nil, protocol.Unavailable(fmt.Errorf("the token is sealed with key %q, at hand are only %q%s", id, s.s.ids(), withoutKey))
	}
	raw, err := unwrap(ctx, wrappers, wrapped, label(key))
	if errors.Is(err, tokenclient.ErrStoreCorrupt) {
		return nil, fmt.Errorf("decrypt the data key with sealing key %q: %w", id, err)
	}
	if err == nil && len(raw) != dataKeyLen {
		err = fmt.Errorf("Unwrap returned %d bytes, not %d", len(raw), dataKeyLen)
	}
	if err != nil {
		return nil, fmt.Errorf("%w%s", lockedErr("decrypt the data key", id, err), withoutKey)
	}
	aead, err := newAEAD(raw)
	if err != nil {
		return nil, lockedErr("decrypt the token", id, err)
	}
	token, err := aead.Open(nil, nil, ciphertext, associatedData(r, key, id))
	if err != nil {
		return nil, protocol.Corruptf("%s", notAuthentic)
	}
	return decodeToken(token)
}

// withoutKey says what to do about a token whose key is not at hand. What looks like
// another key may be a damaged record, which nobody can tell: the record names the key.
const withoutKey = ": give Seal that key, or log in again, which replaces the record"

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
func associatedData(r *protocol.Record, key, keyID string) []byte {
	b := []byte("silentrefresh record")
	b = append(b, protocol.Format)
	b = append(b, r.Era[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Number)
	b = append(b, byte(r.State))
	for _, s := range []string{key, keyID} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// sealing is a Sealer as the protocol knows it.
type sealing struct{ s *Sealer }

func (e sealing) NewDataKey(ctx context.Context, key string) (protocol.DataKey, error) {
	d, err := e.s.newDataKey(ctx, key)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (e sealing) Open(ctx context.Context, key string, r *protocol.Record) (*tokenclient.Token, error) {
	return e.s.open(ctx, key, r)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
