// Package path is a way between a client and a server that can fall silent, for tests:
// what is sent is taken and goes nowhere, and neither end is told, as when a NAT has
// forgotten a connection.
//
//	p := path.Listen(t, srv.Listener.Addr().String())
//	client.Post("https://" + p.Addr, …) // is answered
//	p.Silence()                         // every connection that there is, for good
//	client.Post("https://" + p.Addr, …) // hangs on the same connection, is answered on another
//
// [Listen] is a proxy on loopback, [New] one without a network of its own, which can be
// part of a bubble of testing/synctest.
package path

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A Path is a proxy of connections.
type Path struct {
	Addr string // of the proxy, if it listens

	dial    Dial
	running sync.WaitGroup // the accept loop, and what copies

	mu    sync.Mutex // guards all below
	conns []*conn
	down  bool
}

// A Dial connects to the server; net.Dialer.DialContext is one.
type Dial func(ctx context.Context, network, addr string) (net.Conn, error)

// conn is a connection through the proxy.
type conn struct {
	client, server net.Conn
	silent, over   atomic.Bool
}

// New returns a Path to what dial connects to. It is closed when the test ends.
func New(tb testing.TB, dial Dial) *Path {
	p := &Path{dial: dial}
	tb.Cleanup(p.Close)
	return p
}

// Listen returns a Path to addr that listens on loopback.
func Listen(tb testing.TB, addr string) *Path {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var d net.Dialer
	p := New(tb, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, addr)
	})
	p.Addr = l.Addr().String()
	p.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := p.dial(context.Background(), "tcp", addr)
			if err != nil {
				_ = c.Close()
				continue
			}
			p.join(c, s)
		}
	})
	tb.Cleanup(func() { _ = l.Close() }) // before Close waits
	return p
}

// Dial connects to the server through p, as http.Transport.DialContext does.
func (p *Path) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s, err := p.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	client, c := net.Pipe()
	p.join(c, s)
	return client, nil
}

// join makes a connection of two.
func (p *Path) join(client, server net.Conn) {
	c := &conn{client: client, server: server}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.silent.Store(p.down)
	p.conns = append(p.conns, c)
	p.running.Go(func() { p.copy(c, server, client) })
	p.running.Go(func() { p.copy(c, client, server) })
}

func (p *Path) copy(c *conn, to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !c.silent.Load() {
			_, _ = to.Write(buf[:n]) // if that fails, reading will
		}
		if err != nil {
			if from == c.client {
				c.over.Store(true)
			}
			if !c.silent.Load() {
				_ = to.Close()
			}
			return
		}
	}
}

// Silence makes all connections that there are silent. The next ones are not, until Down is
// called.
func (p *Path) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.silent.Store(true)
	}
}

// Down makes connections silent that are made from now on, or not.
func (p *Path) Down(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Silent reports whether the connection is silent that has addr at its client's end.
func (p *Path) Silent(addr net.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if c.client.RemoteAddr().String() == addr.String() {
			return c.silent.Load()
		}
	}
	return false
}

// Conns is how many connections there have been.
func (p *Path) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Open is how many of them the client has not closed.
func (p *Path) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, c := range p.conns {
		if !c.over.Load() {
			n++
		}
	}
	return n
}

// Close ends all connections.
func (p *Path) Close() {
	p.mu.Lock()
	for _, c := range p.conns {
		_, _ = c.client.Close(), c.server.Close()
	}
	p.mu.Unlock()
	p.running.Wait()
}
