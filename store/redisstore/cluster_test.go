package redisstore_test

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
	"github.com/seed-fbfaa0ec/silentrefresh/store/storetest"
)

// A cluster is three masters, and a replica of the first.
type cluster struct {
	addresses []string
	nodes     []*redis.Client
	ids       []string
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := new(cluster)
	for range 4 {
		_, bus, _ := net.SplitHostPort(servers.FreeAddress(t))
		s := servers.Redis(t, "cluster-enabled yes", "cluster-port "+bus, "cluster-node-timeout 5000", "repl-diskless-sync-delay 0")
		node := connect(t, &redis.Options{Addr: s.Address})
		id, err := node.Do(t.Context(), "cluster", "myid").Text()
		if err != nil {
			t.Fatal(err)
		}
		c.addresses, c.nodes, c.ids = append(c.addresses, s.Address), append(c.nodes, node), append(c.ids, id)
		if n := len(c.nodes); n > 1 {
			host, port, _ := net.SplitHostPort(c.addresses[0])
			c.do(t, n-1, "cluster", "meet", host, port, clusterBus(t, c.nodes[0]))
		}
	}
	for i, slots := range [][2]int{{0, 5460}, {5461, 10922}, {10923, 16383}} {
		c.do(t, i, "cluster", "addslotsrange", slots[0], slots[1])
	}
	// Nodes tell each other in their own time, and nobody tells us when.
	c.until(t, func() bool {
		return strings.Contains(c.do(t, 3, "cluster", "nodes"), c.ids[0])
	})
	c.do(t, 3, "cluster", "replicate", c.ids[0])
	c.until(t, func() bool {
		for i := range c.nodes {
			info, nodes := c.do(t, i, "cluster", "info"), c.do(t, i, "cluster", "nodes")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:4") ||
				strings.Count(nodes, " connected") != 4 || !strings.Contains(nodes, "slave "+c.ids[0]) {
				return false
			}
		}
		return strings.Contains(c.do(t, 3, "info", "replication"), "master_link_status:up")
	})
	return c
}

func clusterBus(t *testing.T, node *redis.Client) string {
	t.Helper()
	port, err := node.ConfigGet(t.Context(), "cluster-port").Result()
	if err != nil {
		t.Fatal(err)
	}
	return port["cluster-port"]
}

func (c *cluster) do(t *testing.T, node int, args ...any) string {
	t.Helper()
	answer, err := c.nodes[node].Do(t.Context(), args...).Text()
	if err != nil {
		t.Fatal(args, err)
	}
	return answer
}

func (c *cluster) until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the cluster is not ready:", c.do(t, 0, "cluster", "info"), c.do(t, 0, "cluster", "nodes"))
		}
	}
}

// careless returns the options of a client that reads wherever it likes.
func careless(addresses []string) *redis.ClusterOptions {
	return &redis.ClusterOptions{Addrs: addresses, ReadOnly: true, RouteRandomly: true}
}

func TestCluster(t *testing.T) {
	var c *cluster
	places := 0
	storetest.RunKV(t, func(t testing.TB, address string) store.KV {
		addresses, prefix, _ := strings.Cut(address, " ")
		client := redis.NewClusterClient(careless(strings.Split(addresses, ",")))
		t.Cleanup(func() { _ = client.Close() })
		return redisstore.New(client, prefix)
	}, func(*testing.T) string {
		if c == nil {
			c = startCluster(t)
		}
		places++
		return fmt.Sprintf("%s place%d:", strings.Join(c.addresses, ","), places)
	})

	for name, o := range map[string]*redis.ClusterOptions{
		"ReadOnly":       {Addrs: c.addresses, ReadOnly: true},
		"RouteByLatency": {Addrs: c.addresses, RouteByLatency: true},
		"RouteRandomly":  {Addrs: c.addresses, RouteRandomly: true},
	} {
		client := redis.NewClusterClient(o)
		defer client.Close()
		kv := redisstore.New(client, name)
		mustSwap(t, kv, nil, one)
		for range 20 {
			mustHave(t, kv, one)
		}
		// The same client does go to the replica with what it may read there.
		for n := range 100 {
			client.Get(t.Context(), fmt.Sprint(n))
		}
	}
	if n := calls(t, c.nodes[3], "getex") + calls(t, c.nodes[3], "evalsha"); n != 0 {
		t.Errorf("the replica was asked %d times", n)
	}
	if calls(t, c.nodes[3], "get") == 0 {
		t.Error("the replica was never asked at all: the test does not test what it says")
	}
	t.Run("slot moves", func(t *testing.T) { c.moveSlot(t) })
}

// moveSlot moves the slot of a key while it is used. What is not there any more is
// where the slot goes.
func (c *cluster) moveSlot(t *testing.T) {
	client := redis.NewClusterClient(careless(c.addresses))
	defer client.Close()
	kv := redisstore.New(client, "{moves}")
	slot, err := client.ClusterKeySlot(t.Context(), "{moves}").Result()
	if err != nil {
		t.Fatal(err)
	}
	told, hears, _ := watching(t, kv)
	wantTell(t, told, "it hears")
	from := int(slot / 5461)
	to := (from + 1) % 3
	c.do(t, to, "cluster", "setslot", slot, "importing", c.ids[from])
	c.do(t, from, "cluster", "setslot", slot, "migrating", c.ids[to])
	mustHave(t, kv, nil)
	mustSwap(t, kv, nil, one)
	mustHave(t, kv, one)
	if n, err := c.nodes[to].DBSize(t.Context()).Result(); err != nil {
		t.Fatal(n, err)
	}
	for _, node := range []int{to, from} {
		c.do(t, node, "cluster", "setslot", slot, "node", c.ids[to])
	}
	mustSwap(t, kv, one, two)
	mustHave(t, kv, two)
	got, err := c.nodes[to].Get(t.Context(), "{moves}"+key).Bytes()
	if err != nil || !bytes.Equal(got, two) {
		t.Errorf("on the node that has the slot now: %q, %v", got, err)
	}
	for wantTell(t, told, "the slot has moved"); hears(); {
		wantTell(t, told, "the shard that had the slot tells no more") // it was of a swap before
	}
}
