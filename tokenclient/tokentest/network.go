package tokentest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// memoryPorts numbers the networks in memory, so that each server has an origin
// of its own and a client that is given another server's URL gets an error.
var memoryPorts atomic.Uint64

// A memoryNetwork is a net.Listener whose connections are made by its dial.
// It has a loopback name, because tokens go over plain http to no other.
type memoryNetwork struct {
	address string
	conns   chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newMemoryNetwork() *memoryNetwork {
	return &memoryNetwork{
		address: "localhost:" + strconv.FormatUint(memoryPorts.Add(1), 10),
		conns:   make(chan net.Conn),
		closed:  make(chan struct{}),
	}
}

func (m *memoryNetwork) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if address != m.address {
		return nil, fmt.Errorf("tokentest: no host %s in the network of %s", address, m.address)
	}
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept, Close and Addr make a memoryNetwork a net.Listener.
func (m *memoryNetwork) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memoryNetwork) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memoryNetwork) Addr() net.Addr { return m }

// Network and String make a memoryNetwork its own net.Addr.
func (m *memoryNetwork) Network() string { return "memory" }
func (m *memoryNetwork) String() string  { return m.address }

// newTransport returns a transport that reaches l. It ignores proxies, which
// would not reach a server in memory, and honours "Expect: 100-continue", which
// a zero Transport does not.
func newTransport(l net.Listener) *http.Transport {
	t := &http.Transport{
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   100, // tests with many goroutines reuse connections
	}
	if m, ok := l.(*memoryNetwork); ok {
		t.DialContext = m.dial
	}
	return t
}

// baseURL is where clients on this machine reach l.
func baseURL(l net.Listener) string {
	if a, ok := l.Addr().(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		return "http://localhost:" + strconv.Itoa(a.Port)
	}
	return "http://" + l.Addr().String()
}
