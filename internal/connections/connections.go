// Package connections chooses the connection of a call to a token endpoint, so that one
// that is dead does not outlive the attempt that found out.
//
// A path between two machines can end without a word: a NAT forgets it, a firewall drops
// it, a laptop wakes up elsewhere. Nothing tells the client. Over HTTP/1.1 a call that
// times out takes its connection along, and the next one dials, or finds another that is
// as dead. Over HTTP/2 the connection stays: a timeout resets one stream, and net/http
// sends the next request, and any other to that host, on the same connection, until the
// operating system gives up, after a quarter of an hour.
//
// # What is done
//
// [For] says which client a call is made with, and [Use.Over] takes what came of it. If
// that was a timeout, the next call is kept off the connections of the ones before:
//
//   - A client that has no Transport of its own gets one from here: a copy of
//     http.DefaultTransport, with its proxies, its dialer and its TLS settings, and with
//     HTTP/2 pings. After a timeout it is put aside, and what is idle in it is closed;
//     calls that are under way in it go on, and their connections end with them or after
//     the idle timeout. The pings find a dead connection within 15 seconds, whether it is
//     in use or not.
//   - The Transport of a caller is not for this package to change. After a timeout its
//     idle connections are closed; once more before the next call, because net/http takes
//     a moment to see that an HTTP/2 connection is idle; and that next call asks for a
//     connection that is not used again (Request.Close), which over HTTP/2 also keeps
//     others off one that is busy. So of the calls after the first no more than one is
//     lost, and none if the connection is not busy and the moment has passed. Requests
//     under way are not cut off. A Transport that wraps another without a method
//     CloseIdleConnections keeps its HTTP/1.1 connections.
//
// A server that is slow and not dead costs a handshake more for each timeout.
//
// # What is shared
//
// All calls of a process share the one Transport, as they would share
// http.DefaultTransport: there is no other place for it, as a Refresher is a value that
// may be made for each user. It is reached by atomic operations alone, and made again if
// http.DefaultTransport is another one by now; what is changed in that one after its first
// use is not seen, as net/http has it for every Transport. If it is not an
// [http.Transport], or speaks HTTP/2 by something else than net/http, it is a caller's.
//
// # What this package does not know
//
// It knows neither tokens nor requests, makes no call, starts no goroutine, and has no
// clock: what a timeout is, the error says.
package connections

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// How long a connection of our own is silent until it is pinged, and how long the answer
// may take. Together they are less than the time for one refresh, so that a call on a
// dead connection ends before that, and another can be made. With the idle timeout of
// http.DefaultTransport no server has to bear more than nine pings after the last call.
const (
	sendPing    = 10 * time.Second
	pingTimeout = 5 * time.Second
)

// idleTimeout is that of http.DefaultTransport, for copies of one that has none.
const idleTimeout = 90 * time.Second

// A Use is what one call is made with.
type Use struct {
	// Client makes the call. It may be changed: it is a copy.
	Client *http.Client

	// Close is for the request's field of the same name.
	Close bool

	own   *generation  // nil: the Transport is the caller's
	given *http.Client // the caller's client
}

// For returns what the next call with c is made with; nil means http.DefaultClient. When
// the call is over, and its answer read, [Use.Over] must be called if it failed.
func For(c *http.Client) *Use {
	if c == nil {
		c = http.DefaultClient
	}
	u := &Use{Client: new(*c), given: c}
	if c.Transport == nil {
		u.own = current()
	}
	switch {
	case u.own != nil:
		u.Client.Transport = u.own.transport
	case wasLate(c):
		c.CloseIdleConnections()
		u.Close = true
	}
	return u
}

// Over says that the call failed, and how.
func (u *Use) Over(err error) {
	var t net.Error
	switch {
	case !errors.Is(err, context.DeadlineExceeded) && !(errors.As(err, &t) && t.Timeout()):
	case u.own != nil:
		u.own.retire()
	default:
		isLate(u.given)
		u.given.CloseIdleConnections()
	}
}

// CloseIdle closes the idle connections that this package has made.
func CloseIdle() {
	if g := shared.Load(); g != nil {
		g.transport.CloseIdleConnections()
	}
}

// A generation is the Transport of calls between two timeouts.
type generation struct {
	from, transport *http.Transport // transport is a copy of from
}

// shared is the generation of the next call, nil if it has to be made.
var shared atomic.Pointer[generation]

// current returns the generation for the next call, nil if http.DefaultTransport cannot be
// copied.
func current() *generation {
	from, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil
	}
	for {
		g := shared.Load()
		if g != nil && g.from == from {
			return g
		}
		made := newGeneration(from)
		if made == nil {
			return nil
		}
		if shared.CompareAndSwap(g, made) {
			if g != nil {
				g.transport.CloseIdleConnections()
			}
			return made
		}
	}
}

// newGeneration copies from, or returns nil if the copy would not be one.
func newGeneration(from *http.Transport) *generation {
	t := from.Clone()
	if t.TLSNextProto["h2"] != nil { // net/http's own is not copied; another one's connections would be shared
		return nil
	}
	if t.HTTP2 == nil {
		t.HTTP2 = new(http.HTTP2Config)
	}
	if t.HTTP2.SendPingTimeout == 0 {
		t.HTTP2.SendPingTimeout, t.HTTP2.PingTimeout = sendPing, pingTimeout
	}
	if t.IdleConnTimeout == 0 { // nobody closes what is idle in one that was put aside
		t.IdleConnTimeout = idleTimeout
	}
	return &generation{from, t}
}

// retire gives later calls another generation. Of many calls that time out together only
// the first has one to put aside: those that follow are not late in the new one.
func (g *generation) retire() {
	if shared.CompareAndSwap(g, nil) {
		g.transport.CloseIdleConnections()
	}
}

// What timed out at the latest call with it: callers' Transports, and clients whose
// Transport is of another type, which may not be comparable.
var (
	lateTransports few[http.Transport]
	lateClients    few[http.Client]
)

// isLate notes that a call with c timed out.
func isLate(c *http.Client) {
	if t, ok := c.Transport.(*http.Transport); ok {
		lateTransports.add(t)
		return
	}
	lateClients.add(c)
}

// wasLate reports whether isLate has been called since it was asked.
func wasLate(c *http.Client) bool {
	if t, ok := c.Transport.(*http.Transport); ok {
		return lateTransports.remove(t)
	}
	return lateClients.remove(c)
}

// few is a set that forgets when it is full: whatever is in it is kept in memory. For what
// was forgotten one call more finds out.
type few[T any] [8]atomic.Pointer[T]

func (s *few[T]) add(p *T) {
	s.remove(p)
	for i := range s {
		if s[i].CompareAndSwap(nil, p) {
			return
		}
	}
	s[rand.IntN(len(s))].Store(p)
}

// remove reports whether p was in s.
func (s *few[T]) remove(p *T) bool {
	found := false
	for i := range s {
		found = s[i].CompareAndSwap(p, nil) || found
	}
	return found
}
