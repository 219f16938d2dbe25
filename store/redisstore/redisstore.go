package redisstore

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// New returns a [store.KV] that keeps its values in the Redis that c is connected to,
// under prefix and the key. All processes that share tokens need the same prefix; it
// may be empty. One with braces, such as "{tokens}:", keeps all records in the same
// slot of a Cluster, which nothing here needs.
//
// It is nil, which store.NewShared refuses, if c is nil. It asks Redis for nothing,
// and never closes c, which must be open for as long as the KV is used. The KV is safe
// for concurrent use.
//
// The KV honours contexts even if c does not, because ContextTimeoutEnabled is not
// set. A call that was left then goes on behind the scenes, and has its connection,
// until c's ReadTimeout ends it, which is 5 s by default; a write may still happen
// meanwhile, which store.Shared copes with. Without a ReadTimeout (-1) that takes
// until Redis answers or the connection breaks, and so a Redis that hangs can use up
// the whole pool: set one of the two.
//
// How many commands Redis gets at a time is for c's PoolSize to say, which is 10 for each
// processor by default: that is as good for many users as more (docs/benchmarks.md has
// figures). Others wait in c, for at most PoolTimeout, or by default
// ReadTimeout and a second, and for no longer than the 5 seconds of a Shared.
//
// A write is sent once, whatever c's MaxRetries, as store.KV demands.
//
// The KV is a [store.Notifier]: each write is published under the key's own name, to the
// shard in a Cluster (SPUBLISH, Redis 7), and who waits for one subscribes to that, with a
// connection of its own for as long as it waits; for 16 keys at a time at most. An account needs
// the right to those commands and channels (ACL: &prefix*). Without it, and with an older Cluster,
// all works, and who waits asks more often.
//
// Errors of the KV name the command and say what happened in words of this package, for those
// of the client and of Redis name users and hosts. They are the client's error too.
func New(c redis.UniversalClient, prefix string) store.KV {
	if c == nil {
		return nil
	}
	k := &kv{client: c, prefix: prefix, publish: "publish"}
	if _, ok := c.(*redis.ClusterClient); ok {
		k.publish = "spublish"
	}
	if _, ok := c.(*redis.Ring); ok {
		k.refuse = errors.New("a redis.Ring moves keys when a server is down, so that logins seem to be gone; use a Client or a ClusterClient")
	}
	return k
}

type kv struct {
	client redis.UniversalClient
	prefix string
	refuse error // of all calls, if not nil

	publish  string // how Redis tells of a swap
	watching atomic.Int32
}

// Get reads by GETEX, which without options changes nothing. Redis counts it among
// the writes all the same. So clients send it to the master, and a replica refuses it
// when the client was mistaken; GET would be answered with what the replica has. A
// read may be tried again, and is, as often as the client is set to.
func (k *kv) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := ask(ctx, k, "GETEX", func() ([]byte, error) {
		cmd := redis.NewStringCmd(ctx, "getex", k.prefix+key)
		_ = k.client.Process(ctx, cmd) // cmd has the error
		return cmd.Bytes()
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return value, err
}

// script swaps in one step, in which Redis does nothing else. An absent value is
// false in Lua, and an ARGV that is not there nil. Strings are compared to the last
// byte, whatever they are. That it cannot be told to who waits is no reason to fail: an
// account may lack the right to the channel, and an old server the command.
const script = `if redis.call('GET', KEYS[1]) ~= (ARGV[3] or false) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.pcall(ARGV[2], KEYS[1], '')
return 1`

var scriptSHA = func() string {
	sum := sha1.Sum([]byte(script))
	return hex.EncodeToString(sum[:])
}()

func (k *kv) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	args := []any{k.prefix + key, new, k.publish}
	if old != nil {
		args = append(args, bytes.Clone(old)) // it is the caller's, and a call that was left goes on
	}
	return ask(ctx, k, "EVALSHA", func() (bool, error) {
		n, err := k.eval(ctx, "evalsha", scriptSHA, args)
		if redis.HasErrorPrefix(err, "NOSCRIPT") { // after a restart or a failover
			n, err = k.eval(ctx, "eval", script, args)
		}
		return n == 1, err
	})
}

func (k *kv) eval(ctx context.Context, command, script string, args []any) (int64, error) {
	cmd := once{redis.NewCmd(ctx, append([]any{command, script, 1}, args...)...)}
	cmd.SetFirstKeyPos(3)
	_ = k.client.Process(ctx, cmd)
	return cmd.Int64()
}

// once is a command that go-redis does not send again after a reply was lost. The
// second answer to a swap that was done is false, as if somebody else had been faster.
// Shared copes with that as well, for the sake of clients that wrap go-redis'.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

// ask runs do on a goroutine of its own and waits until it returns or ctx ends. In
// the second case do goes on until the client gives it up; see New.
func ask[T any](ctx context.Context, k *kv, op string, do func() (T, error)) (result T, err error) {
	if k.refuse != nil {
		return result, fmt.Errorf("redisstore: %w", k.refuse)
	}
	if err := ctx.Err(); err != nil {
		return result, fmt.Errorf("redisstore: %s was not sent: %w", op, err)
	}
	type answer struct {
		result T
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		a := answer{err: mishap("a hook of the client ended its goroutine")}
		defer func() {
			if p := recover(); p != nil { // nobody else would on this goroutine
				a = answer{err: mishap(fmt.Sprintf("the client or a hook of it panicked with a %T", p))}
			}
			done <- a
		}()
		a.result, a.err = do()
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return result, fmt.Errorf("redisstore: %s: %w", op, told(a.err))
		}
		return a.result, nil
	case <-ctx.Done():
		return result, fmt.Errorf("redisstore: %s: Redis did not answer: %w", op, ctx.Err())
	}
}
