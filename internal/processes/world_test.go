package processes_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

type orders = map[string]func(context.Context, processes.Order) error

func TestMain(m *testing.M) {
	all := orders{"say": say, "fail with": failWith}
	maps.Copy(all, systemOrders)
	processes.Program{Open: openFiles, Orders: all, Parallel: 16}.Main(m)
}

// openFiles opens the folder that agents share.
func openFiles(s processes.Settings) (tokenclient.Store, error) {
	if s.UID != 0 {
		if err := becomeUser(s.UID); err != nil {
			return nil, err
		}
	}
	key, err := store.KeyBytes(s.KeyID, s.SealKey)
	if err != nil {
		return nil, err
	}
	return store.NewFileWithOptions(s.Address, store.Seal(key), &store.FileOptions{DeadRequestsEndWithin: s.DeadRequestsEndWithin})
}

const account = "default"

// world has a store.File that agents share.
type world struct {
	*processes.World
	dir string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s := processes.Settings{
		Accounts: []string{account}, RefreshTimeout: 20 * time.Second, Log: true,
		Address: filepath.Join(t.TempDir(), "tokens"), KeyID: "test", SealKey: bytes.Repeat([]byte{7}, 32),
	}
	files, err := openFiles(s)
	if err != nil {
		t.Fatal(err)
	}
	return &world{processes.NewWorld(t, files, s), s.Address}
}

// file is where the record of name is.
func (w *world) file(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(w.dir, hex.EncodeToString(sum[:]))
}

// put is a login by a process that ends at once.
func (w *world) put(t testing.TB, token *tokenclient.Token) {
	t.Helper()
	if err := w.Put(t.Context(), account, token); err != nil {
		t.Fatal(err)
	}
}

// login stores a token of user's that is good for a while.
func (w *world) login(t testing.TB, user string) {
	t.Helper()
	w.put(t, w.Issue(user))
}

// loginExpired stores a token of user's that has expired an hour ago, at the
// server too.
func (w *world) loginExpired(t testing.TB, user string) *tokenclient.Token {
	t.Helper()
	token := w.IssueExpired(user)
	w.put(t, token)
	return token
}

// A holder is a process in the middle of the refresh that others will wait for.
type holder struct {
	*processes.Process
	began time.Time
	get   *processes.Pending // the request that needs the refresh
	held  *processes.Hold    // of it
}

// refreshing starts processes whose token has expired, has the first make a request, and
// returns when its refresh is held at the stage.
func (w *world) refreshing(t testing.TB, at processes.Stage, others int) (holder, []*processes.Process) {
	t.Helper()
	w.loginExpired(t, "alice")
	all := w.StartAll(t, 1+others, nil)
	h := holder{Process: all[0], held: w.Gate.HoldNext(at), began: time.Now()}
	h.get = h.Order(t, processes.Order{Do: "get"})
	h.held.WaitReached(t)
	return h, all[1:]
}

// elsewhere opens another folder, which is the test's own: that of the agents may belong to
// the user that they run as.
func (w *world) elsewhere(t testing.TB) *world {
	t.Helper()
	s := w.Base
	s.Address, s.UID = filepath.Join(t.TempDir(), "elsewhere"), 0
	files, err := openFiles(s)
	if err != nil {
		t.Fatal(err)
	}
	other := *w.World
	other.Store = files
	return &world{&other, s.Address}
}

// stored is what the folder holds, tombstones included.
func (w *world) stored(t testing.TB) tokenclient.Record {
	t.Helper()
	copied := w.elsewhere(t)
	raw, err := os.ReadFile(w.file(account))
	if err == nil {
		err = os.WriteFile(copied.file(account), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := copied.Store.Load(t.Context(), account)
	if err != nil && !errors.Is(err, tokenclient.ErrNoToken) {
		t.Fatal(err)
	}
	return r
}

func (w *world) wantStored(t testing.TB, state tokenclient.State, number uint64) tokenclient.Record {
	t.Helper()
	r := w.stored(t)
	if r.State != state || r.Number != number {
		t.Errorf("stored: %v, number %d; want %v, number %d", r.State, r.Number, state, number)
	}
	return r
}

// wantEndedAll fails the test if one of the refresh tokens still buys anything.
// It spends them.
func (w *world) wantEndedAll(t testing.TB, calls []processes.Call) {
	t.Helper()
	for _, c := range calls {
		if !c.Rotated() {
			continue
		}
		_, err := w.Server.JSONRefresher().Refresh(t.Context(), &tokenclient.Token{AccessToken: c.Access, RefreshToken: c.Refresh})
		if !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("a refresh token that %s got is still good at the server (%v)", c.Agent, err)
		}
	}
}
