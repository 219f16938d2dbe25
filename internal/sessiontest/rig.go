package sessiontest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A Rig is a session wired to a server.
type Rig struct {
	Server  *tokentest.Server
	Session *tokenclient.Session
	Client  *http.Client // wrapped by Session
}

// A Change is what a test changes of the Config that a session would have.
type Change = func(*tokenclient.Config, *tokentest.Server)

// New starts a server and a session that has no token yet. A nil change leaves
// the Config as it is.
func New(t *testing.T, o *tokentest.Options, change Change) *Rig {
	t.Helper()
	r := &Rig{Server: tokentest.NewServer(t, o)}
	return r.Another(t, change)
}

// Kept is the Change that keeps the token in s, under the key "alice".
func Kept(s tokenclient.Store) Change {
	return func(c *tokenclient.Config, _ *tokentest.Server) { c.Store, c.Key = s, "alice" }
}

// Another is another session for the server of r, without a token of its own.
func (r *Rig) Another(t *testing.T, change Change) *Rig {
	t.Helper()
	c := tokenclient.Config{Refresher: r.Server.OAuth2Refresher(), Origins: []string{r.Server.URL}}
	if change != nil {
		change(&c, r.Server)
	}
	s := Open(t, c)
	return &Rig{r.Server, s, s.Wrap(r.Server.Client())}
}

// FakeAPI is the origin of the API of NewFake.
const FakeAPI = "http://localhost:1"

// NewFake is a rig without a server: refresh is the Refresher and api answers. Its Server
// has a URL and nothing else.
func NewFake(t *testing.T, refresh tokenclient.RefresherFunc, api RoundTrip, change func(*tokenclient.Config)) *Rig {
	t.Helper()
	c := tokenclient.Config{Refresher: refresh, Origins: []string{FakeAPI}}
	if change != nil {
		change(&c)
	}
	s := Open(t, c)
	return &Rig{&tokentest.Server{URL: FakeAPI}, s, s.Wrap(&http.Client{Transport: api})}
}

// Login gives the session a token of alice's.
func (r *Rig) Login(t *testing.T) *tokenclient.Token {
	t.Helper()
	token := r.Server.Issue("alice")
	r.Give(t, token)
	return token
}

// Give makes token the session's.
func (r *Rig) Give(t *testing.T, token *tokenclient.Token) {
	t.Helper()
	if err := r.Session.SetToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
}

// Logout logs the session out.
func (r *Rig) Logout(t *testing.T) {
	t.Helper()
	if err := r.Session.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Get asks the API and returns the status; the body is read and closed.
func (r *Rig) Get(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Server.URL+"/api/", nil)
	if err != nil {
		return 0, err
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// WantGet asks the API, and ends the test if it does not answer with status.
func (r *Rig) WantGet(t testing.TB, status int) {
	t.Helper()
	if got, err := r.Get(t.Context()); err != nil || got != status {
		t.Fatalf("GET: status %d, error %v; want status %d", got, err, status)
	}
}

// WantGets asks the API n times at once, and checks that each answer has status.
func (r *Rig) WantGets(t testing.TB, n, status int) {
	t.Helper()
	Crowd(n, func() {
		if got, err := r.Get(t.Context()); err != nil || got != status {
			t.Errorf("GET: status %d, error %v; want status %d", got, err, status)
		}
	})
}

// WantRefreshes checks how many refreshes the server has seen.
func (r *Rig) WantRefreshes(t testing.TB, n int) {
	t.Helper()
	if got := r.Server.Counters().Refreshes; got != n {
		t.Errorf("%d refreshes, want %d", got, n)
	}
}

// Access is the access token that the session holds.
func (r *Rig) Access(t testing.TB) string {
	t.Helper()
	now, err := r.Session.Peek(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return now.AccessToken
}

// KeepFresh runs the session's KeepFresh until stop is called, or until it ends by
// itself; its result comes out of the channel.
func (r *Rig) KeepFresh(t *testing.T) (stop func(), ended <-chan error) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- r.Session.KeepFresh(ctx) }()
	return cancel, result
}

// Subject asks the API of a tokentest.Server at base whose token it was sent.
func Subject(ctx context.Context, client *http.Client, base string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/me", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct{ Subject string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != 200 {
		return "", fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	return answer.Subject, nil
}
