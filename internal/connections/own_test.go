package connections_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/connections"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/path"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// inMemory runs test in a bubble, with a server at the end of a path and a
// http.DefaultTransport that leads there.
func inMemory(t *testing.T, options tokentest.Options, test func(t *testing.T, srv *tokentest.Server, p *path.Path)) {
	synctest.Test(t, func(t *testing.T) {
		options.InMemory = true
		srv := tokentest.NewServer(t, &options)
		tr := srv.Client().Transport.(*http.Transport).Clone()
		p := path.New(t, tr.DialContext)
		tr.DialContext = p.Dial
		useDefault(t, tr)
		test(t, srv, p)
	})
}

// TestPings: a connection of our own that is dead is found out in time, so that a call on
// it ends long before its context, and one that comes later is not lost.
func TestPings(t *testing.T) {
	inMemory(t, tokentest.Options{HTTP2: true}, func(t *testing.T, srv *tokentest.Server, p *path.Path) {
		if err := call(t.Context(), nil, srv.URL); err != nil {
			t.Fatal(err)
		}
		p.Silence()
		began := time.Now()
		err := call(t.Context(), nil, srv.URL)
		if took := time.Since(began); err == nil || took > 15*time.Second {
			t.Errorf("in use: error %v after %v, want one within 15s", err, took)
		}
		if err := call(t.Context(), nil, srv.URL); err != nil {
			t.Error(err)
		}
		p.Silence()
		time.Sleep(15*time.Second + time.Millisecond)
		began = time.Now()
		if err := call(t.Context(), nil, srv.URL); err != nil || time.Since(began) != 0 {
			t.Errorf("idle: error %v after %v", err, time.Since(began))
		}
		if p.Conns() != 3 {
			t.Errorf("%d connections, want one more after each silence", p.Conns())
		}
	})
}

// TestCallsGoOn: one call times out at a server that is slow. One that is under way on the
// same connection is answered, the next one is made on another, and of the first nothing is
// left when it has been idle for its time.
func TestCallsGoOn(t *testing.T) {
	inMemory(t, tokentest.Options{HTTP2: true, Latency: 10 * time.Second}, func(t *testing.T, srv *tokentest.Server, p *path.Path) {
		token := srv.URL + "/oauth/token"
		var both sync.WaitGroup
		both.Go(func() {
			if err := call(t.Context(), nil, token); err != nil {
				t.Errorf("a call beside one that timed out: %v", err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := call(ctx, nil, token); err == nil {
			t.Error("no error after 1s")
		}
		if p.Conns() != 1 {
			t.Errorf("%d connections for two calls", p.Conns())
		}
		if err := call(t.Context(), nil, token); err != nil || p.Conns() != 2 {
			t.Errorf("the next: error %v, %d connections", err, p.Conns())
		}
		both.Wait()
		time.Sleep(90*time.Second + time.Millisecond)
		synctest.Wait()
		if p.Open() != 0 {
			t.Errorf("%d connections open that have been idle for 90s", p.Open())
		}
	})
}

// TestIdleOnesGo: what is idle when a call times out is closed.
func TestIdleOnesGo(t *testing.T) {
	for name, client := range map[string]func() *http.Client{
		"our own":      func() *http.Client { return nil },
		"the caller's": func() *http.Client { return &http.Client{Transport: http.DefaultTransport} },
	} {
		inMemory(t, tokentest.Options{Latency: time.Second}, func(t *testing.T, srv *tokentest.Server, p *path.Path) {
			c := client()
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					if err := call(t.Context(), c, srv.URL+"/oauth/token"); err != nil {
						t.Error(err)
					}
				})
			}
			both.Wait()
			p.Silence()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := call(ctx, c, srv.URL); err == nil || p.Conns() != 2 {
				t.Errorf("%s: error %v, %d connections, want two that are silent", name, err, p.Conns())
			}
			if synctest.Wait(); p.Open() != 0 {
				t.Errorf("%s: %d connections are open", name, p.Open())
			}
		})
	}
}

// TestCallersIdleOnes: a Transport of the caller's whose connection is idle loses one
// call for each silence, if net/http has had the time to see that it is idle.
func TestCallersIdleOnes(t *testing.T) {
	inMemory(t, tokentest.Options{HTTP2: true}, func(t *testing.T, srv *tokentest.Server, p *path.Path) {
		c := &http.Client{Transport: http.DefaultTransport}
		defer c.CloseIdleConnections()
		for i := range 30 {
			for range 2 { // the first one has a connection to itself
				if err := call(t.Context(), c, srv.URL); err != nil {
					t.Fatalf("round %d: %v", i, err)
				}
			}
			p.Silence()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := call(ctx, c, srv.URL); err == nil {
				t.Error("answered on a silent connection")
			}
			cancel()
			synctest.Wait()
		}
	})
}

// TestManyTimeOut: of calls that time out together only the first puts their Transport
// aside.
func TestManyTimeOut(t *testing.T) {
	inMemory(t, tokentest.Options{HTTP2: true}, func(t *testing.T, srv *tokentest.Server, p *path.Path) {
		if err := call(t.Context(), nil, srv.URL); err != nil {
			t.Fatal(err)
		}
		p.Silence()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second+time.Duration(i))
				defer cancel()
				if call(ctx, nil, srv.URL) == nil {
					t.Error("answered on a silent connection")
				}
			})
		}
		time.Sleep(time.Second) // the first one
		synctest.Wait()
		if err := call(t.Context(), nil, srv.URL); err != nil || p.Conns() != 2 {
			t.Errorf("after the first: error %v, %d connections", err, p.Conns())
		}
		all.Wait()
		if err := call(t.Context(), nil, srv.URL); err != nil || p.Conns() != 2 {
			t.Errorf("after the last: error %v, %d connections", err, p.Conns())
		}
	})
}

