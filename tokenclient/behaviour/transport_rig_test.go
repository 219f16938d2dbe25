package behaviour_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// startServer starts a server that speaks protocol, and nothing else.
func startServer(t *testing.T, protocol string, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	switch protocol {
	case "HTTP/2":
		srv.EnableHTTP2 = true
		srv.StartTLS()
	case "h2c":
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
		srv.Client().Transport.(*http.Transport).Protocols = srv.Config.Protocols
	default:
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

// An uploadServer is an API on a loopback port that refuses sessiontest.Access(0), and
// answers others with the length and the sum of what it got.
type uploadServer struct {
	url       string
	transport *http.Transport
	close     func() // waits for all requests

	refusal   string
	read      int64      // how much of a refused body is read before the answer; negative: all
	hangsUp   bool       // after a refusal: net/http's server waits for some of the body otherwise
	hints     bool       // "103 Early Hints" comes first
	accepting func()     // is called on its own goroutine when a body is about to be read
	noted     chan int64 // unless nil, gets how much arrived of each refused body

	refreshed chan struct{} // gets an element from each refresh of a session of s

	mu      sync.Mutex // guards uploads
	uploads []upload
}

// upload is a request as the server got it.
type upload struct {
	refused bool
	length  int64
	sum     string // unless it was refused
}

const (
	shortRefusal = "log in again, said the server"
	// continueNever is a timeout for "100 Continue" that no test outlives.
	continueNever = time.Hour
)

// longRefusal is longer than what fits into the buffers of a connection that breaks.
var longRefusal = strings.Repeat(shortRefusal+"\n", 2000)

func startUploadServer(t *testing.T, protocol, refusal string) *uploadServer {
	t.Helper()
	s := &uploadServer{refusal: refusal, refreshed: make(chan struct{}, 1000)}
	srv := startServer(t, protocol, s)
	s.url, s.close, s.transport = srv.URL, srv.Close, srv.Client().Transport.(*http.Transport)
	s.transport.ExpectContinueTimeout = continueNever // httptest leaves it 0
	return s
}

func isRefused(r *http.Request) bool {
	return r.Header.Get("Authorization") == "Bearer "+sessiontest.Access(0)
}

func (s *uploadServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.hints {
		w.WriteHeader(http.StatusEarlyHints)
	}
	if !isRefused(r) {
		_, _ = io.WriteString(w, s.accept(r.Body))
		return
	}
	s.note(s.take(r.Body))
	if s.hangsUp {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, s.refusal)
}

// take reads of a refused body what is to be read before the answer.
func (s *uploadServer) take(body io.Reader) int64 {
	switch {
	case s.read > 0:
		body = io.LimitReader(body, s.read)
	case s.read == 0:
		return 0
	}
	n, _ := io.Copy(io.Discard, body)
	return n
}

// note writes down that n bytes of a refused body arrived, for what s was told.
func (s *uploadServer) note(n int64) {
	s.mu.Lock()
	s.uploads = append(s.uploads, upload{refused: true, length: n})
	s.mu.Unlock()
	if s.noted != nil {
		s.noted <- n
	}
}

func (s *uploadServer) accept(body io.Reader) string {
	if s.accepting != nil {
		go s.accepting()
	}
	sum := sha256.New()
	n, err := io.Copy(sum, body)
	got := upload{length: n, sum: hex.EncodeToString(sum.Sum(nil))}
	s.mu.Lock()
	s.uploads = append(s.uploads, got)
	s.mu.Unlock()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", got.length, got.sum)
}

// got returns what has arrived so far: refused, and not.
func (s *uploadServer) got() (refused, accepted []upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.uploads {
		if u.refused {
			refused = append(refused, u)
		} else {
			accepted = append(accepted, u)
		}
	}
	return refused, accepted
}

// session is logged in with the token that s refuses.
func (s *uploadServer) session(t *testing.T) *tokenclient.Session {
	t.Helper()
	return sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Origins = []string{s.url}
		c.Hooks = &tokenclient.Hooks{Refreshed: func(tokenclient.RefreshInfo) { s.refreshed <- struct{}{} }}
	})
}

// request is a POST of body to s.
func (s *uploadServer) request(t *testing.T, ctx context.Context, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// wantRefused fails unless the answer is the 401 with this body, untouched.
func wantRefused(t *testing.T, resp *http.Response, refusal string) {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 401 || string(text) != refusal {
		t.Errorf("status %d, %d bytes: %.100q, error %v; want the 401 as it came", resp.StatusCode, len(text), text, err)
	}
}

// wantRefusedOnce fails unless the answer is the 401 of the only sending, and the token is
// refreshed all the same.
func (s *uploadServer) wantRefusedOnce(t *testing.T, resp *http.Response, session *tokenclient.Session) {
	t.Helper()
	wantRefused(t, resp, s.refusal)
	s.wantRefreshed(t, session)
	if _, accepted := s.got(); len(accepted) != 0 {
		t.Error("the body was sent again")
	}
}

// wantAccepted fails unless the answer says that exactly this was received.
func wantAccepted(t *testing.T, resp *http.Response, length int64, sum string) {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if want := fmt.Sprintf("%d %s", length, sum); err != nil || resp.StatusCode != 200 || string(text) != want {
		t.Errorf("status %d, %.100q, error %v; want %q", resp.StatusCode, text, err, want)
	}
}

// wantRefreshed fails unless the token is renewed without another request: the one
// that could not be sent again has seen to it.
func (s *uploadServer) wantRefreshed(t *testing.T, session *tokenclient.Session) {
	t.Helper()
	select {
	case <-s.refreshed:
	case <-time.After(time.Minute):
		t.Fatal("the token was not refreshed")
	}
	token, err := session.Peek(t.Context())
	if err != nil || token.AccessToken != sessiontest.Access(1) {
		t.Errorf("token %v, error %v; want that of one refresh", token, err)
	}
}
