package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/keyring"
)

// What the key of a session may be, as --key takes it. One is chosen at login and stays: a
// tool that fell back to a weaker key where the better one is locked would be no better than
// with the weaker one.
const (
	keyFile      = "file"               // made if it is missing; file:PATH is another one
	keyEnv       = "env:"               // the name of a variable
	keyKeyring   = "keyring"            // of the operating system
	keyPlaintext = "insecure-plaintext" // none: spelled so that nobody chooses it by accident
)

// sealer is the Sealer that p.Key names. Only a login may make a key.
func (p *profile) sealer(home string, create bool) (*store.Sealer, error) {
	wrapper, err := keyOf(p.Key, home, create)
	if err != nil {
		return nil, &exitError{exitStore, fmt.Errorf("the key that seals the session (--key %s): %w", p.Key, err)}
	}
	if wrapper == nil {
		return store.Plaintext(), nil
	}
	return store.Seal(wrapper), nil
}

func keyOf(key, home string, create bool) (store.KeyWrapper, error) {
	switch {
	case key == keyPlaintext:
		return nil, nil
	case key == keyKeyring:
		w, err := keyring.Key(filepath.Join(home, "keyring"), "silentrefresh-tokencurl", "sessions")
		if err != nil {
			return nil, fmt.Errorf("%w: a machine without a desktop mostly has no keyring; --key %s needs none", err, keyFile)
		}
		return w, nil
	case strings.HasPrefix(key, keyEnv):
		return store.KeyEnv(strings.TrimPrefix(key, keyEnv))
	}
	path := keyPath(key, home)
	if create {
		return store.LoadOrCreateKeyFile(path)
	}
	w, err := store.KeyFile(path)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: bring it back, or log in again, which makes a new one", err)
	}
	return w, err
}

func keyPath(key, home string) string {
	if path, ok := strings.CutPrefix(key, keyFile+":"); ok {
		return path
	}
	return filepath.Join(home, "secret.key")
}

// parseKey takes --key. A path is made absolute: the next command may run elsewhere.
func parseKey(key string) (string, error) {
	path, isPath := strings.CutPrefix(key, keyFile+":")
	switch {
	case key == keyFile, key == keyKeyring, key == keyPlaintext:
		return key, nil
	case isPath && path != "":
		path, err := filepath.Abs(path)
		return keyFile + ":" + path, err
	case strings.HasPrefix(key, keyEnv) && key != keyEnv:
		return key, nil
	}
	return "", usage(fmt.Errorf("--key %q: choose %s, %s:PATH, %sNAME, %s or %s", key, keyFile, keyFile, keyEnv, keyKeyring, keyPlaintext))
}

// describeKey says what who logs in should know about the key.
func describeKey(key, home string) string {
	switch {
	case key == keyPlaintext:
		return "not sealed at all: whoever can read " + home + ", or a backup of it, has the session"
	case key == keyKeyring:
		return "sealed with a key in the keyring: as safe as that, and locked when it is"
	case strings.HasPrefix(key, keyEnv):
		return "sealed with the key in the environment variable " + strings.TrimPrefix(key, keyEnv)
	}
	return "sealed with the key file " + keyPath(key, home) + ": whoever can read both has the session; leave the key out of backups"
}
