package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// patience is how long a transfer takes before it is worth a bar.
const patience = 500 * time.Millisecond

// A meter shows how far a transfer is. The zero meter shows nothing. It is safe for
// concurrent use: a body is read by a goroutine of net/http.
type meter struct {
	to *os.File // nil: nobody looks

	mu    sync.Mutex
	began time.Time
	total int64
	done  int64
	bar   *progressbar.ProgressBar
}

// begin starts over: with another transfer, or the same body once more.
func (m *meter) begin(total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
	m.began, m.total, m.done = time.Now(), total, 0
}

func (m *meter) add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += int64(n)
	if m.to == nil || m.began.IsZero() {
		return
	}
	if m.bar == nil {
		if time.Since(m.began) < patience {
			return
		}
		m.bar = progressbar.NewOptions64(m.total, progressbar.OptionSetWriter(m.to), progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionFullWidth(), progressbar.OptionUseANSICodes(true))
	}
	_ = m.bar.Set64(m.done)
}

// end takes the bar away.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
	m.began = time.Time{}
}

// clear expects the lock.
func (m *meter) clear() {
	if m.bar != nil {
		_ = m.bar.Clear()
		m.bar = nil
	}
}

// A metered reader counts what is read of a body.
type metered struct {
	io.ReadCloser
	meter *meter
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.meter.add(n)
	return n, err
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
