package behaviour_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// continueRefusal is longer than what fits into the buffers of a connection that
// breaks.
var continueRefusal = strings.Repeat(replayRefusal+"\n", 2000)

// continueServer refuses contractAccess(0), and answers others with the length and
// the sum of what it got. The bodies of refused requests are counted too.
type continueServer struct {
	url       string
	transport *http.Transport

	read  int64 // how much of a refused body is read before the answer; negative: all
	empty bool  // the refusal has no body
	early bool  // "103 Early Hints" comes first

	noted chan int64 // unless nil, gets what refused gets

	mu      sync.Mutex // guards the rest
	refused []int64    // how much arrived of each refused body, for what it was told
	taken   int        // how many were accepted
}

// continueServers are the kinds of servers that differ in what net/http does when
// they refuse a body that they have not read: with the first it closes the
// connection, with the second it sends the body all the same, and with the third
// it ends the stream.
var continueServers = []struct {
	name  string
	start func(*testing.T) *continueServer
}{
	{"HTTP1", func(t *testing.T) *continueServer { return startContinueServer(t, false) }},
	{"HTTP1 kept", startKeptServer},
	{"HTTP2", func(t *testing.T) *continueServer { return startContinueServer(t, true) }},
}

// continueNever is a timeout for "100 Continue" that no test outlives.
const continueNever = time.Hour

func startContinueServer(t *testing.T, http2 bool) *continueServer {
	s := new(continueServer)
	srv := httptest.NewUnstartedServer(s)
	srv.EnableHTTP2 = http2
	if http2 {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	s.url, s.transport = srv.URL, srv.Client().Transport.(*http.Transport)
	s.transport.ExpectContinueTimeout = continueNever // httptest leaves it 0
	return s
}

func (s *continueServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.early {
		w.WriteHeader(http.StatusEarlyHints)
	}
	if r.Header.Get("Authorization") == "Bearer "+sessiontest.Access(0) {
		n := s.take(r.Body)
		w.WriteHeader(401)
		_, _ = io.WriteString(w, s.refusal())
		s.note(n)
		return
	}
	_, _ = io.WriteString(w, s.accept(r.Body))
}

// take reads of a refused body what is to be read before the answer.
func (s *continueServer) take(body io.Reader) int64 {
	switch {
	case s.read > 0:
		body = io.LimitReader(body, s.read)
	case s.read == 0:
		return 0
	}
	n, _ := io.Copy(io.Discard, body)
	return n
}

func (s *continueServer) refusal() string {
	if s.empty {
		return ""
	}
	return continueRefusal
}

func (s *continueServer) note(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = append(s.refused, n)
	if s.noted != nil {
		s.noted <- n
	}
}

func (s *continueServer) accept(body io.Reader) string {
	sum := sha256.New()
	n, err := io.Copy(sum, body)
	if err != nil {
		return err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken++
	return fmt.Sprintf("%d %s", n, hex.EncodeToString(sum.Sum(nil)))
}

// startKeptServer keeps the connection when it has refused a body that it did not
// read, and then reads on to its end, as nginx does.
func startKeptServer(t *testing.T) *continueServer {
	return startRawServer(t, func(s *continueServer, conn io.Writer, r *http.Request) error {
		if s.early {
			_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
		}
		refused := r.Header.Get("Authorization") == "Bearer "+sessiontest.Access(0)
		if (!refused || s.read != 0) && r.Header.Get("Expect") != "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		if !refused {
			rawAnswer(conn, "200 OK", s.accept(r.Body))
			return nil
		}
		n := s.take(r.Body)
		rawAnswer(conn, "401 Unauthorized", s.refusal())
		rest, err := io.Copy(io.Discard, r.Body)
		s.note(n + rest)
		return err
	})
}

func rawAnswer(conn io.Writer, status, text string) {
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
}

// startRawServer has answer answer what comes over each connection, until it
// returns an error. Unlike net/http's server it sends nothing by itself.
func startRawServer(t *testing.T, answer func(*continueServer, io.Writer, *http.Request) error) *continueServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &continueServer{
		url:       "http://" + listener.Addr().String(),
		transport: &http.Transport{ExpectContinueTimeout: continueNever},
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					r, err := http.ReadRequest(in)
					if err != nil || answer(s, conn, r) != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		s.transport.CloseIdleConnections()
		_ = listener.Close()
		serving.Wait()
	})
	return s
}

// session is logged in with the token that s refuses. Each refresh shows in
// refreshed.
func (s *continueServer) session(t *testing.T) (session *tokenclient.Session, refreshed <-chan struct{}) {
	done := make(chan struct{}, 10)
	return sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Origins = []string{s.url}
		c.Hooks = &tokenclient.Hooks{Refreshed: func(tokenclient.RefreshInfo) { done <- struct{}{} }}
	}), done
}

// wrap is a Transport that asks, and keeps nothing.
func (s *continueServer) wrap(session *tokenclient.Session) *tokenclient.Transport {
	t := session.Transport(s.transport)
	t.ExpectContinue, t.MaxReplayBody = true, -1
	return t
}

// wantRefusedOnce fails unless resp is the 401, whole, after one sending, and the
// token is refreshed all the same.
func (s *continueServer) wantRefusedOnce(t *testing.T, resp *http.Response, refreshed <-chan struct{}) {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != 401 || string(text) != s.refusal() {
		t.Errorf("status %d, %d bytes, error %v; want the 401 and its %d bytes", resp.StatusCode, len(text), err, len(s.refusal()))
	}
	select {
	case <-refreshed:
	case <-time.After(20 * time.Second):
		t.Error("the token was not refreshed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken != 0 {
		t.Error("the body was sent again")
	}
}

// continueRequest is a POST of a body that cannot be rewound.
func (s *continueServer) request(t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
