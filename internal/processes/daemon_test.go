package processes_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// noticed is how long a daemon may take to see a login elsewhere. It looks every
// second, which tests with a clock of their own check; the rest is for a busy machine.
const noticed = processes.Patience / 2

// wantNotice gives p until noticed to make a request for user.
func wantNotice(t *testing.T, p *processes.Process, user string) {
	t.Helper()
	began := time.Now()
	processes.Eventually(t, p.Name+" notices a login elsewhere", func() bool { return p.Get(t).Status == 200 })
	took := time.Since(began)
	t.Logf("noticed after %v", took.Round(time.Millisecond))
	if took > noticed {
		t.Errorf("noticed after %v", took)
	}
	p.Get(t).WantServed(t, p.Name, user)
}

// TestDaemonBeforeLogin starts a daemon before anybody has logged in: it must not
// have to be restarted when somebody does, and must not bother the server until
// then.
func TestDaemonBeforeLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	daemon := w.Start(t, nil)
	for range 3 {
		daemon.Get(t).WantKind(t, "before the login", "ErrLoginRequired")
	}
	if c := w.Server.Counters(); c.Requests != 0 || c.Refreshes != 0 {
		t.Errorf("%d requests and %d refreshes without a token", c.Requests, c.Refreshes)
	}
	w.Start(t, nil).Login(t, w.Issue("alice"))
	wantNotice(t, daemon, "alice")
	w.WantRefreshes(t, 0, 0)
}

// TestDaemonComesBackAfterRefusal ends the daemon's session by a refresh token that
// the server refuses. It asks the server once, not once per request, and works
// again after a login elsewhere.
func TestDaemonComesBackAfterRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login(t, "alice")
	daemon, other := w.Start(t, nil), w.Start(t, nil)
	daemon.Get(t).WantServed(t, "before", "alice")
	w.Server.RevokeAll("alice")
	for range 3 {
		daemon.Get(t).WantKind(t, "after everything was revoked", "ErrLoginRequired")
	}
	w.wantStored(t, tokenclient.Refused, 1)
	daemon.WaitEvent(t, "SessionEnded").WantKind(t, "Hooks.SessionEnded", "ErrLoginRequired")
	other.Get(t).WantKind(t, "a process that knows only the tombstone", "ErrLoginRequired")
	w.WantRefreshes(t, 1, 0)
	other.Login(t, w.Issue("bob"))
	wantNotice(t, daemon, "bob")
	w.WantRefreshes(t, 1, 0)
}

// TestDaemonComesBackAfterLogout is the same after a logout, by the daemon itself:
// a login elsewhere is another era.
func TestDaemonComesBackAfterLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login(t, "alice")
	daemon, other := w.Start(t, nil), w.Start(t, nil)
	daemon.Get(t).WantServed(t, "before", "alice")
	daemon.Do(t, processes.Order{Do: "logout"}).Want(t, "Logout")
	daemon.Get(t).WantKind(t, "after the logout", "ErrLoggedOut")
	other.Login(t, w.Issue("bob"))
	wantNotice(t, daemon, "bob")
	w.WantRefreshes(t, 0, 0)
}
