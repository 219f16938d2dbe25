package processes_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// noticed is how long a daemon may take to see a login elsewhere. It looks every
// second, which tests with a clock of their own check; the rest is for a busy machine.
const noticed = patience / 2

// wantNotice gives p until noticed to make a request for user.
func wantNotice(t *testing.T, p *process, user string) {
	t.Helper()
	began := time.Now()
	eventually(t, p.name+" notices a login elsewhere", func() bool { return p.get(t).Status == 200 })
	took := time.Since(began)
	t.Logf("noticed after %v", took.Round(time.Millisecond))
	if took > noticed {
		t.Errorf("noticed after %v", took)
	}
	p.get(t).wantOK(t, p.name, user)
}

// TestDaemonBeforeLogin starts a daemon before anybody has logged in: it must not
// have to be restarted when somebody does, and must not bother the server until
// then.
func TestDaemonBeforeLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	daemon := w.start(t, nil)
	for range 3 {
		daemon.get(t).wantKind(t, "before the login", "ErrLoginRequired")
	}
	if c := w.srv.Counters(); c.Requests != 0 || c.Refreshes != 0 {
		t.Errorf("%d requests and %d refreshes without a token", c.Requests, c.Refreshes)
	}
	w.start(t, nil).login(t, w.issue("alice"))
	wantNotice(t, daemon, "alice")
	w.wantRefreshes(t, 0, 0)
}

// TestDaemonComesBackAfterRefusal ends the daemon's session by a refresh token that
// the server refuses. It asks the server once, not once per request, and works
// again after a login elsewhere.
func TestDaemonComesBackAfterRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login(t, "alice")
	daemon, other := w.start(t, nil), w.start(t, nil)
	daemon.get(t).wantOK(t, "before", "alice")
	w.srv.RevokeAll("alice")
	for range 3 {
		daemon.get(t).wantKind(t, "after everything was revoked", "ErrLoginRequired")
	}
	w.wantStored(t, tokenclient.Refused, 1)
	daemon.waitEvent(t, "SessionEnded").wantKind(t, "Hooks.SessionEnded", "ErrLoginRequired")
	other.get(t).wantKind(t, "a process that knows only the tombstone", "ErrLoginRequired")
	w.wantRefreshes(t, 1, 0)
	other.login(t, w.issue("bob"))
	wantNotice(t, daemon, "bob")
	w.wantRefreshes(t, 1, 0)
}

// TestDaemonComesBackAfterLogout is the same after a logout, by the daemon itself:
// a login elsewhere is another era.
func TestDaemonComesBackAfterLogout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.login(t, "alice")
	daemon, other := w.start(t, nil), w.start(t, nil)
	daemon.get(t).wantOK(t, "before", "alice")
	daemon.do(t, order{Do: "logout"}).want(t, "Logout")
	daemon.get(t).wantKind(t, "after the logout", "ErrLoggedOut")
	other.login(t, w.issue("bob"))
	wantNotice(t, daemon, "bob")
	w.wantRefreshes(t, 0, 0)
}
