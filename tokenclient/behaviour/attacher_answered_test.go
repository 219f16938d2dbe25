package behaviour_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// numbered is an Attacher whose requests say the number that the server gave last, as one of
// signatures or proofs does.
type numbered struct {
	tokenclient.Bearer
	mu   sync.Mutex
	last string
	told []int // the statuses
}

func (a *numbered) Attach(req *http.Request, t *tokenclient.Token) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	number := a.last
	if req.Response != nil {
		number = req.Response.Header.Get("X-Number")
	}
	req.Header.Set("X-Number", number)
	return a.Bearer.Attach(req, t)
}

func (a *numbered) Answered(req *http.Request, resp *http.Response, _ *tokenclient.Token) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if req.Header.Get("Authorization") == "" {
		panic("told of a request that it did not attach to")
	}
	a.told = append(a.told, resp.StatusCode)
	a.last = resp.Header.Get("X-Number")
	return resp.Header.Get("X-Stale") != ""
}

// numberServer is an API that takes each of its numbers once, and the second token alone.
type numberServer struct {
	settles bool // else no number is ever right
	first   bool // it looks at the number first
	good    string
	mu      sync.Mutex
	n       int
	bodies  []string
	reads   int64 // bytes that it reads of a body before it refuses; negative: all
}

func (s *numberServer) serve(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stale := req.Header.Get("X-Number") != fmt.Sprint(s.n) || !s.settles
	dead := s.good != "" && req.Header.Get("Authorization") != "Bearer "+s.good
	s.n++
	status := 200
	if stale || dead {
		status = 401
	}
	if req.Body != nil {
		var body []byte
		if status == 200 || s.reads < 0 {
			body, _ = io.ReadAll(req.Body)
		} else {
			body, _ = io.ReadAll(io.LimitReader(req.Body, s.reads))
		}
		s.bodies = append(s.bodies, string(body))
		_ = req.Body.Close()
	}
	resp := sessiontest.Reply(req, status)
	resp.Body = io.NopCloser(strings.NewReader("the server's own words"))
	resp.Header.Set("X-Number", fmt.Sprint(s.n))
	if stale && (s.first || !dead) {
		resp.Header.Set("X-Stale", "1")
	}
	return resp, nil
}

// answered is a session with a numbered Attacher whose token is old.
func answered(t *testing.T, api *numberServer, edit func(*tokenclient.Config)) (*sessiontest.Rig, *numbered, *int) {
	t.Helper()
	refreshes, a := 0, new(numbered)
	refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
		refreshes++
		return sessiontest.Pair("T1", "R1", time.Hour), nil
	}
	r := sessiontest.NewFake(t, refresh, api.serve, func(c *tokenclient.Config) {
		c.Attacher = a
		if edit != nil {
			edit(c)
		}
	})
	token := sessiontest.Pair("T0", "R0", time.Hour)
	token.Issued = time.Now().Add(-time.Minute)
	r.Give(t, token)
	return r, a, &refreshes
}

// TestAnswered: a token that has expired and a number that is missing cost one request no more
// than its sendings, whichever the server looks at first, and the body is whole in each.
func TestAnswered(t *testing.T) {
	const size = 30_000
	data := strings.Repeat("0123456789", size/10)
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	for kind, body := range map[string]func() io.Reader{
		"none":   func() io.Reader { return nil },
		"bytes":  func() io.Reader { return bytes.NewReader([]byte(data)) },
		"stream": func() io.Reader { return io.MultiReader(strings.NewReader(data)) },
		"file":   func() io.Reader { f, _ := os.Open(name); return f },
	} {
		for _, reads := range []int64{-1, 0, 777} {
			for _, first := range []bool{true, false} {
				t.Run(fmt.Sprint(kind, reads, first), func(t *testing.T) {
					api := &numberServer{settles: true, first: first, good: "T1", reads: reads}
					r, a, refreshes := answered(t, api, nil)
					for range 2 {
						req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.FakeAPI, body())
						if err != nil {
							t.Fatal(err)
						}
						resp, err := r.Client.Do(req)
						if err != nil {
							t.Fatal(err)
						}
						_ = resp.Body.Close()
						if resp.StatusCode != 200 || resp.Request != req {
							t.Errorf("status %d, its own request %v", resp.StatusCode, resp.Request == req)
						}
						if got := api.bodies; kind != "none" && got[len(got)-1] != data {
							t.Errorf("body of %d bytes", len(got[len(got)-1]))
						}
					}
					want := []int{401, 401, 200, 200}
					if !first {
						want = []int{401, 200, 200}
					}
					if fmt.Sprint(a.told) != fmt.Sprint(want) || *refreshes != 1 {
						t.Errorf("answers %v, want %v; %d refreshes", a.told, want, *refreshes)
					}
				})
			}
		}
	}
}

// TestAnsweredBound: a server whose numbers are never right gets a request four times; then its
// answer goes to the caller as it came, nothing is refreshed, and the next request begins anew. What must not or
// cannot be sent twice is sent once.
func TestAnsweredBound(t *testing.T) {
	for name, tc := range map[string]struct {
		body io.Reader
		edit func(*tokenclient.Transport)
		want int
	}{
		"GET":    {nil, nil, 4},
		"POST":   {strings.NewReader("body"), nil, 4},
		"stream": {io.MultiReader(strings.NewReader("body")), nil, 4},
		"NoReplay": {nil, func(t *tokenclient.Transport) {
			t.NoReplay = func(*http.Request) bool { return true }
		}, 1},
		"long stream": {io.MultiReader(strings.NewReader("body")), func(t *tokenclient.Transport) { t.MaxReplayBody = 3 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			api := &numberServer{reads: -1}
			r, a, refreshes := answered(t, api, nil)
			transport := r.Session.Transport(sessiontest.RoundTrip(api.serve))
			if tc.edit != nil {
				tc.edit(transport)
			}
			for range 2 {
				a.told = nil
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.FakeAPI, tc.body)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 401 || err != nil || len(got) == 0 || len(a.told) != tc.want || *refreshes != 0 {
					t.Errorf("status %d, body %q, error %v, %d sendings, %d refreshes", resp.StatusCode, got, err, len(a.told), *refreshes)
				}
				tc.body = nil // the second one has none
				if tc.want == 1 && name != "NoReplay" {
					return
				}
			}
		})
	}
}

// TestAnsweredWorst: what a server can make of one request at most that refuses each token, and
// each number from the first refreshed one on: the first sending, the replay, four tries of a
// young token, and three because the Attacher asks.
func TestAnsweredWorst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		api := func(req *http.Request) (*http.Response, error) {
			sent++
			resp := sessiontest.Reply(req, 401)
			if sent%2 == 1 {
				resp.Header.Set("X-Stale", "1")
			}
			return resp, nil
		}
		refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return sessiontest.Pair("T1", "R1", time.Hour), nil
		}
		r := sessiontest.NewFake(t, refresh, api, func(c *tokenclient.Config) { c.Attacher = new(numbered) })
		token := sessiontest.Pair("T0", "R0", time.Hour)
		token.Issued = time.Now().Add(-time.Minute)
		r.Give(t, token)
		r.WantGet(t, 401)
		if sent > 1+1+4+3 || sent < 6 {
			t.Errorf("sent %d times", sent)
		}
	})
}
