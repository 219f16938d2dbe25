package redisstore

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// maxWatches is how many keys are watched at a time: each takes a connection.
const maxWatches = 16

var _ store.Notifier = (*kv)(nil)

// Watch subscribes to what is published of key.
func (k *kv) Watch(key string, changed func()) (hears func() bool, stop func()) {
	if k.refuse != nil {
		return nil, nil
	}
	if k.watching.Add(1) > maxWatches {
		k.watching.Add(-1)
		return nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{changed: changed}
	go func() {
		defer k.watching.Add(-1)
		defer func() { _ = recover() }() // of a client that somebody wrapped: who waits asks
		w.run(ctx, k, k.prefix+key)
	}()
	return w.hears.Load, cancel
}

// A watch is one subscription.
type watch struct {
	changed func()
	hears   atomic.Bool
}

// run hears what is published on channel until ctx ends. The client connects, and after an
// error does so again.
func (w *watch) run(ctx context.Context, k *kv, channel string) {
	defer w.hears.Store(false)
	subscribe := k.client.Subscribe
	if k.publish == "spublish" {
		subscribe = k.client.SSubscribe
	}
	pubsub := subscribe(ctx, channel) // this may wait for a connection
	defer pubsub.Close()
	// A Receive does not end with ctx. A Close waits while the client connects, so who stops
	// the watch must not.
	defer context.AfterFunc(ctx, func() { _ = pubsub.Close() })()
	for ctx.Err() == nil {
		m, err := pubsub.Receive(ctx)
		switch {
		case errors.Is(err, redis.ErrClosed):
			return
		case err != nil:
			w.hears.Store(false)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if s, ok := m.(*redis.Subscription); ok {
			w.hears.Store(s.Count > 0) // a shard that loses the slot ends the subscription
		}
		w.changed()
	}
}
