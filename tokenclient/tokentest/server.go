package tokentest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Server is a running authorization server and API. All its methods are safe
// for concurrent use.
type Server struct {
	// URL is the server's base, such as "http://127.0.0.1:43127", without a
	// slash at the end. It must not be changed.
	URL string

	key       []byte         // signs JWTs
	mux       *http.ServeMux // what Handle was told, and all else at "/"
	http      *http.Server
	transport *http.Transport
	stop      context.CancelFunc // ends every request's context
	running   sync.WaitGroup     // the accept loop and every connection
	numbers   atomic.Uint64      // of the last Event

	mu            sync.Mutex // guards the rest; never held while waiting
	options       Options
	passwords     map[string]string // by user
	grants        map[string]*grant // by jti, or by an opaque token's text
	refreshFaults faultQueue
	apiFaults     faultQueue
	holds         []chan struct{}
	counters      Counters
	logins        logins
	requestIDs    map[string]uint64 // the Number of the last request with it
	observers     []*observer
	proofs        proofs
}

// NewServer starts a server that closes itself when the test ends. A nil o is
// the zero Options. If no port is to be had the test fails.
func NewServer(tb testing.TB, o *Options) *Server {
	tb.Helper()
	s, err := Start(nil, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// Start starts a server that listens on l, for programs and examples that have
// no testing.TB. The caller closes the server, which closes l. If l is nil Start
// opens a listener: a loopback port, or the network in memory that
// Options.InMemory asks for. A nil o is the zero Options.
//
// It fails if no port is to be had, or if there is an l and Options.InMemory.
func Start(l net.Listener, o *Options) (*Server, error) {
	var options Options
	if o != nil {
		options = *o
	}
	l, err := listen(l, options.InMemory)
	if err != nil {
		return nil, fmt.Errorf("tokentest: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		URL:        baseURL(l),
		key:        make([]byte, 32),
		mux:        http.NewServeMux(),
		transport:  newTransport(l),
		stop:       stop,
		options:    options,
		passwords:  map[string]string{},
		grants:     map[string]*grant{},
		requestIDs: map[string]uint64{},
		proofs:     proofs{map[string]bool{}, map[string]*nonce{}},
	}
	_, _ = rand.Read(s.key) // never fails
	s.http = s.newHTTPServer(ctx)
	if options.HTTP2 {
		if err := s.useHTTP2(l); err != nil {
			stop()
			_ = l.Close()
			return nil, fmt.Errorf("tokentest: %w", err)
		}
	}
	s.running.Go(func() { s.serve(l) })
	return s, nil
}

// listen returns the listener of Start.
func listen(l net.Listener, inMemory bool) (net.Listener, error) {
	switch {
	case l != nil && inMemory:
		return nil, errors.New("a listener and Options.InMemory exclude each other")
	case inMemory:
		return newMemoryNetwork(), nil
	case l == nil:
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return l, nil
}

// newHTTPServer returns a server of all endpoints. All requests have ctx.
func (s *Server) newHTTPServer(ctx context.Context) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", s.serveLogin)
	mux.HandleFunc("POST /token/refresh", s.serveJSONRefresh)
	mux.HandleFunc("POST /oauth/token", s.serveOAuthToken)
	mux.HandleFunc("POST /oauth/revoke", s.serveOAuthRevoke)
	mux.HandleFunc("GET /oauth/authorize", s.serveAuthorize)
	mux.HandleFunc("POST /oauth/authorize", s.serveAuthorize)
	mux.HandleFunc("POST /oauth/device", s.serveDevice)
	mux.HandleFunc("GET /device", s.serveDevicePage)
	mux.HandleFunc("POST /device", s.serveDevicePage)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.serveMetadata)
	mux.HandleFunc("POST /heartbeat", s.serveHeartbeat)
	mux.HandleFunc("/api/", s.serveAPI)
	s.mux.Handle("/", s.observed(s.proved(mux)))
	return &http.Server{
		Handler: s.mux,
		// For clients that never finish a request. It counts from a connection's first
		// moment, used or not, and in a bubble no test is to wake just when it is over.
		ReadHeaderTimeout: 61*time.Second + 7*time.Millisecond,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.running.Add(1)
			case http.StateClosed:
				s.running.Done()
			}
		},
	}
}

// Client returns a client that reaches the server on either network. Each call
// returns another http.Client, whose fields may be set; all share one
// *[http.Transport], which may be cloned.
func (s *Server) Client() *http.Client { return &http.Client{Transport: s.transport} }

// AddUser lets name log in with password. A second call for a name replaces the
// password and leaves the tokens alone.
func (s *Server) AddUser(name, password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passwords[name] = password
}

// Close stops the server, cuts its connections, held answers included, and
// returns when all its goroutines have ended. Where a request was just answered
// before its body was read, net/http makes that take half a second. Close may be
// called more than once.
func (s *Server) Close() {
	s.stop()
	_ = s.http.Close() // its error is the listener's, which is of no use now
	s.transport.CloseIdleConnections()
	s.running.Wait()
}
