package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

func ExampleInspect() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	key, err := store.KeyBytes("2026-11", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	files, err := store.NewFile(filepath.Join(dir, "tokens"), store.Seal(key))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	if _, _, err := files.Replace(ctx, "alice", &tokenclient.Token{AccessToken: "a1", RefreshToken: "r1"}); err != nil {
		fmt.Println(err)
		return
	}
	for _, key := range []string{"alice", "bob"} {
		i, err := store.Inspect(ctx, files, key)
		fmt.Printf("%s: %v, number %d, sealed by %q, held: %t, %v\n", key, i.State, i.Number, i.SealedBy, i.Held, err)
	}

	// Output:
	// alice: active, number 1, sealed by "2026-11", held: false, <nil>
	// bob: absent, number 0, sealed by "", held: false, <nil>
}

// inspectStorage is the plainest there is.
type inspectStorage map[string][]byte

func (s inspectStorage) Get(key string) ([]byte, error)     { return s[key], nil }
func (s inspectStorage) Put(key string, value []byte) error { s[key] = value; return nil }

func inspectKey(t *testing.T, id string) store.KeyWrapper {
	t.Helper()
	key, err := store.KeyBytes(id, bytes.Repeat([]byte(id[:1]), 32))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestInspect goes through the life of a record in each kind of store.
func TestInspect(t *testing.T) {
	dir, kv := t.TempDir()+"/tokens", inspectStorage{}
	file := func(t *testing.T, s *store.Sealer) tokenclient.Store {
		f, err := store.NewFile(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	shared := func(t *testing.T, s *store.Sealer) tokenclient.Store {
		f, err := store.NewShared(store.SingleProcess(kv), s, nil)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	memory := func(*testing.T, *store.Sealer) tokenclient.Store { return new(store.Memory) }
	for name, kind := range map[string]struct {
		open   func(*testing.T, *store.Sealer) tokenclient.Store
		sealed string
	}{
		"file": {file, "old"}, "shared": {shared, "old"}, "memory": {memory, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := kind.open(t, store.Seal(inspectKey(t, "old")))
			ctx, now := t.Context(), time.Now().Round(0).Truncate(time.Second)
			look := func(want store.Inspection) {
				t.Helper()
				got, err := store.Inspect(ctx, s, "alice")
				if err != nil {
					t.Fatal(err)
				}
				if want.State != tokenclient.Absent && got.Era == [16]byte{} {
					t.Error("no era")
				}
				got.Era = [16]byte{}
				if !got.Issued.Equal(want.Issued) || !got.Expiry.Equal(want.Expiry) || !got.RefreshExpiry.Equal(want.RefreshExpiry) {
					t.Errorf("times: got %+v, want %+v", got, want)
				}
				if got.Held != (got.Hold > 0) {
					t.Errorf("held %t for %v", got.Held, got.Hold)
				}
				got.Issued, got.Expiry, got.RefreshExpiry, got.Hold = want.Issued, want.Expiry, want.RefreshExpiry, want.Hold
				if got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				if said := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(said, "secret") {
					t.Errorf("it shows a token: %s", said)
				}
			}
			look(store.Inspection{})
			token := &tokenclient.Token{AccessToken: "secret-a1", RefreshToken: "secret-r1", Issued: now, Expiry: now.Add(time.Hour), RefreshExpiry: now.Add(24 * time.Hour)}
			seen, _, err := s.Replace(ctx, "alice", token)
			if err != nil {
				t.Fatal(err)
			}
			want := store.Inspection{State: tokenclient.Active, Number: 1, SealedBy: kind.sealed, Issued: now, Expiry: token.Expiry, RefreshExpiry: token.RefreshExpiry}
			look(want)
			seen, err = s.Refresh(ctx, "alice", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				during := want
				during.Announced, during.Held = 1, true
				look(during)
				next := token.Clone()
				next.AccessToken, next.Issued = "secret-a2", now.Add(time.Minute)
				return next, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want.Number, want.Issued = 2, now.Add(time.Minute)
			look(want)
			_, err = s.Refresh(ctx, "alice", seen, time.Second, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				return nil, errors.New("the answer was lost")
			})
			if err == nil {
				t.Fatal("a refresh that failed went well")
			}
			want.Announced = 1
			look(want)
			if _, _, err := s.Replace(ctx, "alice", nil); err != nil {
				t.Fatal(err)
			}
			look(store.Inspection{State: tokenclient.LoggedOut})
		})
	}
}

// TestInspectWithoutTheKey: what needs no key is told all the same, and which key it would
// take.
func TestInspectWithoutTheKey(t *testing.T) {
	dir := t.TempDir() + "/tokens"
	open := func(s *store.Sealer) *store.File {
		f, err := store.NewFile(dir, s)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if _, _, err := open(store.Seal(inspectKey(t, "old"))).Replace(t.Context(), "alice", &tokenclient.Token{AccessToken: "a", RefreshToken: "r", Expiry: time.Now()}); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*store.Sealer{"another key": store.Seal(inspectKey(t, "new")), "no key": store.Plaintext()} {
		i, err := store.Inspect(t.Context(), open(s), "alice")
		if !errors.Is(err, tokenclient.ErrStoreUnavailable) {
			t.Errorf("%s: want an error that is ErrStoreUnavailable, got %v", name, err)
		}
		if i.State != tokenclient.Active || i.Number != 1 || i.SealedBy != "old" || !i.Expiry.IsZero() {
			t.Errorf("%s: %+v", name, i)
		}
	}
	i, err := store.Inspect(t.Context(), open(store.Seal(inspectKey(t, "new"), inspectKey(t, "old"))), "alice")
	if err != nil || i.SealedBy != "old" || i.Expiry.IsZero() {
		t.Errorf("with the key among the older ones: %+v, %v", i, err)
	}
	if _, err := store.Inspect(t.Context(), nil, "alice"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a foreign store: want an error that is ErrUnsupported, got %v", err)
	}
	if _, err := store.Inspect(t.Context(), new(store.File), "alice"); err == nil {
		t.Error("a store that nobody made was looked into")
	}
	locks, err := filepath.Glob(dir + "/*.lock")
	if err != nil || len(locks) != 1 {
		t.Fatal(locks, err)
	}
	if err := os.WriteFile(strings.TrimSuffix(locks[0], ".lock"), []byte("no record"), 0o600); err != nil {
		t.Fatal(err)
	}
	if i, err := store.Inspect(t.Context(), open(store.Plaintext()), "alice"); !errors.Is(err, tokenclient.ErrStoreCorrupt) || i != (store.Inspection{}) {
		t.Errorf("no record: want nothing and ErrStoreCorrupt, got %+v, %v", i, err)
	}
}
