package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"runtime"
	"sync/atomic"
)

// stream is what a program reads from a camera, a pipe or another server: bytes
// that come once. It remembers how many it gave away and their sum, but not the
// bytes, and looks at the memory in use while it is read.
type stream struct {
	source io.Reader
	given  atomic.Int64
	sum    hash.Hash
	memory *memory
}

func newStream(size int64, m *memory) *stream {
	return &stream{source: io.LimitReader(rand.Reader, size), sum: sha256.New(), memory: m}
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.source.Read(p)
	s.sum.Write(p[:n])
	if before := s.given.Load() >> 20; s.given.Add(int64(n))>>20 != before {
		s.memory.look() // at each MiB
	}
	return n, err
}

func (s *stream) sha256() string { return hex.EncodeToString(s.sum.Sum(nil)) }

// memory is how much memory the whole program uses, client and server.
type memory struct {
	before runtime.MemStats
	peak   atomic.Uint64 // of the heap in use
}

// lookBefore collects garbage, so that what is in use later belongs to the upload.
func lookBefore() *memory {
	m := new(memory)
	runtime.GC()
	runtime.ReadMemStats(&m.before)
	m.peak.Store(m.before.HeapAlloc)
	return m
}

// look returns what has been allocated since lookBefore, in use or not.
func (m *memory) look() (allocated uint64) {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	m.peak.Store(max(m.peak.Load(), now.HeapAlloc)) // one goroutine at a time reads the stream
	return now.TotalAlloc - m.before.TotalAlloc
}
