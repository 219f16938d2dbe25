package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A gate stands between the members and the server, and writes down each presentation
// of a refresh token.
type gate struct {
	URL    string
	srv    *tokentest.Server
	delay  func() time.Duration        // on either side of the server; nil: none
	stored func(account string) string // the refresh token in the store, "" if that cannot be told; nil: not asked
	ended  context.Context

	mu    sync.Mutex // guards calls
	calls []*call
}

// call is one presentation of a refresh token.
type call struct {
	Member    string
	Account   string
	Presented string
	Stored    string // what was in the store at that moment, if known
	Arrived   time.Time
	Answered  time.Time // when the server had answered; zero: it was not asked
	Status    int       // of the server's answer; 200: it has rotated
}

func newGate(t testing.TB, srv *tokentest.Server) *gate {
	ctx, end := context.WithCancel(context.Background())
	g := &gate{srv: srv, ended: ctx}
	s := httptest.NewServer(g)
	g.URL = s.URL
	t.Cleanup(func() {
		end()
		s.CloseClientConnections()
		s.Close()
	})
	return g
}

// history returns all presentations so far, in the order in which they arrived.
func (g *gate) history() []call {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]call, len(g.calls))
	for i, c := range g.calls {
		all[i] = *c
	}
	return all
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if r.URL.Path != "/token/refresh" {
		g.pass(w, r, body)
		return
	}
	var in struct {
		Token string `json:"refresh_token"`
	}
	_ = json.Unmarshal(body, &in)
	c := &call{
		Member: r.Header.Get(memberHeader), Account: r.Header.Get(accountHeader),
		Presented: in.Token, Arrived: time.Now(),
	}
	if g.stored != nil {
		c.Stored = g.stored(c.Account)
	}
	g.mu.Lock()
	g.calls = append(g.calls, c)
	g.mu.Unlock()
	// A request whose client has died is carried out all the same if the server has it,
	// and so it does here.
	g.wait()
	answer := httptest.NewRecorder()
	g.pass(answer, r, body)
	g.mu.Lock()
	c.Answered, c.Status = time.Now(), answer.Code
	g.mu.Unlock()
	g.wait()
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// wait is the network.
func (g *gate) wait() {
	if g.delay == nil {
		return
	}
	timer := time.NewTimer(g.delay())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.ended.Done():
	}
}

// pass asks the server, though the client may leave meanwhile.
func (g *gate) pass(w http.ResponseWriter, r *http.Request, body []byte) {
	req, err := http.NewRequestWithContext(g.ended, r.Method, g.srv.URL+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header.Clone()
	resp, err := g.srv.Client().Transport.RoundTrip(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}
