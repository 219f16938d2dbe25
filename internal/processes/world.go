package processes

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// Patience is how long a test waits for what must happen. It is no measure of
// anything: a machine that is busy is slow.
const Patience = time.Minute

// Eventually waits for a condition outside of this process.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	pause := 2 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for end := time.Now().Add(Patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", Patience, what)
		}
		pause = min(2*pause, 50*time.Millisecond)
		tick.Reset(pause)
	}
}

// A World is a server, its gate, and a store that agents share.
type World struct {
	Server *tokentest.Server
	Gate   *Gate
	Store  tokenclient.Store // the test's own view of what the agents share
	Base   Settings          // of all agents

	count int
}

// NewWorld returns a world whose agents have the settings base, URL aside.
func NewWorld(t testing.TB, shared tokenclient.Store, base Settings) *World {
	t.Helper()
	w := &World{Server: tokentest.NewServer(t, nil), Store: shared, Base: base}
	w.Gate = newGate(t, w.Server)
	w.Base.URL = w.Gate.URL
	return w
}

// Issue makes a token of user's and takes care that nobody says it aloud.
func (w *World) Issue(user string) *tokenclient.Token {
	t := w.Server.Issue(user)
	w.Gate.keepSecret(t.AccessToken, t.RefreshToken)
	return t
}

// IssueExpired makes a token of user's that has expired an hour ago, at the server too.
func (w *World) IssueExpired(user string) *tokenclient.Token {
	w.Server.Set(func(o *tokentest.Options) { o.AccessLifetime = -time.Hour })
	token := w.Issue(user)
	w.Server.Set(func(o *tokentest.Options) { o.AccessLifetime = 0 })
	token.Issued = token.Expiry.Add(-15 * time.Minute)
	return token
}

// Put stores a token: a login by a process that ends at once.
func (w *World) Put(ctx context.Context, account string, token *tokenclient.Token) error {
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: w.Server.JSONRefresher(), Store: w.Store, Key: account, Origins: []string{w.Gate.URL},
	})
	if err != nil {
		return err
	}
	return errors.Join(s.SetToken(ctx, token), s.Close(ctx))
}

// Start starts an agent and waits until it is ready. A nil change leaves the settings
// as they are.
func (w *World) Start(t testing.TB, change func(*Settings)) *Process {
	t.Helper()
	return w.StartAll(t, 1, change)[0]
}

// StartAll starts n agents at the same time.
func (w *World) StartAll(t testing.TB, n int, change func(*Settings)) []*Process {
	t.Helper()
	all := make([]*Process, n)
	for i := range all {
		all[i] = w.Launch(t, change)
	}
	for _, p := range all {
		p.waitReady(t)
	}
	return all
}

// Launch starts an agent and does not wait.
func (w *World) Launch(t testing.TB, change func(*Settings)) *Process {
	t.Helper()
	s := w.Base
	w.count++
	s.Name = fmt.Sprintf("agent-%d", w.count)
	if change != nil {
		change(&s)
	}
	p := launch(t, s)
	t.Cleanup(func() {
		p.Kill()
		said := p.transcript()
		w.WantSilent(t, "what "+p.Name+" said", said)
		if t.Failed() {
			t.Logf("%s said:\n%s", p.Name, said[max(0, len(said)-4096):])
		}
	})
	return p
}

// WantSilent searches text for tokens.
func (w *World) WantSilent(t testing.TB, what, text string) {
	t.Helper()
	if w.Gate.shows(text) {
		t.Errorf("%s shows a token", what)
	}
}

// WantRefreshes compares the server's counters, when no refresh is under way.
func (w *World) WantRefreshes(t testing.TB, refreshes, reuses int) {
	t.Helper()
	w.Gate.History()
	if c := w.Server.Counters(); c.Refreshes != refreshes || c.Reuses != reuses {
		t.Errorf("%d refreshes with %d reuses, want %d with %d", c.Refreshes, c.Reuses, refreshes, reuses)
	}
}
