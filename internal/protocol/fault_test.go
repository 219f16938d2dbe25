package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

var errDown = errors.New("connection reset")

// A fault is what happens to one write.
type fault int

const (
	fine      fault = iota
	lostReply       // it is done, the caller gets an error
	dropped         // it is not done, the caller gets an error
	delayed         // the caller gets an error, and it is done when land is called
	refused         // certainly not done
)

// eachWriteFault calls f, in a bubble of its own, with each row of what may become of the writes
// that follow, the last of which is done.
func eachWriteFault(t *testing.T, f func(t *testing.T, list []fault)) {
	for name, list := range map[string][]fault{
		"lost reply":              {lostReply},
		"dropped":                 {dropped},
		"delayed":                 {delayed},
		"certainly not done":      {refused, refused},
		"delayed, then lost":      {delayed, lostReply},
		"dropped many times over": {dropped, dropped, dropped, dropped, dropped, dropped, lostReply},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, list) })
		})
	}
}

// A faultyMedium is an engine's medium that tests can break. What it holds can be
// looked at and changed from outside.
type faultyMedium struct {
	mu      sync.Mutex
	records map[string][]byte
	late    []func()
	writes  int // CompareAndSwap calls so far

	onWrite func(n int, old, new []byte) fault // n counts from 1; nil: all fine
	onRead  func() error

	onCommit func(old, new []byte) // called with mu held
}

func (m *faultyMedium) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	onRead := m.onRead
	m.mu.Unlock()
	if onRead != nil {
		if err := onRead(); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.records[key]), nil
}

func (m *faultyMedium) CompareAndSwap(_ context.Context, key string, old, new []byte) (bool, error) {
	m.mu.Lock()
	m.writes++
	n, onWrite := m.writes, m.onWrite
	m.mu.Unlock()
	f := fine
	if onWrite != nil {
		f = onWrite(n, old, new) // may block and may use m
	}
	old, new = bytes.Clone(old), bytes.Clone(new)
	do := func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !bytes.Equal(m.records[key], old) {
			return false
		}
		if m.records == nil {
			m.records = make(map[string][]byte)
		}
		m.records[key] = new
		if m.onCommit != nil {
			m.onCommit(old, new)
		}
		return true
	}
	switch f {
	case lostReply:
		do()
	case dropped:
	case delayed:
		m.mu.Lock()
		m.late = append(m.late, func() { do() })
		m.mu.Unlock()
	case refused:
		return false, errors.Join(protocol.ErrNotWritten, errDown)
	default:
		return do(), nil
	}
	return false, errDown
}

func (m *faultyMedium) Where(string) string { return "the fake record" }

// land lets all delayed writes arrive.
func (m *faultyMedium) land() {
	m.mu.Lock()
	late := m.late
	m.late = nil
	m.mu.Unlock()
	for _, do := range late {
		do()
	}
}

// faults makes the next writes go wrong in the given ways; those after are fine.
func (m *faultyMedium) faults(list ...fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := m.writes + 1
	m.onWrite = func(n int, _, _ []byte) fault {
		if i := n - first; i < len(list) {
			return list[i]
		}
		return fine
	}
}

// down makes all reads and writes fail; up ends that.
func (m *faultyMedium) down() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onWrite = func(int, []byte, []byte) fault { return dropped }
	m.onRead = func() error { return errDown }
}

func (m *faultyMedium) up() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.onWrite, m.onRead = nil, nil
}

// raw is what is stored under key; put changes it.
func (m *faultyMedium) raw(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.records[key])
}

func (m *faultyMedium) put(key string, raw []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = make(map[string][]byte)
	}
	m.records[key] = raw
}

// header is the header of what is stored under "k".
func (m *faultyMedium) header(t testing.TB) header {
	t.Helper()
	h, err := decodeHeader(m.raw("k"))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// free checks that nobody holds "k" and that announced presentations of its token
// are written down.
func (m *faultyMedium) free(t testing.TB, announced int) {
	t.Helper()
	if h := m.header(t); h.Lease != [16]byte{} || h.LeaseLen != 0 || h.Announced != announced {
		t.Fatalf("record has lease %x, length %v, %d announced; want a free one with %d", h.Lease[:2], h.LeaseLen, h.Announced, announced)
	}
}
