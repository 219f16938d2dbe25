package store_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"sync"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// An Engine stands for whatever a program's machines have in common.
type Engine struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (e *Engine) Get(ctx context.Context, key string) ([]byte, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Clone(e.values[key]), ctx.Err()
}

func (e *Engine) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	have, ok := e.values[key]
	if ctx.Err() != nil || ok != (old != nil) || !bytes.Equal(have, old) {
		return false, ctx.Err()
	}
	e.values[key] = new
	return true, nil
}

// The whole of a KV is two methods. Test one with storetest.RunKV.
func ExampleNewShared() {
	ctx := context.Background()
	engine := &Engine{values: make(map[string][]byte)}
	key, err := store.KeyBytes("example", bytes.Repeat([]byte{7}, 32)) // in a program: KeyEnv or KeyFile
	if err != nil {
		fmt.Println(err)
		return
	}
	// Each process has a Shared of its own.
	first, err := store.NewShared(engine, store.Seal(key), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := store.NewShared(engine, store.Seal(key), nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	// A Session calls these methods by itself.
	_, _, err = first.Replace(ctx, "alice", &tokenclient.Token{AccessToken: "a1", RefreshToken: "r1"})
	fmt.Println("login:", err)
	r, err := second.Load(ctx, "alice")
	fmt.Println("found by the other:", r.Token.RefreshToken, err)
	// Output:
	// login: <nil>
	// found by the other: r1 <nil>
}

// Preferences stand for those of a phone, which hold strings.
type Preferences map[string]string

func (p Preferences) Get(key string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(p[key]) // nothing, if there is none
}

func (p Preferences) Put(key string, value []byte) error {
	p[key] = base64.StdEncoding.EncodeToString(value)
	return nil
}

// A storage that can only put and get, for a program that runs once.
func ExampleSingleProcess() {
	key, err := store.KeyBytes("example", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := store.NewShared(store.SingleProcess(Preferences{}), store.Seal(key), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	_, _, err = tokens.Replace(ctx, "alice", &tokenclient.Token{AccessToken: "a1", RefreshToken: "r1"})
	fmt.Println("login:", err)
	r, err := tokens.Load(ctx, "alice")
	fmt.Println("stored:", r.Token.RefreshToken, err)
	// Output:
	// login: <nil>
	// stored: r1 <nil>
}
