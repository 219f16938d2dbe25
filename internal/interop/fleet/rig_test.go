package fleet_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// account is whose token the members share when there is one.
const account = "alice"

// world is a server, its gate, and an engine that members share.
type world struct {
	srv     *tokentest.Server
	gate    *gate
	engine  string
	running *running
	store   tokenclient.Store // the test's own view
	base    settings          // of all members
	count   int
}

func newWorld(t testing.TB, name string, timeout, margin time.Duration) *world {
	t.Helper()
	w := &world{srv: tokentest.NewServer(t, nil), engine: name}
	w.gate = newGate(t, w.srv)
	w.running = engines[name].start(t)
	var err error
	if w.store, err = engines[name].open(w.running.address, margin); err != nil {
		t.Fatal(err)
	}
	w.base = settings{
		URL: w.gate.URL, Accounts: []string{account}, Engine: name, Address: w.running.address,
		RefreshTimeout: timeout, Margin: margin,
	}
	return w
}

func (w *world) launch(t testing.TB) *process {
	t.Helper()
	s := w.base
	w.count++
	s.Name = fmt.Sprintf("%s-%d", w.engine, w.count)
	return launch(t, s)
}

// login stores a new token of account's.
func (w *world) login(ctx context.Context, account string) error {
	_, _, err := w.store.Replace(ctx, account, w.srv.Issue(account))
	return err
}

// loginExpired stores a token that has expired an hour ago, at the server too.
func (w *world) loginExpired(ctx context.Context) error {
	w.srv.Set(func(o *tokentest.Options) { o.AccessLifetime = -time.Hour })
	token := w.srv.Issue(account)
	w.srv.Set(func(o *tokentest.Options) { o.AccessLifetime = 0 })
	token.Issued = token.Expiry.Add(-15 * time.Minute)
	_, _, err := w.store.Replace(ctx, account, token)
	return err
}

// session is a session in the test's own process.
func (w *world) session(t testing.TB) *tokenclient.Session {
	t.Helper()
	refresher := w.srv.JSONRefresher()
	refresher.URL = w.gate.URL + "/token/refresh"
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: refresher, Store: w.store, Key: account, Origins: []string{w.gate.URL},
		RefreshTimeout: w.base.RefreshTimeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}
