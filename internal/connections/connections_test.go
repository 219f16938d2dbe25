package connections_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/connections"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/path"
)

// due is a context whose deadline has passed when done is closed.
type due struct {
	context.Context
	done <-chan struct{}
}

func (d due) Done() <-chan struct{} { return d.done }

func (d due) Err() error {
	select {
	case <-d.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// whose says who has made a client's Transport.
type whose struct {
	name            string
	own, closesNone bool // this package; CloseIdleConnections does nothing
	client          func(t *testing.T, tr *http.Transport) *http.Client
}

// useDefault makes tr the http.DefaultTransport of the test.
func useDefault(t *testing.T, tr http.RoundTripper) {
	t.Helper()
	was := http.DefaultTransport
	http.DefaultTransport = tr
	t.Cleanup(func() {
		connections.CloseIdle()
		http.DefaultTransport = was
	})
}

// kinds are all clients that there are.
var kinds = []whose{
	{name: "none", own: true, client: func(t *testing.T, tr *http.Transport) *http.Client { useDefault(t, tr); return nil }},
	{name: "without a Transport", own: true, client: func(t *testing.T, tr *http.Transport) *http.Client {
		useDefault(t, tr)
		return &http.Client{Timeout: time.Hour}
	}},
	{name: "with a Transport", client: func(_ *testing.T, tr *http.Transport) *http.Client { return &http.Client{Transport: tr} }},
	{name: "with one around a Transport", client: func(_ *testing.T, tr *http.Transport) *http.Client {
		return &http.Client{Transport: struct{ *http.Transport }{tr}}
	}},
	{name: "with one that does not compare", closesNone: true, client: func(_ *testing.T, tr *http.Transport) *http.Client {
		return &http.Client{Transport: roundTrip(tr.RoundTrip)}
	}},
}

// roundTrip is a function as a Transport. It closes no idle connections.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// server answers at once, but at /held when the client is gone, and at /warm when as many
// requests have come as it is told.
type server struct {
	*httptest.Server
	*path.Path
	held chan struct{}
	warm chan chan struct{}
}

func serve(t *testing.T, http2 bool) *server {
	t.Helper()
	s := &server{held: make(chan struct{}), warm: make(chan chan struct{})}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.ProtoMajor == 2) != http2 {
			t.Errorf("%s", r.Proto)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/held":
			close(s.held)
			<-r.Context().Done()
		case "/warm":
			<-<-s.warm
		}
		_, _ = io.WriteString(w, "answer")
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = http2
	s.StartTLS()
	s.Path = path.Listen(t, s.Listener.Addr().String())
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Server.Close()
	})
	return s
}

// transport reaches the server, as http.DefaultTransport would if its certificate was
// known.
func (s *server) transport(t *testing.T) *http.Transport {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.TLSClientConfig = s.Server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	tr.TLSClientConfig.NextProtos = nil
	tr.ForceAttemptHTTP2 = s.EnableHTTP2
	tr.MaxIdleConnsPerHost = 10
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// call is one call as package endpoint makes it.
func call(ctx context.Context, c *http.Client, url string) error {
	use := connections.For(c)
	err := do(ctx, use, url)
	if err != nil {
		use.Over(err)
	}
	return err
}

func do(ctx context.Context, use *connections.Use, url string) error {
	// No GetBody: net/http does not send it again by itself.
	req, err := http.NewRequestWithContext(ctx, "POST", url, io.MultiReader(strings.NewReader("x")))
	if err != nil {
		return err
	}
	req.Close = use.Close
	resp, err := use.Client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.ReadAll(resp.Body)
	return err
}

// call is a call that is too late as soon as it is sent to where nobody hears it.
func (s *server) call(t *testing.T, c *http.Client) error {
	var addr net.Addr
	late := make(chan struct{})
	ctx := httptrace.WithClientTrace(due{t.Context(), late}, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { addr = i.Conn.LocalAddr() },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			if s.Silent(addr) {
				close(late)
			}
		},
	})
	return call(ctx, c, "https://"+s.Addr)
}

// TestSilence: the path falls silent, and calls that are made one after another are lost
// to it: one; or one more over HTTP/2 with a Transport of the caller's, certainly if
// other requests keep the connection busy. (Without this package: over HTTP/1.1 as many
// as there are connections, over HTTP/2 all.)
func TestSilence(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, busy := range []bool{false, true} {
			for _, k := range kinds {
				t.Run(fmt.Sprintf("HTTP/2 %v, busy %v, client %s", http2, busy, k.name), func(t *testing.T) {
					s := serve(t, http2)
					most, idle := 1, 3
					if http2 {
						idle = 1
					}
					switch {
					case k.closesNone:
						most = max(idle, 2)
					case !k.own && http2:
						most = 2
					}
					lost := s.lost(t, k.client(t, s.transport(t)), idle, busy)
					if lost < 1 || lost > most {
						t.Errorf("%d calls were lost, want at most %d", lost, most)
					}
				})
			}
		}
	}
}

// lost is how many calls with c are, after so many were answered.
func (s *server) lost(t *testing.T, c *http.Client, answered int, busy bool) int {
	t.Helper()
	var held sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer held.Wait()
	defer cancel()
	if busy {
		held.Go(func() { _ = call(ctx, c, "https://"+s.Addr+"/held") })
		<-s.held
	}
	s.warmUp(t, c, answered)
	s.Silence()
	for n := range 20 {
		if s.call(t, c) == nil {
			return n
		}
	}
	return 20
}

// TestPathComesBack: the path is down, for new connections too. The first call is
// answered that is made when it is back, or the second with a Transport of the caller's.
func TestPathComesBack(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, k := range kinds {
			t.Run(fmt.Sprintf("HTTP/2 %v, client %s", http2, k.name), func(t *testing.T) {
				s := serve(t, http2)
				c := k.client(t, s.transport(t))
				s.warmUp(t, c, 1)
				s.Silence()
				s.Down(true)
				for range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // nobody will answer
					if call(ctx, c, "https://"+s.Addr) == nil {
						t.Error("answered on a path that is down")
					}
					cancel()
				}
				s.Down(false)
				lost := 0
				for lost < 5 && s.call(t, c) != nil {
					lost++
				}
				if most := map[bool]int{true: 0, false: 1}[k.own]; lost > most {
					t.Errorf("%d calls were lost after it came back", lost)
				}
			})
		}
	}
}

// warmUp makes n calls at the same time, so that there are as many HTTP/1.1 connections.
func (s *server) warmUp(t *testing.T, c *http.Client, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := call(t.Context(), c, "https://"+s.Addr+"/warm"); err != nil {
				t.Error(err)
			}
		})
	}
	all := make(chan struct{})
	for range n {
		s.warm <- all
	}
	close(all)
	wg.Wait()
}
