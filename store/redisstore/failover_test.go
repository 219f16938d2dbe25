package redisstore_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
)

// startReplica starts a replica of a master and waits until it has all.
func startReplica(t *testing.T, master *servers.Server) *servers.Server {
	t.Helper()
	s := servers.Redis(t, "replicaof "+strings.Replace(master.Address, ":", " ", 1))
	synced(t, master)
	return s
}

// synced waits until a replica has what its master has.
func synced(t *testing.T, master *servers.Server) {
	t.Helper()
	c := connect(t, &redis.Options{Addr: master.Address, ReadTimeout: time.Minute})
	// WAIT asks for what this connection has written.
	p := c.Pipeline()
	p.Set(t.Context(), "synced", 1, 0)
	n := p.Do(t.Context(), "wait", 1, 50_000)
	if _, err := p.Exec(t.Context()); err != nil || n.Val() != int64(1) {
		t.Fatal("no replica:", n.Val(), err)
	}
}

// What a replica has may be old, or soon undone.
func TestReplicaIsNotAsked(t *testing.T) {
	master := servers.Redis(t, "repl-diskless-sync-delay 0")
	kv := redisstore.New(connect(t, &redis.Options{Addr: master.Address}), "")
	mustSwap(t, kv, nil, one)
	replica := connect(t, &redis.Options{Addr: startReplica(t, master).Address})
	if got, err := replica.Get(t.Context(), key).Bytes(); !bytes.Equal(got, one) {
		t.Fatal("the replica has nothing:", err)
	}
	kv = redisstore.New(replica, "")
	if got, err := kv.Get(t.Context(), key); err == nil || !strings.Contains(err.Error(), "READONLY") {
		t.Errorf("Get: %q, %v", got, err)
	}
	if _, err := kv.CompareAndSwap(t.Context(), key, one, two); err == nil || !strings.Contains(err.Error(), "READONLY") {
		t.Error("CompareAndSwap:", err)
	}
}

// A store outlives the master of its Redis.
func TestSentinelFailover(t *testing.T) {
	master := servers.Redis(t, "repl-diskless-sync-delay 0")
	replica := startReplica(t, master)
	host, port, _ := net.SplitHostPort(master.Address)
	sentinel := servers.Sentinel(t,
		"sentinel monitor main "+host+" "+port+" 1",
		"sentinel down-after-milliseconds main 500",
		"sentinel failover-timeout main 5000")

	watch := connect(t, &redis.Options{Addr: sentinel.Address}).Subscribe(t.Context(), "+switch-master")
	defer watch.Close()
	if _, err := watch.Receive(t.Context()); err != nil { // it has subscribed
		t.Fatal(err)
	}
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{sentinel.Address}})
	defer client.Close()
	anywhere := redis.NewFailoverClusterClient(&redis.FailoverOptions{
		MasterName: "main", SentinelAddrs: []string{sentinel.Address}, RouteRandomly: true,
		// This client drops hosts of the machine itself, as if all were 127.0.0.1.
		Dialer: func(ctx context.Context, network, address string) (net.Conn, error) {
			for _, s := range []*servers.Server{master, replica} {
				if strings.HasPrefix(address, ":") && strings.HasSuffix(s.Address, address) {
					address = s.Address
				}
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	})
	defer anywhere.Close()

	sessions := shared(t, redisstore.New(client, "p:"))
	elsewhere := shared(t, redisstore.New(anywhere, "p:"))
	seen, _, err := sessions.Replace(within(t, time.Minute), "alice", token(1))
	if err != nil {
		t.Fatal(err)
	}
	synced(t, master)
	sentinelKnows(t, sentinel)
	for range 10 {
		if now, err := elsewhere.Load(within(t, time.Minute), "alice"); err != nil || now.Era != seen.Era {
			t.Fatalf("%+v, %v", now, err)
		}
	}
	if n := calls(t, connect(t, &redis.Options{Addr: replica.Address}), "getex"); n != 0 {
		t.Errorf("the replica was asked %d times", n)
	}

	told, hears, _ := watching(t, redisstore.New(client, "p:"))
	wantTell(t, told, "it hears")
	master.Stop()
	select {
	case <-watch.Channel():
	case <-time.After(time.Minute):
		t.Fatal("the sentinel promotes nothing")
	}
	for n, s := range []*store.Shared{sessions, elsewhere} {
		began := time.Now()
		for {
			now, err := s.Refresh(within(t, time.Minute), "alice", seen, time.Second, returns(token(n+2)))
			if err == nil {
				seen = now
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatal(err)
			}
		}
	}
	if seen.Number != 3 {
		t.Errorf("number %d after two refreshes", seen.Number)
	}
	for !hears() {
		wantTell(t, told, "the new master is heard")
	}
}

// sentinelKnows waits until the sentinel can promote the replica.
func sentinelKnows(t *testing.T, sentinel *servers.Server) {
	t.Helper()
	c := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Address})
	defer c.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		replicas, err := c.Replicas(t.Context(), "main").Result()
		if err == nil && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(replicas, err)
		}
	}
}
