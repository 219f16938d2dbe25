package keyring

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// limit is for the whole of Key. It is long enough to type a password, and short
// enough for a program that nobody watches.
const limit = 30 * time.Second

// maxName keeps all the names and the value within the 4,096 bytes of a command
// for the Keychain, however they are quoted, and within what Windows allows.
const maxName = 255

// Key returns the key in the item of the user's keyring that service and account
// name, for example "com.example.cli" and "tokens". If there is no such item, it
// makes one with a new random key. The same item is the same key, so it can seal
// the tokens of many users; account is not a user of the API.
//
// Both names are 1 to 255 bytes of UTF-8 without control characters, and account
// holds no colon, at which Windows tells the two apart.
//
// The folder dir holds no key, but a lock file, and a marker with the id of the key
// that was made, so that an item that vanished later is not mistaken for one that
// never was. It may be the folder of the [store.File], and must be the same for all
// processes that use the item. Like that of File it is made with mode 0700 if it is
// missing, and refused if it is a symbolic link, or on Unix if others than its owner
// can get at it or if that is neither the user nor root. So are files in it that are none,
// or that belong to somebody else.
//
// The keyring is asked at once, and only here: what Key returns never blocks and is
// safe for concurrent use. Its id is made from the key, so that the same key in a
// [store.KeyFile] is recognised.
//
// If the keyring is locked, the desktop asks the user for the password. Key takes 30
// seconds at most; then it returns an error, and the question stays on the screen
// while the program runs. If the user answers it after all, the next call succeeds.
// A daemon that may start before the keyring is unlocked calls Key again, with
// pauses, as each call may ask.
//
// A keyring that is locked, not there, or does not answer in time is an error that
// is [tokenclient.ErrStoreUnavailable], never a reason to make another key. So is
// all else that a person has to look at, while what is there is left as it is:
//
//   - The item is gone, but the marker is there. The tokens that were sealed cannot
//     be read unless the item comes back from a backup. To begin anew, remove the
//     marker, which the error names, and log in.
//   - The item holds another key than the marker says, or something that is no key.
//   - The folder cannot be used.
//
// Where there is no supported keyring, the error is [errors.ErrUnsupported].
func Key(dir, service, account string) (store.KeyWrapper, error) {
	return key(system{}, limit, dir, service, account)
}

// A ring is a keyring. It knows no context, and a call may take as long as a user
// leaves a question on the screen.
type ring interface {
	// get returns errAbsent only if the keyring is there and has no such item.
	get(service, account string) (value string, err error)
	set(service, account, value string) error
}

var (
	errAbsent = errors.New("there is no such item")
	errNoRing = fmt.Errorf("no keyring: %w", errors.ErrUnsupported)
)

// An item is what one call of Key works on.
type item struct {
	ring             ring
	service, account string
	dir              string
	step             atomic.Value // string: what a caller that ran out of time waited for
}

func key(r ring, limit time.Duration, dir, service, account string) (store.KeyWrapper, error) {
	if err := errors.Join(checkName("service", service), checkName("account", account)); err != nil {
		return nil, fmt.Errorf("keyring: Key: %w", err)
	}
	if strings.Contains(account, ":") {
		return nil, fmt.Errorf("keyring: Key: the account %q has a colon", account)
	}
	if dir == "" {
		return nil, errors.New("keyring: Key: the name of the folder is empty")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, &unavailable{fmt.Errorf("keyring: Key: %w", err)}
	}
	it := &item{ring: r, service: service, account: account, dir: dir}
	w, err := it.within(limit)
	switch {
	case errors.Is(err, errNoRing): // which does not change by waiting
		return nil, fmt.Errorf("keyring: Key: %w", err)
	case err != nil:
		return nil, &unavailable{fmt.Errorf("keyring: Key: service %q, account %q: %w", service, account, err)}
	}
	return w, nil
}

// unavailable is an error that is tokenclient.ErrStoreUnavailable, too. Its text says what is
// the matter; that of the kind says "locked", which a keyring may be, and a folder is not.
type unavailable struct{ err error }

func (e *unavailable) Error() string   { return e.err.Error() }
func (e *unavailable) Unwrap() []error { return []error{tokenclient.ErrStoreUnavailable, e.err} }

func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is empty", what)
	case len(name) > maxName:
		return fmt.Errorf("the %s has %d bytes, at most %d are allowed", what, len(name), maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		// A line break would be a second command for the Keychain's tool.
		return fmt.Errorf("the %s %q is not UTF-8 without control characters", what, name)
	}
	return nil
}

