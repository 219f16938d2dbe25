package store

import "golang.org/x/crypto/argon2"

// CreateKeyFile is LoadOrCreateKeyFile's creation with another PlaceKeyFile.
var (
	CreateKeyFile = createKeyFile
	PlaceKeyFile  = placeKeyFile
)

// CheapPassphrase is Passphrase at the lowest cost. derived, if not nil, is called
// before each key is made.
func CheapPassphrase(phrase string, derived func()) KeyWrapper {
	return newPassphrase([]byte(phrase), argon2Cost{passes: 1, memory: 8, lanes: 1},
		func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
			if derived != nil {
				derived()
			}
			return argon2.IDKey(password, salt, time, memory, threads, keyLen)
		})
}
