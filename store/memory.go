package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Memory keeps records in the memory of the process, for tests and for programs
// whose users log in at every start. Sessions that share a Memory and a key share
// the token. The zero value is ready; a Memory must not be copied.
//
// A [tokenclient.Session] without a Store keeps its token in memory too; a Memory
// is for several sessions, or for what looks at the record.
type Memory struct {
	once   sync.Once
	engine protocol.Engine
	turns  slots

	mu      sync.Mutex // guards records
	records map[string][]byte
}

var _ tokenclient.Store = (*Memory)(nil)

// Format writes the kind of store, whatever the verb: what is in it are tokens.
func (m *Memory) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "store.Memory") }

// Load returns the record of key; see [tokenclient.Store].
func (m *Memory) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	return m.ready().Load(ctx, key)
}

// Replace stores a login, or a logout if t is nil; see [tokenclient.Store].
func (m *Memory) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	return m.ready().Replace(ctx, key, t)
}

// Refresh calls fn to exchange the token that follows seen, unless a newer one is
// stored; see [tokenclient.Store]. With the context of fn, Refresh of the same key
// is [tokenclient.ErrReentrant], while Load and Replace, which wait for nobody, are
// answered.
func (m *Memory) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	return m.ready().Refresh(ctx, key, seen, timeout, fn)
}

// Save stores t as the token that follows seen, without waiting for a refresh in
// progress; see [tokenclient.Store].
func (m *Memory) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	return m.ready().Save(ctx, key, seen, t)
}

func (m *Memory) ready() *protocol.Engine {
	m.once.Do(func() {
		m.engine.Medium = (*memoryMedium)(m)
		m.engine.Sealer = sealing{Plaintext()} // whoever can read this memory can read a key in it
		m.engine.NewTurn = func(key string) protocol.Turn { return &slotTurn{slots: &m.turns, key: key} }
	})
	return &m.engine
}

// memoryMedium is a Memory as a medium. Records are bytes there, so no two callers
// ever share a Token.
type memoryMedium Memory

func (m *memoryMedium) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.records[key]), nil
}

func (m *memoryMedium) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("%w: %w", protocol.ErrNotWritten, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	have, ok := m.records[key]
	if ok != (old != nil) || !bytes.Equal(have, old) {
		return false, nil
	}
	if m.records == nil {
		m.records = make(map[string][]byte)
	}
	m.records[key] = bytes.Clone(new)
	return true, nil
}

func (m *memoryMedium) Where(string) string { return "in memory" }
