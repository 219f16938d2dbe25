package store

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/argon2"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// Passphrase returns a [KeyWrapper] whose key is made from a phrase that a person
// remembers, by Argon2id (RFC 9106). The phrase is copied, and taken as it is: a
// line break at its end is part of it, and so is the form in which an accented
// letter was typed. An empty phrase is refused by what takes the [Sealer].
//
// Argon2id is slow on purpose, so that a thief cannot try many phrases: three
// passes over 64 MiB in four lanes, some tenths of a second. The key is made once
// in the life of the KeyWrapper for each salt that it meets, which are one or
// very few, and kept in memory; the first call waits for it. So make one
// KeyWrapper for the program, not one for each store. It is safe for concurrent
// use, and makes one key at a time.
//
// Salt and costs stand in each record, in the clear, so that later versions can
// raise the defaults. A record that asks for more than 16 passes, 256 MiB or 16
// lanes is refused as [tokenclient.ErrStoreUnavailable], so that a forged one
// costs a few seconds and 256 MiB at most.
//
// The id of each passphrase is "passphrase": anything made from the phrase would
// help to guess it. To change a passphrase use Seal(Passphrase(new),
// Passphrase(old)); alone among keys, passphrases may have the same id there, and
// are tried in turn. If none of them is the right one, the error is
// tokenclient.ErrStoreUnavailable and says that it was another passphrase.
func Passphrase(phrase []byte) KeyWrapper {
	return newPassphrase(phrase, passphraseCost, argon2.IDKey)
}

// argon2Cost is what Argon2id takes besides phrase and salt. Memory is in KiB.
type argon2Cost struct {
	passes, memory uint32
	lanes          uint8
}

var (
	// passphraseCost took 0.17 s on a small machine; one pass over the 2 GiB that
	// RFC 9106, section 4 has as its first choice took 10 s, and phones do not
	// have them to spare. This is its second choice.
	passphraseCost = argon2Cost{passes: 3, memory: 64 << 10, lanes: 4}

	// maxPassphraseCost leaves room to raise the one above.
	maxPassphraseCost = argon2Cost{passes: 16, memory: 256 << 10, lanes: 16}
)

// check refuses what cannot be computed, or costs too much.
func (c argon2Cost) check() error {
	most := maxPassphraseCost
	switch {
	case c.passes == 0 || c.memory == 0 || c.lanes == 0:
		return protocol.Corruptf("Argon2id with %d passes, %d KiB and %d lanes", c.passes, c.memory, c.lanes)
	case c.passes > most.passes || c.memory > most.memory || c.lanes > most.lanes:
		return fmt.Errorf("it asks for Argon2id with %d passes, %d KiB and %d lanes; at most %d, %d and %d are allowed",
			c.passes, c.memory, c.lanes, most.passes, most.memory, most.lanes)
	}
	return nil
}

// A recipe is what makes a key of a phrase. It begins each data key that a
// passphrase wrapped:
//
//	version (1 byte), passes (4 bytes, big-endian), memory in KiB (4 bytes),
//	lanes (1 byte), salt (16 bytes)
//
// What follows is aesWrapper's. Nothing need bind the recipe to that: with
// another recipe it is another key.
type recipe struct {
	argon2Cost
	salt [16]byte
}

const (
	recipeVersion = 1
	recipeLen     = 1 + 4 + 4 + 1 + 16
)

func (r recipe) encode() []byte {
	b := make([]byte, 0, 128) // with room for the data key
	b = append(b, recipeVersion)
	b = binary.BigEndian.AppendUint32(b, r.passes)
	b = binary.BigEndian.AppendUint32(b, r.memory)
	b = append(b, r.lanes)
	return append(b, r.salt[:]...)
}

// decodeRecipe returns what wrapped begins with, and the rest.
func decodeRecipe(wrapped []byte) (r recipe, rest []byte, err error) {
	switch {
	case len(wrapped) > 0 && wrapped[0] != recipeVersion:
		return r, nil, fmt.Errorf("version %d of passphrases is not known", wrapped[0]) // of a newer program
	case len(wrapped) < recipeLen:
		return r, nil, protocol.Corruptf("wrapped data key truncated")
	}
	b := wrapped[1:]
	r.passes, b = binary.BigEndian.Uint32(b), b[4:]
	r.memory, b = binary.BigEndian.Uint32(b), b[4:]
	r.lanes, b = b[0], b[1:]
	r.salt = [16]byte(b)
	return r, b[len(r.salt):], r.check()
}

