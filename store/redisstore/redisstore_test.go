package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
	"github.com/seed-fbfaa0ec/silentrefresh/store/storetest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// connect returns a client that is closed when the test ends.
func connect(t testing.TB, o *redis.Options) *redis.Client {
	t.Helper()
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// shared returns a store over kv.
func shared(t *testing.T, kv store.KV) *store.Shared {
	t.Helper()
	s, err := store.NewShared(kv, store.Plaintext(), &store.SharedOptions{Margin: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func token(n int) *tokenclient.Token {
	return &tokenclient.Token{AccessToken: fmt.Sprint("access-", n), RefreshToken: fmt.Sprint("refresh-", n)}
}

// within is the context of a call that must not hang.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// key and the values are such as a Shared uses.
var (
	key  = strings.Repeat("0123456789abcdef", 4)
	one  = []byte("\x01one \x00\xff")
	two  = []byte("\x01two \x00\xfe")
	anew = []byte("\x01three")
)

func mustSwap(t *testing.T, kv store.KV, old, new []byte) {
	t.Helper()
	if ok, err := kv.CompareAndSwap(within(t, time.Minute), key, old, new); !ok || err != nil {
		t.Fatalf("CompareAndSwap: %t, %v", ok, err)
	}
}

func mustHave(t *testing.T, kv store.KV, want []byte) {
	t.Helper()
	if got, err := kv.Get(within(t, time.Minute), key); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("Get: %q, not %q: %v", got, want, err)
	}
}

// The children of RunKV come by here too, so the server is started by the function
// that only the parent calls.
func TestKV(t *testing.T) {
	var redisServer *servers.Server
	places := 0
	storetest.RunKV(t, func(t testing.TB, address string) store.KV {
		address, prefix, _ := strings.Cut(address, " ")
		return redisstore.New(connect(t, &redis.Options{Addr: address}), prefix)
	}, func(*testing.T) string {
		if redisServer == nil {
			redisServer = servers.Redis(t)
		}
		places++
		return fmt.Sprintf("%s place%d:", redisServer.Address, places)
	})
}

func TestNilClient(t *testing.T) {
	if kv := redisstore.New(nil, "p:"); kv != nil {
		t.Fatalf("%T for no client", kv)
	}
	if _, err := store.NewShared(redisstore.New(nil, ""), store.Plaintext(), nil); err == nil {
		t.Fatal("NewShared takes no client for one")
	}
	kv := redisstore.New((*redis.Client)(nil), "")
	if _, err := kv.Get(t.Context(), key); err == nil {
		t.Error("Get of a client that is a nil pointer: no error")
	}
}

// A Ring looks for keys on another server while theirs is down, and does not find
// them there.
func TestRing(t *testing.T) {
	s := servers.Redis(t)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": s.Address}})
	defer ring.Close()
	kv := redisstore.New(ring, "")
	_, err := kv.Get(t.Context(), key)
	if _, err2 := kv.CompareAndSwap(t.Context(), key, nil, one); err == nil || err2 == nil || !strings.Contains(err.Error(), "redis.Ring") {
		t.Error("a Ring works:", err, err2)
	}
}

func TestPrefix(t *testing.T) {
	s := servers.Redis(t)
	c := connect(t, &redis.Options{Addr: s.Address})
	for _, prefix := range []string{"", "app:", "{app} ü\x00:"} {
		kv := redisstore.New(c, prefix)
		mustHave(t, kv, nil)
		mustSwap(t, kv, nil, []byte(prefix+"value"))
		if got, err := c.Get(t.Context(), prefix+key).Result(); got != prefix+"value" {
			t.Errorf("under prefix and key: %q, %v", got, err)
		}
		if ttl, err := c.TTL(t.Context(), prefix+key).Result(); ttl != -1 {
			t.Error("a record expires:", ttl, err)
		}
	}
}

func TestScriptIsForgotten(t *testing.T) {
	s := servers.Redis(t)
	c := connect(t, &redis.Options{Addr: s.Address})
	kv := redisstore.New(c, "")
	mustSwap(t, kv, nil, one)
	if err := c.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	mustSwap(t, kv, one, two)
	mustSwap(t, kv, two, anew)
	if n := calls(t, c, "eval"); n != 2 {
		t.Errorf("%d scripts were sent, want one at first and one after the flush", n)
	}
}

// calls is how often a server has run a command, be it from a script.
func calls(t *testing.T, c redis.UniversalClient, command string) (n int) {
	t.Helper()
	info, err := c.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		if stat, found := strings.CutPrefix(line, "cmdstat_"+command+":calls="); found {
			fmt.Sscanf(stat, "%d,", &n)
		}
	}
	return n
}

// What was answered to is there after a kill, and nobody but Redis has to start again.
func TestRedisStops(t *testing.T) {
	s := servers.Redis(t)
	// The client itself would wait for a minute.
	sessions := shared(t, redisstore.New(connect(t, &redis.Options{Addr: s.Address, ReadTimeout: time.Minute}), ""))
	seen, _, err := sessions.Replace(t.Context(), "alice", token(1))
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]struct{ begin, end func() }{
		"stopped": {s.Stop, s.Start},
		"frozen":  {s.Freeze, s.Thaw},
	} {
		fault.begin()
		began := time.Now()
		_, err := sessions.Load(within(t, 200*time.Millisecond), "alice")
		if took := time.Since(began); took > 30*time.Second { // a busy machine is slow
			t.Errorf("%s: Load took %v", name, took)
		}
		if !errors.Is(err, tokenclient.ErrStoreUnavailable) || !errors.Is(err, context.DeadlineExceeded) && name == "frozen" {
			t.Errorf("%s: %v, not ErrStoreUnavailable", name, err)
		}
		fault.end()
		if now, err := sessions.Load(within(t, time.Minute), "alice"); err != nil || now.Era != seen.Era || now.Token.RefreshToken != "refresh-1" {
			t.Fatalf("no longer %s: %+v, %v", name, now, err)
		}
	}
	now, err := sessions.Refresh(within(t, time.Minute), "alice", seen, time.Second,
		func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return token(2), nil })
	if err != nil || now.Number != 2 {
		t.Errorf("Refresh: %+v, %v", now, err)
	}
}

