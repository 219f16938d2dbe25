package clients_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"testing"
	"time"
)

// countedConn tells once that it is closed.
type countedConn struct {
	net.Conn
	open   *atomic.Int32
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// countConns has the test fail if a connection of base is in use at its end.
func countConns(t *testing.T, base *http.Transport) {
	var open atomic.Int32
	dial := base.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		open.Add(1)
		return &countedConn{Conn: conn, open: &open}, nil
	}
	t.Cleanup(func() { // before the server's own, which closes all connections
		await(t, "connections", func() int {
			base.CloseIdleConnections()
			return int(open.Load())
		}, 0)
	})
}

// wantGoroutines fails if there are more goroutines than before.
func wantGoroutines(t *testing.T, before int) {
	t.Helper()
	await(t, "goroutines", runtime.NumGoroutine, before)
}

// await lets others run until there are no more than most.
func await(t *testing.T, what string, count func() int, most int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); count() > most; runtime.Gosched() {
		if time.Now().After(end) {
			t.Errorf("%d %s are left, %d before", count(), what, most)
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return
		}
	}
}