// TestOwnIsLikeTheDefault: what http.DefaultTransport was told is so for our own, also
// later.
func TestOwnIsLikeTheDefault(t *testing.T) {
	asked := ""
	through := func(name string) func(*http.Request) (*url.URL, error) {
		return func(*http.Request) (*url.URL, error) { asked = name; return nil, nil }
	}
	first := &http.Transport{Proxy: through("first"), IdleConnTimeout: time.Second, HTTP2: &http.HTTP2Config{SendPingTimeout: time.Minute}}
	useDefault(t, first)
	own := func() *http.Transport { return connections.For(nil).Client.Transport.(*http.Transport) }
	if tr := own(); tr == first || tr != own() || tr.IdleConnTimeout != time.Second || tr.HTTP2.SendPingTimeout != time.Minute || tr.HTTP2.PingTimeout != 0 {
		t.Errorf("%+v", tr)
	}
	for name, next := range map[string]*http.Transport{"first": first, "second": {Proxy: through("second")}} {
		http.DefaultTransport = next
		if _, err := own().Proxy(nil); err != nil || asked != name {
			t.Errorf("asked the %s one, want the %s one", asked, name)
		}
	}
	if tr := own(); tr.IdleConnTimeout == 0 || tr.HTTP2.SendPingTimeout == 0 {
		t.Error("the copy of one without figures has none")
	}
}

// TestNotOurs: a Transport that is not an http.Transport of net/http alone is left as it
// is.
func TestNotOurs(t *testing.T) {
	for name, tr := range map[string]http.RoundTripper{
		"HTTP/2 of another package": &http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{
			"h2": func(string, *tls.Conn) http.RoundTripper { return nil },
		}},
		"no http.Transport": roundTrip(nil),
	} {
		useDefault(t, tr)
		if use := connections.For(nil); use.Client.Transport != nil || use.Client == http.DefaultClient {
			t.Errorf("%s: %v", name, use.Client.Transport)
		}
	}
}