// ended tells of each command that go-redis is done with.
type ended chan string

func (ended) DialHook(next redis.DialHook) redis.DialHook { return next }
func (e ended) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		e <- cmd.Name()
		return err
	}
}
func (ended) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// A client without ContextTimeoutEnabled does not look at the context while it waits
// for an answer.
func TestContextEnds(t *testing.T) {
	s := servers.Redis(t)
	for name, o := range map[string]*redis.Options{
		"ends by ReadTimeout":               {Addr: s.Address, ReadTimeout: 300 * time.Millisecond},
		"ends by ContextTimeoutEnabled":     {Addr: s.Address, ContextTimeoutEnabled: true},
		"ends when Redis answers after all": {Addr: s.Address, ReadTimeout: -1, WriteTimeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, o)
			kv := redisstore.New(c, name)
			mustSwap(t, kv, nil, one)
			hook := make(ended, 10)
			c.AddHook(hook)

			s.Freeze()
			began := time.Now()
			_, err := kv.Get(within(t, 50*time.Millisecond), key)
			if !errors.Is(err, context.DeadlineExceeded) && !o.ContextTimeoutEnabled {
				t.Errorf("Get: %v", err)
			}
			swapped, err := kv.CompareAndSwap(within(t, 50*time.Millisecond), key, one, two)
			if err == nil || swapped || !errors.Is(err, context.DeadlineExceeded) && !o.ContextTimeoutEnabled {
				t.Errorf("CompareAndSwap: %t, %v", swapped, err)
			}
			if took := time.Since(began); o.ReadTimeout < 0 && took > 10*time.Second {
				t.Errorf("the calls took %v", took)
			}
			if o.ReadTimeout >= 0 {
				<-hook
				<-hook
			}
			s.Thaw()
			if o.ReadTimeout < 0 {
				<-hook
				<-hook
			}
			// The write that was given up lands late or never, and whole.
			got, err := kv.Get(within(t, time.Minute), key)
			if err != nil || !bytes.Equal(got, one) && !bytes.Equal(got, two) {
				t.Errorf("Get: %q, %v", got, err)
			}
		})
	}
}

// held is a hook that sends commands when it is told to.
type held struct {
	ended
	send chan bool
}

func (h held) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	next = h.ended.ProcessHook(next)
	return func(ctx context.Context, cmd redis.Cmder) error {
		<-h.send
		return next(context.WithoutCancel(ctx), cmd)
	}
}

// A swap that is sent after its caller has left is still the one that was asked for,
// whatever the caller does with its slices.
func TestLateSwap(t *testing.T) {
	c := connect(t, &redis.Options{Addr: servers.Redis(t).Address})
	kv := redisstore.New(c, "")
	mustSwap(t, kv, nil, one)
	hook := held{make(ended, 10), make(chan bool)}
	c.AddHook(hook)
	old := bytes.Clone(one)
	if swapped, err := kv.CompareAndSwap(within(t, 50*time.Millisecond), key, old, two); swapped || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("CompareAndSwap: %t, %v", swapped, err)
	}
	clear(old)
	close(hook.send)
	<-hook.ended
	mustHave(t, kv, two)
}

// misbehaving is a hook that ends its goroutine, or panics.
type misbehaving struct{ ended }

func (misbehaving) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "getex" {
			runtime.Goexit()
		}
		panic(fmt.Sprint("secret: ", cmd.Args()))
	}
}

func TestHooks(t *testing.T) {
	c := connect(t, &redis.Options{Addr: servers.FreeAddress(t)})
	c.AddHook(misbehaving{})
	kv := redisstore.New(c, "")
	if _, err := kv.Get(t.Context(), key); err == nil {
		t.Error("Get: no error")
	}
	if _, err := kv.CompareAndSwap(t.Context(), key, one, two); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error("CompareAndSwap:", err)
	}
}

