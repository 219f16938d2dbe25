package store

import (
	"bytes"
	"crypto/sha256"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// Plaintext returns a Sealer that does not encrypt: whoever can read the file or
// the database reads the tokens, and so does whoever finds a backup. It is for
// tests, and for places that are encrypted and closed to others by other means.
// Everybody else wants [Seal], which needs no more than [LoadOrCreateKeyFile].
//
// A checksum still finds records that were damaged or moved from another name. It
// does not find records that were forged. A store with a key does not accept what
// a Plaintext one wrote, and the other way around; the session needs a new login.
func Plaintext() *Sealer { return &Sealer{&sealer{plaintext: true}} }

// sealPlaintext returns the payload of kindPlaintext.
func sealPlaintext(token, ad []byte) []byte {
	sum := plaintextSum(token, ad)
	b := make([]byte, 0, 1+len(sum)+len(token))
	b = append(b, kindPlaintext)
	b = append(b, sum[:]...)
	return append(b, token...)
}

// openPlaintext checks what follows the kind, and returns a copy of the token.
func openPlaintext(b, ad []byte) ([]byte, error) {
	if len(b) < sha256.Size {
		return nil, protocol.Corruptf("plaintext token truncated")
	}
	token := bytes.Clone(b[sha256.Size:])
	if plaintextSum(token, ad) != [sha256.Size]byte(b) {
		return nil, protocol.Corruptf("the checksum of the token does not fit: the record may have been moved here from another key name, or damaged")
	}
	return token, nil
}

// plaintextSum needs no length between its parts: associated data says itself
// where it ends.
func plaintextSum(token, ad []byte) [sha256.Size]byte {
	return sha256.Sum256(append(bytes.Clone(ad), token...))
}
