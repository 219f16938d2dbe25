package redisstore_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A pair is a master and its replica, and processes that use whichever is the master.
type pair struct {
	master, replica *servers.Server
	primary         atomic.Pointer[servers.Server] // that clients are led to
	api             *tokentest.Server
}

func newPair(t *testing.T, config ...string) *pair {
	t.Helper()
	p := &pair{master: servers.Redis(t, append(config, "repl-diskless-sync-delay 0")...), api: tokentest.NewServer(t, nil)}
	p.primary.Store(p.master)
	host, port, _ := net.SplitHostPort(p.master.Address)
	p.replica = servers.Redis(t, "replicaof "+host+" "+port)
	c := connect(t, &redis.Options{Addr: p.master.Address})
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if info := c.InfoMap(t.Context(), "replication").Item("Replication", "slave0"); strings.Contains(info, "state=online") {
			return p
		}
		if time.Now().After(end) {
			t.Fatal("the replica does not come")
		}
	}
}

// process is a session of alice's as another process has it: with nothing in memory yet.
func (p *pair) process(t *testing.T) *tokenclient.Session {
	t.Helper()
	c := connect(t, &redis.Options{Addr: "the primary", Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, p.primary.Load().Address)
	}})
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: p.api.JSONRefresher(), Origins: []string{p.api.URL},
		Store: shared(t, redisstore.New(c, "p:")), Key: "alice",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error("Close:", err)
		}
	})
	return s
}

// get sends a request of s; nil: it was served.
func (p *pair) get(t *testing.T, s *tokenclient.Session) error {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t, time.Minute), http.MethodGet, p.api.URL+"/api/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(err, errors.New(resp.Status))
	}
	return nil
}

func (p *pair) mustGet(t *testing.T, s *tokenclient.Session) {
	t.Helper()
	if err := p.get(t, s); err != nil {
		t.Fatal(err)
	}
}

// losing cuts the replica off, and promotes it after do: it lacks what do wrote.
func (p *pair) losing(t *testing.T, do func()) {
	t.Helper()
	synced(t, p.master)
	p.replica.Freeze()
	c := connect(t, &redis.Options{Addr: p.master.Address})
	if n, err := c.ClientKillByFilter(t.Context(), "TYPE", "replica").Result(); n != 1 || err != nil {
		t.Fatal("no connection to a replica:", n, err)
	}
	do()
	p.master.Stop()
	p.replica.Thaw()
	if err := connect(t, &redis.Options{Addr: p.replica.Address}).Do(t.Context(), "replicaof", "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	p.primary.Store(p.replica)
}

// TestFailoverLosesARefresh: Redis said that it had stored the new token, and what is the
// master now has the one before, which is spent. The process that has the new one in memory puts
// it back. If it is gone, nobody knows, and the server sees a token twice.
func TestFailoverLosesARefresh(t *testing.T) {
	for _, test := range []struct {
		name   string
		gone   bool // the process that has refreshed
		reuses int
	}{
		{"the process has it in memory", false, 0},
		{"the process is gone", true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPair(t)
			first := p.process(t)
			if err := first.SetToken(within(t, time.Minute), p.api.Issue("alice")); err != nil {
				t.Fatal(err)
			}
			p.losing(t, func() {
				p.api.RevokeAccess("alice")
				p.mustGet(t, first)
			})
			other := p.process(t)
			p.api.RevokeAccess("alice")
			if !test.gone {
				p.mustGet(t, first)
			}
			err := p.get(t, other)
			if test.gone != errors.Is(err, tokenclient.ErrLoginRequired) || !test.gone && err != nil {
				t.Errorf("another process: %v", err)
			}
			if n := p.api.Counters().Reuses; n != test.reuses {
				t.Errorf("%d reuses, want %d", n, test.reuses)
			}
		})
	}
}

// TestMasterWithoutReplica: with min-replicas-to-write a master that has lost its replica
// stores nothing that would be lost with it: nothing is refreshed until there is a master again,
// and then all is well, for a process without anything in memory too.
func TestMasterWithoutReplica(t *testing.T) {
	p := newPair(t, "min-replicas-to-write 1")
	first := p.process(t)
	if err := first.SetToken(within(t, time.Minute), p.api.Issue("alice")); err != nil {
		t.Fatal(err)
	}
	p.losing(t, func() {
		p.api.RevokeAccess("alice")
		if err := p.get(t, first); !errors.Is(err, tokenclient.ErrStoreUnavailable) {
			t.Errorf("a master without its replica: %v; want ErrStoreUnavailable", err)
		}
	})
	p.mustGet(t, p.process(t))
	if n := p.api.Counters(); n.Refreshes != 1 || n.Reuses != 0 {
		t.Errorf("%d refreshes, %d reuses; want 1 and 0", n.Refreshes, n.Reuses)
	}
}
