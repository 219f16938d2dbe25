package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// openWith is a process that opens the folder dir with these keys.
func openWith(tb testing.TB, dir string, current store.KeyWrapper, older ...store.KeyWrapper) *store.File {
	tb.Helper()
	files, err := store.NewFile(dir, store.Seal(current, older...))
	if err != nil {
		tb.Fatal(err)
	}
	return files
}

// A key is changed over three starts of a program: with the old one, with both,
// with the new one.
func TestRotation(t *testing.T) {
	keys := func(id string) func() store.KeyWrapper {
		return func() store.KeyWrapper { return keyOf(t, id) }
	}
	phrase := func(s string) func() store.KeyWrapper {
		return func() store.KeyWrapper { return store.CheapPassphrase(s, nil) }
	}
	for name, c := range map[string]struct {
		old, current func() store.KeyWrapper
		retired      string // in the error that a program with the other key gets
	}{
		"keys":                {keys("a"), keys("b"), `"a"`},
		"passphrases":         {phrase("old"), phrase("new"), "another passphrase"},
		"key to passphrase":   {keys("a"), phrase("new"), `"a"`},
		"passphrase to a key": {phrase("old"), keys("b"), `"passphrase"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir() + "/tokens"
			login(t, openWith(t, dir, c.old()), "alice", "a")
			login(t, openWith(t, dir, c.old()), "bob", "b")

			both := openWith(t, dir, c.current(), c.old())
			seen, err := both.Load(t.Context(), "alice")
			if err != nil {
				t.Fatal(err)
			}
			wantToken(t, seen, "refresh-a", 1)
			if _, err := both.Refresh(t.Context(), "alice", seen, 1e9, next); err != nil {
				t.Fatal(err)
			}

			after := openWith(t, dir, c.current())
			wantStored(t, after, "alice", "refresh-a'", 2)
			rec, err := after.Load(t.Context(), "bob") // was not saved since
			wantErr(t, err, tokenclient.ErrStoreUnavailable)
			if rec.Token != nil || errors.Is(err, tokenclient.ErrStoreCorrupt) || !strings.Contains(err.Error(), c.retired) {
				t.Errorf("retired key: %v, want %s in it", err, c.retired)
			}
			_, err = after.Refresh(t.Context(), "bob", tokenclient.Record{}, 1e9, never(t))
			wantErr(t, err, tokenclient.ErrStoreUnavailable)
			_, err = openWith(t, dir, c.old()).Load(t.Context(), "alice")
			wantErr(t, err, tokenclient.ErrStoreUnavailable)

			wantStored(t, both, "bob", "refresh-b", 1) // nothing was lost meanwhile
		})
	}
}

// Passphrases share an id, and nothing else does.
func TestPassphraseIDs(t *testing.T) {
	one, two, three := store.CheapPassphrase("1", nil), store.CheapPassphrase("2", nil), store.CheapPassphrase("3", nil)
	named := keyOf(t, "passphrase")
	dir := t.TempDir() + "/tokens"
	for name, c := range map[string]struct {
		s    *store.Sealer
		want bool
	}{
		"three":              {store.Seal(one, two, three), true},
		"a key in between":   {store.Seal(one, keyOf(t, "x"), three), true},
		"key of that id":     {store.Seal(one, named), false},
		"the other way":      {store.Seal(named, one), false},
		"among two":          {store.Seal(one, two, named), false},
		"disguised as other": {store.Seal(one, &hooked{KeyWrapper: two}), false},
	} {
		if _, err := store.NewFile(dir, c.s); (err == nil) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// With several passphrases, damage is still not taken for a wrong one.
func TestPassphrasesAndDamage(t *testing.T) {
	right, wrong := store.CheapPassphrase("right", nil), store.CheapPassphrase("wrong", nil)
	kv := &mapKV{}
	a := sharedWith(t, kv, store.Seal(wrong, right))
	login(t, sharedWith(t, kv, store.Seal(right)), "k", "a")
	wantStored(t, a, "k", "refresh-a", 1)
	sealed := kv.raw(nameInKV("k"))
	sealed[len(sealed)-1] ^= 1
	kv.put(nameInKV("k"), sealed)
	_, err := a.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrStoreCorrupt)
}

// A process that does not have the new key yet is overtaken, while it refreshes, by one that
// seals with it. That it cannot read what is stored does not mean that a login is needed.
func TestRotationOvertaken(t *testing.T) {
	for name, overtake := range map[string]func(ctx context.Context, s tokenclient.Store) error{
		"by a login": func(ctx context.Context, s tokenclient.Store) error {
			_, _, err := s.Replace(ctx, "k", &tokenclient.Token{AccessToken: "other", RefreshToken: "refresh-other"})
			return err
		},
		"by a refresh": func(ctx context.Context, s tokenclient.Store) error {
			seen, err := s.Load(ctx, "k")
			if err == nil {
				_, err = s.Save(ctx, "k", seen, &tokenclient.Token{AccessToken: "other", RefreshToken: "refresh-other"})
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			kv := &mapKV{}
			first := sharedWith(t, kv, store.Seal(keyOf(t, "a")))
			second := sharedWith(t, kv, store.Seal(keyOf(t, "b"), keyOf(t, "a")))
			ended := make(chan error, 1)
			s, err := tokenclient.New(tokenclient.Config{
				Store: first, Key: "k", AnyOrigin: true, RefreshTimeout: time.Second,
				Hooks: &tokenclient.Hooks{SessionEnded: func(err error) { ended <- err }},
				Refresher: tokenclient.RefresherFunc(func(ctx context.Context, _ *tokenclient.Token) (*tokenclient.Token, error) {
					return &tokenclient.Token{AccessToken: "own", RefreshToken: "refresh-own"}, overtake(ctx, second)
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: "a", RefreshToken: "refresh-a"}); err != nil {
				t.Fatal(err)
			}
			_, err = s.Refresh(t.Context())
			wantErr(t, err, tokenclient.ErrStoreUnavailable)
			if errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("a login is required: %v", err)
			}
			if _, err := s.Peek(t.Context()); err != nil {
				t.Errorf("the session has no token any more: %v", err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			select {
			case err := <-ended:
				t.Errorf("the session has ended: %v", err)
			default:
			}
		})
	}
}
