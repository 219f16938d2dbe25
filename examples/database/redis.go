package main

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
)

// openRedis opens a Redis that keeps what it answered to; see package redisstore.
func openRedis(_ context.Context, address string) (database, error) {
	client := redis.NewClient(&redis.Options{Addr: address, ContextTimeoutEnabled: true})
	kv := redisstore.New(client, "back-end:token:")
	return database{kv, func() int { return int(client.PoolStats().TotalConns) }, client.Close}, nil
}