// Records that are sealed by nothing must not show up in errors either.
func TestErrorsHoldNoValue(t *testing.T) {
	for name, config := range map[string]string{
		"EVALSHA is unknown": `rename-command EVALSHA ""`,
		"both are unknown":   "rename-command EVALSHA \"\"\nrename-command EVAL \"\"\nrename-command GETEX \"\"",
		"memory is full":     "maxmemory 1",
		"not allowed":        "user default on nopass ~* +@all -evalsha -eval -getex",
		"no replica":         "min-replicas-to-write 1",
		"another type":       "",
	} {
		t.Run(name, func(t *testing.T) {
			s := servers.Redis(t, config)
			c := connect(t, &redis.Options{Addr: s.Address})
			if name == "another type" {
				if err := c.LPush(t.Context(), key, "x").Err(); err != nil {
					t.Fatal(err)
				}
			}
			kv := redisstore.New(c, "")
			_, err := kv.CompareAndSwap(t.Context(), key, nil, []byte("VALUE"))
			if err == nil || strings.Contains(err.Error(), "VALUE") || !strings.HasPrefix(err.Error(), "redisstore: EVALSHA: ") {
				t.Error(err)
			}
			if _, err = kv.Get(t.Context(), key); (err == nil) != (name == "memory is full" || name == "EVALSHA is unknown") {
				t.Error("Get:", err)
			}
		})
	}
}

// What the package documentation says that an account needs.
func TestAccount(t *testing.T) {
	s := servers.Redis(t, "user default on nopass ~p:* -@all +ping +getex +evalsha +eval +get +set")
	kv := redisstore.New(connect(t, &redis.Options{Addr: s.Address}), "p:")
	mustHave(t, kv, nil)
	mustSwap(t, kv, nil, one)
	mustSwap(t, kv, one, two)
	mustHave(t, kv, two)
}

// documentedCommand is the command in doc.go that removes old records, for s and for
// records of any age.
func documentedCommand(t *testing.T, s *servers.Server) string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var command []string
	for line := range strings.Lines(string(doc)) {
		line, isCode := strings.CutPrefix(line, "//\t")
		if isCode && (strings.HasPrefix(line, "redis-cli --scan") || len(command) > 0) {
			command = append(command, line)
		} else if len(command) > 0 {
			break
		}
	}
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil || len(command) == 0 {
		t.Fatal("no command in doc.go", err)
	}
	return strings.NewReplacer("redis-cli", "redis-cli -h "+host+" -p "+port, "PREFIX", "p:", "604800", "-1").
		Replace(strings.Join(command, ""))
}

// What the package documentation says about removing records.
func TestTombstonesCanBeRemoved(t *testing.T) {
	s := servers.Redis(t)
	c := connect(t, &redis.Options{Addr: s.Address})
	sessions := shared(t, redisstore.New(c, "p:"))
	for _, name := range []string{"in", "out", "refused"} {
		seen, _, err := sessions.Replace(t.Context(), name, token(1))
		if err != nil {
			t.Fatal(err)
		}
		if name == "out" {
			_, _, err = sessions.Replace(t.Context(), name, nil)
		}
		if name == "refused" {
			_, err = sessions.Refresh(t.Context(), name, seen, time.Second, refused)
			if errors.Is(err, tokenclient.ErrRefused) {
				err = nil
			}
		}
		if err != nil {
			t.Fatal(name, err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", documentedCommand(t, s))
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("ERR")) {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]tokenclient.State{"in": tokenclient.Active, "out": tokenclient.Absent, "refused": tokenclient.Absent} {
		if r, err := sessions.Load(t.Context(), name); r.State != want {
			t.Errorf("%s: %v, want %v: %v", name, r.State, want, err)
		}
	}
	if n, err := c.DBSize(t.Context()).Result(); n != 1 {
		t.Error("records left:", n, err)
	}
}

func refused(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
	return nil, tokenclient.ErrRefused
}

// The program of the documentation, on two machines: one login, and a refresh when it
// is due.
func TestExample(t *testing.T) {
	c := connect(t, &redis.Options{Addr: servers.Redis(t).Address})
	api := tokentest.NewServer(t, nil)
	api.AddUser("orders", "secret")
	t.Setenv("TOKENS_KEY", strings.Repeat("0123456789abcdef", 4))
	t.Setenv("API_USER", "orders")
	t.Setenv("API_PASSWORD", "secret")
	for range 2 {
		if err := callAPI(within(t, time.Minute), c, api.URL); err != nil {
			t.Fatal(err)
		}
	}
	api.RevokeAccess("orders")
	if err := callAPI(within(t, time.Minute), c, api.URL); err != nil {
		t.Fatal(err)
	}
	if n := api.Counters(); n.Logins != 1 || n.Refreshes != 1 || n.Unauthorized != 1 {
		t.Errorf("%+v", n)
	}
	keys, err := c.Keys(t.Context(), "orders:token:*").Result()
	if err != nil || len(keys) != 1 {
		t.Error(keys, err)
	}
}
