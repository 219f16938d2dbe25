package processes

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A Gate stands between the agents and the server. It can hold a refresh before
// the server has it, and its answer once the server has rotated; and it keeps a
// record of both, which is the evidence of what a kill hit.
//
// One refresh that it has passed on is answered, whoever is still there to hear it.
type Gate struct {
	URL string

	// The fields below are set before the first agent starts.

	// Delay is how long a refresh takes on either side of the server; nil: no time.
	Delay func() time.Duration

	// Stored returns the refresh token of an account in the store, "" if that cannot be
	// told; nil: nobody asks.
	Stored func(account string) string

	// CarryOut makes the gate carry out a refresh that has arrived though its client has
	// left. Else it drops one whose client leaves while it waits before the server, like
	// the server itself with Options.Latency.
	CarryOut bool

	server *tokentest.Server
	open   context.Context // ends with the test: nothing waits any more

	mu      sync.Mutex // guards all below
	holds   []*Hold
	calls   []*Call
	revoked []string // refresh and access tokens that agents asked to revoke
	secrets []string // all tokens that came by
	busy    int      // refreshes that are here
	quiet   *sync.Cond
}

// A Call is one refresh, that is one presentation of a refresh token.
type Call struct {
	Agent, Account string
	Presented      string
	Stored         string    // see Gate.Stored
	Arrived        time.Time // at the gate
	Passed         time.Time // handed to the server; zero: dropped before
	Answered       time.Time // when the server had answered; zero: it did not
	Status         int       // of the server's answer; 200: it rotated
	Refresh        string    // the refresh token it answered
	Access         string    // the access token it answered
	Delivered      bool      // the agent got an answer, as far as one can tell here
}

// Rotated reports whether the server exchanged the token.
func (c Call) Rotated() bool { return c.Status == http.StatusOK }

func newGate(t testing.TB, server *tokentest.Server) *Gate {
	open, shut := context.WithCancel(context.Background())
	g := &Gate{server: server, open: open}
	g.quiet = sync.NewCond(&g.mu)
	s := httptest.NewServer(g)
	g.URL = s.URL
	t.Cleanup(func() {
		shut()
		s.CloseClientConnections()
		s.Close()
	})
	return g
}

// History returns all refreshes so far, in the order in which they arrived, when none
// is under way.
func (g *Gate) History() []Call {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.busy > 0 {
		g.quiet.Wait()
	}
	all := make([]Call, len(g.calls))
	for i, c := range g.calls {
		all[i] = *c
	}
	return all
}

// Begun returns how many refreshes have arrived so far.
func (g *Gate) Begun() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls)
}

// Revocations returns the tokens that agents asked to revoke so far.
func (g *Gate) Revocations() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.revoked)
}

// keepSecret remembers tokens that nobody must say aloud.
func (g *Gate) keepSecret(tokens ...string) {
	g.note(func() { g.secrets = append(g.secrets, tokens...) })
}

// shows reports whether one of the tokens so far is in text.
func (g *Gate) shows(text string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.secrets, func(s string) bool { return s != "" && strings.Contains(text, s) })
}

func (g *Gate) note(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// ServeHTTP implements http.Handler.
func (g *Gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
		g.note(func() { g.revoked = append(g.revoked, form.Get("token")) })
	}
	g.pass(r, body).write(w)
}

func (g *Gate) refresh(w http.ResponseWriter, r *http.Request, body []byte) {
	c := &Call{
		Agent: r.Header.Get(agentHeader), Account: r.Header.Get(accountHeader),
		Presented: presented(body), Arrived: time.Now(),
	}
	if g.Stored != nil {
		c.Stored = g.Stored(c.Account)
	}
	g.note(func() {
		g.calls = append(g.calls, c)
		g.secrets = append(g.secrets, c.Presented)
		g.busy++
	})
	defer g.note(func() {
		g.busy--
		g.quiet.Broadcast()
	})
	client := r.Context()
	if g.CarryOut {
		client = context.WithoutCancel(client)
	}

	if !g.wait(client, BeforeServer) {
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
		c.Answered, c.Status, c.Access, c.Refresh = time.Now(), a.status, pair.Access, pair.Refresh
		g.secrets = append(g.secrets, pair.Access, pair.Refresh)
	})
	if !g.wait(client, AfterServer) {
		panic(http.ErrAbortHandler)
	}
	a.write(w)
	g.note(func() { c.Delivered = true })
}

// reply is an answer of the server.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// pass asks the server, though the client may leave meanwhile.
func (g *Gate) pass(r *http.Request, body []byte) reply {
	req, err := http.NewRequestWithContext(g.open, r.Method, g.server.URL+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header.Clone()
	resp, err := g.server.Client().Transport.RoundTrip(req)
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