// passphrase is the KeyWrapper of Passphrase.
type passphrase struct {
	phrase []byte // not changed
	cost   argon2Cost
	idKey  func(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte // not changed

	// deriving is held while a key is made, which waits for nobody: several at
	// a time would take 256 MiB each if records are forged.
	deriving sync.Mutex

	mu      sync.Mutex // guards the rest
	current recipe     // wraps; zero: not chosen yet
	keys    map[recipe]*passphraseKey
}

// A passphraseKey is made by whoever needs it first.
type passphraseKey struct {
	once sync.Once
	*aesWrapper
	err error
}

// maxPassphraseKeys is how many keys are kept. There is one for each process that
// stored its first token when there was none yet; more are forged.
const maxPassphraseKeys = 64

func newPassphrase(phrase []byte, cost argon2Cost,
	idKey func(_, _ []byte, _, _ uint32, _ uint8, _ uint32) []byte) *passphrase {
	return &passphrase{phrase: bytes.Clone(phrase), cost: cost, idKey: idKey, keys: make(map[recipe]*passphraseKey)}
}

var (
	errEmptyPhrase = errors.New("its passphrase is empty")
	errOtherPhrase = errors.New("it was encrypted with another passphrase")
)

// validate is for Seal, as Passphrase returns no error.
func (p *passphrase) validate() error {
	if len(p.phrase) == 0 {
		return errEmptyPhrase
	}
	return nil
}

// KeyID is part of KeyWrapper.
func (p *passphrase) KeyID() string { return "passphrase" }

// Wrap is part of KeyWrapper. All calls use the same salt, or each save would
// cost a derivation, and another one to all who read it.
func (p *passphrase) Wrap(dataKey []byte, label string) ([]byte, error) {
	p.mu.Lock()
	if p.current == (recipe{}) {
		p.current.argon2Cost = p.cost
		rand.Read(p.current.salt[:]) // never fails
	}
	r := p.current
	p.mu.Unlock()
	key, err := p.key(r)
	if err != nil {
		return nil, err
	}
	wrapped, err := key.Wrap(dataKey, label)
	return append(r.encode(), wrapped...), err
}

// Unwrap is part of KeyWrapper. Another phrase is told from a record that was
// tampered with, as aesWrapper does with keys.
func (p *passphrase) Unwrap(wrapped []byte, label string) ([]byte, error) {
	r, rest, err := decodeRecipe(wrapped)
	if err != nil {
		return nil, err
	}
	key, err := p.key(r)
	if err != nil {
		return nil, err
	}
	dataKey, err := key.Unwrap(rest, label)
	switch {
	case errors.Is(err, errOtherKey):
		return nil, errOtherPhrase
	case err != nil:
		return nil, err
	}
	// It is genuine: to go on with its salt saves a derivation here and in every
	// process that reads what we write. Costs are never taken from a record.
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == (recipe{}) && r.argon2Cost == p.cost {
		p.current = r
	}
	return dataKey, nil
}

// key returns the key that r makes. Callers at the same time wait for one
// derivation.
func (p *passphrase) key(r recipe) (*aesWrapper, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	key := p.keys[r]
	if key == nil {
		for old := range p.keys { // any; who waits for it has a pointer
			if len(p.keys) < maxPassphraseKeys {
				break
			}
			if old != p.current {
				delete(p.keys, old)
			}
		}
		key = new(passphraseKey)
		p.keys[r] = key
	}
	p.mu.Unlock()
	key.once.Do(func() {
		p.deriving.Lock()
		defer p.deriving.Unlock()
		b := p.idKey(p.phrase, r.salt[:], r.passes, r.memory, r.lanes, keyLen)
		defer clear(b)
		key.aesWrapper, key.err = newAESWrapper(b)
	})
	return key.aesWrapper, key.err
}

// Format writes the key's id for every verb: package fmt would print the phrase.
func (p *passphrase) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "store.KeyWrapper(%q)", p.KeyID())
}

var (
	_ KeyWrapper    = (*passphrase)(nil)
	_ fmt.Formatter = (*passphrase)(nil)
)
