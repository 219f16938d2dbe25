package behaviour_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// replayServer is an API on a loopback port that accepts contractAccess(1) and
// later tokens. It tells what it read of each request.
type replayServer struct {
	*httptest.Server
	early bool // a refused request is not read
	close bool // and its connection closed: net/http's server waits for some of the body otherwise

	accepting func() // is called on its own goroutine when a request is about to be read

	refreshed chan struct{} // gets an element from each refresh

	mu   sync.Mutex // guards seen
	seen []replaySeen
}

type replaySeen struct {
	refused bool
	length  int64
	sum     string
}

const replayRefusal = "log in again, said the server"

func newReplayServer(t *testing.T, early bool) *replayServer {
	s := &replayServer{early: early, refreshed: make(chan struct{}, 100)}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *replayServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refused := r.Header.Get("Authorization") == "Bearer "+sessiontest.Access(0)
	got := replaySeen{refused: refused}
	if !refused && s.accepting != nil {
		go s.accepting()
	}
	if !refused || !s.early {
		sum := sha256.New()
		got.length, _ = io.Copy(sum, r.Body)
		got.sum = hex.EncodeToString(sum.Sum(nil))
	}
	s.mu.Lock()
	s.seen = append(s.seen, got)
	s.mu.Unlock()
	if refused {
		if s.close {
			w.Header().Set("Connection", "close")
		}
		w.WriteHeader(401)
		_, _ = io.WriteString(w, replayRefusal)
		return
	}
	_, _ = fmt.Fprintf(w, "%d %s", got.length, got.sum)
}

// sendings returns what has arrived so far.
func (s *replayServer) sendings() []replaySeen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// session is logged in with a token that s refuses.
func (s *replayServer) session(t *testing.T, change func(*tokenclient.Config)) *tokenclient.Session {
	return sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Origins = []string{s.URL}
		c.Hooks = &tokenclient.Hooks{Refreshed: func(tokenclient.RefreshInfo) { s.refreshed <- struct{}{} }}
		if change != nil {
			change(c)
		}
	})
}

// wantAccepted fails unless the answer says that exactly want was received.
func wantAccepted(t *testing.T, resp *http.Response, length int64, sum string) {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if want := fmt.Sprintf("%d %s", length, sum); err != nil || resp.StatusCode != 200 || string(text) != want {
		t.Errorf("status %d, %q, error %v; want %q", resp.StatusCode, text, err, want)
	}
}

// wantRefused fails unless the answer is the server's 401, untouched.
func wantRefused(t *testing.T, resp *http.Response) {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 401 || string(text) != replayRefusal {
		t.Errorf("status %d, %q, error %v; want the 401 as it came", resp.StatusCode, text, err)
	}
}

// wantRefreshed fails unless the token is renewed without another request: the one
// that could not be sent again has seen to it.
func (s *replayServer) wantRefreshed(t *testing.T, session *tokenclient.Session) {
	t.Helper()
	select {
	case <-s.refreshed:
	case <-time.After(20 * time.Second):
		t.Fatal("the token was not refreshed")
	}
	token, err := session.Peek(t.Context())
	if err != nil || token.AccessToken != sessiontest.Access(1) {
		t.Errorf("token %v, error %v; want that of one refresh", token, err)
	}
}

// replayPattern is a payload of any size that costs no memory.
type replayPattern struct{ left, at int64 }

// replayBlock is repeated. Its length is a prime, so that a piece that is lost or
// doubled shows.
var replayBlock = func() []byte {
	b := make([]byte, 65521)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}()

func (p *replayPattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(int64(len(b)), p.left)], replayBlock[p.at%int64(len(replayBlock)):])
	p.left -= int64(n)
	p.at += int64(n)
	return n, nil
}

func replaySum(size int64) string {
	sum := sha256.New()
	_, _ = io.Copy(sum, &replayPattern{left: size})
	return hex.EncodeToString(sum.Sum(nil))
}

func replayBytes(size int64) []byte {
	var b bytes.Buffer
	_, _ = b.ReadFrom(&replayPattern{left: size})
	return b.Bytes()
}

// replayRequest is a POST of body to s.
func (s *replayServer) request(t *testing.T, ctx context.Context, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/upload", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
