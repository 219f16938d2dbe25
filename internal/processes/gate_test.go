package processes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// agentHeader has the name of the agent that made a request.
const agentHeader = "X-Agent"

// A gate stands between the agents and the server. It can hold a refresh before
// the server has it, and its answer once the server has rotated; and it keeps a
// record of both, which is the evidence of what a kill hit.
//
// Like the server itself with Options.Latency, it drops a refresh whose client
// leaves while it waits before the server. One that it has passed on is answered,
// whoever is still there to hear it.
type gate struct {
	URL   string
	srv   *tokentest.Server
	close chan struct{} // closed at the end: nothing waits any more

	mu            sync.Mutex // guards all below
	before, after time.Duration
	holds         []*hold
	calls         []*call
	revoked       []string // refresh and access tokens that agents asked to revoke
	secrets       []string // all tokens that came by
	busy          int      // refreshes that are here
	quiet         *sync.Cond
}

// call is one refresh, that is one presentation of a refresh token.
type call struct {
	Agent     string
	Presented string
	Arrived   time.Time
	Passed    time.Time // handed to the server; zero: dropped before
	Status    int       // of the server's answer; 200: it rotated
	Refresh   string    // the refresh token it answered
	Access    string    // the access token it answered
	Answered  bool      // the agent got an answer, as far as one can tell here
}

func (c call) rotated() bool { return c.Status == http.StatusOK }

// stage is where a refresh can be held.
type stage int

const (
	beforeServer stage = iota // it has arrived, and has had no effect
	afterServer               // the server has rotated, and nobody knows the answer
)

// hold is the order to hold the next refresh.
type hold struct {
	stage   stage
	taken   bool          // guarded by gate.mu
	reached chan struct{} // closed when a refresh is held
	free    chan struct{}
	release func()
}

func newGate(t testing.TB, srv *tokentest.Server) *gate {
	g := &gate{srv: srv, close: make(chan struct{})}
	g.quiet = sync.NewCond(&g.mu)
	s := httptest.NewServer(g)
	g.URL = s.URL
	t.Cleanup(func() {
		close(g.close)
		s.CloseClientConnections()
		s.Close()
	})
	return g
}

// holdNext holds the next refresh that gets to stage.
func (g *gate) holdNext(s stage) *hold {
	h := &hold{stage: s, reached: make(chan struct{}), free: make(chan struct{})}
	h.release = sync.OnceFunc(func() { close(h.free) })
	g.mu.Lock()
	defer g.mu.Unlock()
	g.holds = append(g.holds, h)
	return h
}

// slow makes each refresh take up to before and after on either side of the
// server.
func (g *gate) slow(before, after time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before, g.after = before, after
}

// waitReached blocks until h holds a refresh.
func (h *hold) waitReached(t testing.TB) {
	t.Helper()
	select {
	case <-h.reached:
	case <-time.After(patience):
		t.Fatal("no refresh came to be held")
	}
}

// reaches blocks until h holds a refresh, or until the request that was to bring it
// has failed: then h is over, and reaches is false.
func (g *gate) reaches(t testing.TB, h *hold, q *pending) bool {
	t.Helper()
	select {
	case <-h.reached:
		return true
	case a := <-q.answer:
		if !a.slow() {
			t.Errorf("the request came to its end: status %d, error %q", a.Status, a.Err)
		}
	case <-time.After(patience):
		t.Fatal("no refresh came to be held")
	}
	g.note(func() { h.taken = true })
	return false
}

// history returns all refreshes so far, when none is under way.
func (g *gate) history() []call {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.busy > 0 {
		g.quiet.Wait()
	}
	all := make([]call, len(g.calls))
	for i, c := range g.calls {
		all[i] = *c
	}
	return all
}

// begun returns how many refreshes have arrived so far.
func (g *gate) begun() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls)
}

func (g *gate) revocations() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.revoked...)
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	switch r.URL.Path {
	case "/token/refresh", "/oauth/token":
		g.refresh(w, r, body)
		return
	case "/oauth/revoke":
		form, _ := url.ParseQuery(string(body))
		g.mu.Lock()
		g.revoked = append(g.revoked, form.Get("token"))
		g.mu.Unlock()
	}
	g.pass(r, body).write(w)
}

func (g *gate) refresh(w http.ResponseWriter, r *http.Request, body []byte) {
	c := &call{Agent: r.Header.Get(agentHeader), Presented: presented(body), Arrived: time.Now()}
	g.mu.Lock()
	g.calls = append(g.calls, c)
	g.secrets = append(g.secrets, c.Presented)
	g.busy++
	before, after := g.before, g.after
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.busy--
		g.quiet.Broadcast()
	}()

	if !g.wait(r.Context(), beforeServer, before) {
		panic(http.ErrAbortHandler)
	}
	g.note(func() { c.Passed = time.Now() })
	a := g.pass(r, body)
	var pair struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	_ = json.Unmarshal(a.body, &pair)
	g.note(func() {
		c.Status, c.Access, c.Refresh = a.status, pair.Access, pair.Refresh
		if c.rotated() {
			g.secrets = append(g.secrets, pair.Access, pair.Refresh)
		}
	})
	if !g.wait(r.Context(), afterServer, after) {
		panic(http.ErrAbortHandler)
	}
	a.write(w)
	g.note(func() { c.Answered = true })
}

func (g *gate) note(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// wait holds a refresh at s if it was asked to, and for a part of most. It is
// false if the client left.
func (g *gate) wait(ctx context.Context, s stage, most time.Duration) bool {
	var held *hold
	g.note(func() {
		for _, h := range g.holds {
			if h.stage == s && !h.taken {
				h.taken, held = true, h
				return
			}
		}
	})
	if held != nil {
		close(held.reached)
		select {
		case <-held.free:
		case <-ctx.Done():
			return false
		case <-g.close:
			return false
		}
	}
	if most > 0 {
		timer := time.NewTimer(rand.N(most))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// reply is an answer of the server.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// pass asks the server, though the client may leave meanwhile.
func (g *gate) pass(r *http.Request, body []byte) reply {
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, g.srv.URL+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header.Clone()
	resp, err := g.srv.Client().Transport.RoundTrip(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return reply{resp.StatusCode, resp.Header, text}
}

func (a reply) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the agent may have been killed
}

// presented returns the refresh token of a request of either kind.
func presented(body []byte) string {
	var in struct {
		Token string `json:"refresh_token"`
	}
	if json.Unmarshal(body, &in) == nil {
		return in.Token
	}
	form, _ := url.ParseQuery(string(body))
	return form.Get("refresh_token")
}