// within runs loadOrCreate on a goroutine, as nothing can interrupt a keyring. A
// goroutine that is left behind owns the lock, if it has it, until the call that it
// hangs in ends or the process does, and then makes no key. So no second key can be
// made while it may still store the first.
func (it *item) within(limit time.Duration) (store.KeyWrapper, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	type result struct {
		w   store.KeyWrapper
		err error
	}
	done := make(chan result, 1) // buffered: the receiver may have left
	go func() {
		var res result
		defer func() {
			// The library panics if the bus dies while it waits for an answer.
			if p := recover(); p != nil {
				res = result{err: fmt.Errorf("panic with a %T: %s", p, it.step.Load())}
			}
			done <- res
		}()
		res.w, res.err = it.loadOrCreate(ctx)
	}()
	select {
	case res := <-done:
		if !errors.Is(res.err, context.DeadlineExceeded) {
			return res.w, res.err
		}
	case <-ctx.Done():
	}
	return nil, fmt.Errorf("not done within %v: %s", limit, it.step.Load())
}

func (it *item) loadOrCreate(ctx context.Context) (store.KeyWrapper, error) {
	it.step.Store("look at the folder " + it.dir)
	if err := makeDir(it.dir); err != nil {
		return nil, err
	}
	// Nearly always the key is there, and nobody has to wait for a lock.
	key, err := it.read()
	if err != nil && !errors.Is(err, errAbsent) {
		return nil, err
	}
	if err == nil {
		defer clear(key)
		id, err := keyID(key)
		if err != nil {
			return nil, err
		}
		if marked, err := it.marked(); err == nil && marked == id {
			return store.KeyBytes(id, key)
		}
	}

	unlock, err := it.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	marked, err := it.marked()
	if err != nil {
		return nil, err
	}
	key, err = it.read() // again: another process may have been faster
	if errors.Is(err, errAbsent) {
		if marked != "" {
			return nil, fmt.Errorf("the key %s is not in the keyring any more, and tokens sealed with it cannot be read: restore the keyring or, if the key is gone for good, remove %s and log in again",
				marked, it.marker())
		}
		key, err = it.create(ctx)
	}
	if err != nil {
		return nil, err
	}
	defer clear(key)
	id, err := keyID(key)
	if err != nil {
		return nil, err
	}
	switch marked {
	case id:
	case "":
		// Before the key is used. A crash in between leaves a key with which
		// nothing was sealed, and the next call finds it.
		if err := it.mark(id); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("the keyring holds the key %s in place of the key %s, and tokens sealed with that cannot be read: restore the keyring or, if the key is gone for good, remove %s and log in again",
			id, marked, it.marker())
	}
	return store.KeyBytes(id, key)
}

func (it *item) read() ([]byte, error) {
	it.step.Store("read the keyring; is it waiting for the user to unlock it?")
	value, err := it.ring.get(it.service, it.account)
	if err != nil {
		return nil, fmt.Errorf("read the keyring: %w", err)
	}
	return parse(value)
}

// create stores a new key, and reads it back: a keyring may say that all is well
// after the user refused.
func (it *item) create(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err // nobody is there to use it
	}
	raw := make([]byte, keyLen)
	rand.Read(raw) // never fails
	defer clear(raw)
	value := format(raw)
	it.step.Store("write to the keyring; is it waiting for the user to unlock it?")
	if err := it.ring.set(it.service, it.account, value); err != nil {
		return nil, fmt.Errorf("write to the keyring: %w", err)
	}
	key, err := it.read()
	if errors.Is(err, errAbsent) {
		return nil, errors.New("the keyring took the new key and does not have it")
	}
	if err == nil && format(key) != value {
		return nil, errors.New("another program has stored a key at the same moment: do all that use it have the same folder?")
	}
	return key, err
}

// The value of an item is text, which no keyring changes, and names its form, so
// that a key is told from another program's password.
const (
	form   = "silentrefresh-key-1:"
	keyLen = 32
)

func format(key []byte) string { return form + base64.RawURLEncoding.EncodeToString(key) }

func parse(value string) ([]byte, error) {
	text, ok := strings.CutPrefix(value, form)
	if ok && !strings.ContainsAny(text, "\r\n") { // package base64 skips them
		if key, err := base64.RawURLEncoding.Strict().DecodeString(text); err == nil && len(key) == keyLen {
			return key, nil
		}
	}
	return nil, fmt.Errorf("the item in the keyring holds %d bytes that are no key of this package; it is left as it is", len(value))
}

// keyID is the id that package store makes from a key.
func keyID(key []byte) (string, error) {
	id, err := hkdf.Key(sha256.New, key, nil, "silentrefresh/1/key id", idLen/2)
	return hex.EncodeToString(id), err
}
