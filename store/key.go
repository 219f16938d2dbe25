package store

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// keyLen is the length of the keys that users have.
const keyLen = 32

// KeyBytes returns a [KeyWrapper] for a key that the program has from elsewhere.
// The key is 32 random bytes, not a password. It is copied. id names it in the
// records, is 1 to 255 bytes long, and must be another one for each key; see
// [Seal] for how keys are changed.
//
// Where the key can be had from the environment or a file, [KeyEnv] and [KeyFile]
// choose the id by themselves.
//
// The KeyWrapper never blocks and is safe for concurrent use.
func KeyBytes(id string, key []byte) (KeyWrapper, error) {
	if id == "" {
		return nil, errors.New("store: KeyBytes: the key id is empty")
	}
	if len(id) > math.MaxUint8 {
		return nil, fmt.Errorf("store: KeyBytes: the key id has %d bytes, at most %d are allowed", len(id), math.MaxUint8)
	}
	if len(key) != keyLen {
		return nil, fmt.Errorf("store: KeyBytes: key %q has %d bytes, not %d", id, len(key), keyLen)
	}
	w, err := newAESWrapper(key)
	if err != nil {
		return nil, fmt.Errorf("store: KeyBytes: key %q: %w", id, err)
	}
	w.id = id
	return w, nil
}

// KeyEnv returns a [KeyWrapper] for the key in the environment variable name: 64
// hexadecimal digits, or 32 bytes in base64 (standard or URL alphabet, padded or
// not). A line break at the end is allowed. It is an error if the variable is not
// set or holds anything else.
//
// The variable is read once, and left as it is: programs that this one starts
// inherit it. The key's id is made from the key, so that the same key in another
// variable or in a [KeyFile] is recognised, and another key as another.
func KeyEnv(name string) (KeyWrapper, error) {
	value, ok := os.LookupEnv(name)
	if !ok {
		return nil, fmt.Errorf("store: KeyEnv: environment variable %q is not set", name)
	}
	if value == "" {
		return nil, fmt.Errorf("store: KeyEnv: environment variable %q is empty", name)
	}
	key, ok := parseKey(value)
	if !ok {
		return nil, fmt.Errorf("store: KeyEnv: environment variable %q holds %d bytes that are no key: want 64 hexadecimal digits or 32 bytes in base64",
			name, len(value))
	}
	defer clear(key)
	w, err := newAESWrapper(key)
	if err != nil {
		return nil, fmt.Errorf("store: KeyEnv: environment variable %q: %w", name, err)
	}
	return w, nil
}

// parseKey reads the text forms of a key. There is no doubt which one a text is:
// their lengths differ.
func parseKey(s string) (key []byte, ok bool) {
	s = strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
	if strings.ContainsAny(s, "\r\n") { // package base64 skips them
		return nil, false
	}
	var err error
	switch len(s) {
	case hex.EncodedLen(keyLen):
		key, err = hex.DecodeString(s)
	case base64.StdEncoding.EncodedLen(keyLen), base64.RawStdEncoding.EncodedLen(keyLen):
		enc := base64.RawStdEncoding
		if strings.ContainsAny(s, "-_") {
			enc = base64.RawURLEncoding
		}
		key, err = enc.Strict().DecodeString(strings.TrimSuffix(s, "="))
	default:
		return nil, false
	}
	return key, err == nil && len(key) == keyLen
}

// aesWrapper wraps with keys that are derived from the user's, so that it does no
// harm if that is used for something else too. It does not keep the user's key.
type aesWrapper struct {
	id    string
	check [8]byte // in each wrapped data key; not secret
	aead  cipher.AEAD
}

// newAESWrapper returns a wrapper whose id is made from key.
func newAESWrapper(key []byte) (*aesWrapper, error) {
	wrapping, err := hkdf.Key(sha256.New, key, nil, "silentrefresh/1/wrap", dataKeyLen)
	if err != nil {
		return nil, err
	}
	defer clear(wrapping)
	check, err := hkdf.Key(sha256.New, key, nil, "silentrefresh/1/key id", 8)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(wrapping)
	if err != nil {
		return nil, err
	}
	return &aesWrapper{id: hex.EncodeToString(check), check: [8]byte(check), aead: aead}, nil
}

// KeyID is part of KeyWrapper.
func (w *aesWrapper) KeyID() string { return w.id }

// Wrap is part of KeyWrapper. Random nonces allow 2^32 calls for one key.
func (w *aesWrapper) Wrap(dataKey []byte, label string) ([]byte, error) {
	return w.aead.Seal(w.check[:], nil, dataKey, []byte(label)), nil
}

// Unwrap is part of KeyWrapper. It tells another key with the same id, which is a
// mistake in the configuration, from a record that was tampered with: only the
// second may be replaced by a login.
func (w *aesWrapper) Unwrap(wrapped []byte, label string) ([]byte, error) {
	if len(wrapped) < len(w.check) {
		return nil, fmt.Errorf("%w: wrapped data key truncated", tokenclient.ErrStoreCorrupt)
	}
	if [8]byte(wrapped) != w.check {
		return nil, errOtherKey
	}
	dataKey, err := w.aead.Open(nil, nil, wrapped[len(w.check):], []byte(label))
	if err != nil {
		return nil, protocol.Corruptf("%s", notAuthentic)
	}
	return dataKey, nil
}

var errOtherKey = errors.New("it was encrypted with another key of the same id")

// Format writes the key's id for every verb: package fmt would print the fields,
// and what is in an AEAD is up to the standard library.
func (w *aesWrapper) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "store.KeyWrapper(%q)", w.id)
}

var (
	_ KeyWrapper    = (*aesWrapper)(nil)
	_ fmt.Formatter = (*aesWrapper)(nil)
)