// TestOnlyTimeouts: a call that fails in another way costs no connection.
func TestOnlyTimeouts(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			s := serve(t, true)
			c := k.client(t, s.transport(t))
			s.warmUp(t, c, 1)
			for _, err := range []error{
				context.Canceled, io.ErrUnexpectedEOF, &net.OpError{Op: "read", Err: net.ErrClosed},
				&url.Error{Op: "Post", URL: "https://auth.example.com", Err: io.EOF},
			} {
				connections.For(c).Over(err)
				if use := connections.For(c); use.Close {
					t.Errorf("%v: the next call wants a connection that is not used again", err)
				}
			}
			if err := s.call(t, c); err != nil || s.Conns() != 1 {
				t.Errorf("error %v, %d connections, want one", err, s.Conns())
			}
		})
	}
}

// silent is an error of a context that has ended, made by somebody who says that it is no timeout.
type silent struct{}

func (silent) Error() string   { return "no answer" }
func (silent) Timeout() bool   { return false }
func (silent) Temporary() bool { return true }
func (silent) Unwrap() error   { return context.DeadlineExceeded }

// TestTimeouts: whoever's time is up, the context's, the connection's or the client's own, the
// next call is kept off the connection.
func TestTimeouts(t *testing.T) {
	for _, err := range []error{
		context.DeadlineExceeded,
		fmt.Errorf("the answer broke off: %w", context.DeadlineExceeded),
		os.ErrDeadlineExceeded,
		&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},
		&url.Error{Op: "Post", URL: "https://auth.example.com", Err: &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}},
		silent{},
	} {
		useDefault(t, new(http.Transport))
		before := connections.For(nil)
		before.Over(err)
		if next := connections.For(nil); next.Client.Transport == before.Client.Transport {
			t.Errorf("%v: the next call has the same Transport", err)
		}
		c := &http.Client{Transport: new(http.Transport)}
		connections.For(c).Over(err)
		if next := connections.For(c); !next.Close {
			t.Errorf("%v: the next call goes on a connection of before", err)
		}
		if next := connections.For(c); next.Close {
			t.Errorf("%v: and the one after it wants one of its own, too", err)
		}
	}
}

// TestFewClients: more clients time out than are remembered. One that does so again and
// again takes the place of no other.
func TestFewClients(t *testing.T) {
	late := func(c *http.Client) { connections.For(c).Over(context.DeadlineExceeded) }
	wasLate := func(c *http.Client) bool { return connections.For(c).Close }
	clients := make([]*http.Client, 20)
	for i := range clients {
		clients[i] = &http.Client{Transport: struct{ *http.Transport }{new(http.Transport)}}
	}
	first, other := connections.For(clients[0]), connections.For(clients[1])
	first.Over(context.DeadlineExceeded)
	for range 200 {
		other.Over(context.DeadlineExceeded)
	}
	if !wasLate(clients[0]) || !wasLate(clients[1]) {
		t.Error("forgotten")
	}
	for _, c := range clients {
		late(c)
	}
	remembered := 0
	for i, c := range clients {
		if wasLate(c) {
			remembered++
		} else if i == len(clients)-1 {
			t.Error("the last one is forgotten")
		}
		if wasLate(c) {
			t.Error("remembered twice")
		}
	}
	if remembered > 8 { // or less: other tests have clients too
		t.Errorf("%d are remembered", remembered)
	}
}

// TestConcurrentUse: for the race detector.
func TestConcurrentUse(t *testing.T) {
	useDefault(t, new(http.Transport))
	clients := []*http.Client{nil, {}, {Transport: new(http.Transport)}, {Transport: roundTrip(nil)}}
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() { connections.For(clients[i%len(clients)]).Over(context.DeadlineExceeded) })
	}
	all.Wait()
	for _, c := range clients {
		connections.For(c) // forgets
	}
}
