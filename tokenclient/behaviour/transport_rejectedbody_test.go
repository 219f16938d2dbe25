package behaviour_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// saysExpired is what a program writes for an API that says in its answers what others say
// by the status.
func saysExpired(resp *http.Response) bool {
	if resp.StatusCode == http.StatusFound {
		return strings.HasPrefix(resp.Header.Get("Location"), "/login")
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch kind {
	case "application/json", "text/html":
		start := tokenclient.PeekBody(resp, 4<<10, time.Minute)
		return bytes.Contains(start, []byte(`"token_expired"`)) || bytes.Contains(start, []byte("<title>Log in"))
	}
	return resp.StatusCode == http.StatusUnauthorized
}

const (
	expiredJSON = `{"ok":false,"error":"token_expired"}`
	loginPage   = "<html><title>Log in</title></html>"
)

// spokenRefusals are ways to refuse a token that are no 401.
var spokenRefusals = []struct {
	name   string
	refuse func(w http.ResponseWriter, r *http.Request)
}{
	{"200 with an error in it", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, expiredJSON)
	}},
	{"in pieces", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for _, b := range []byte(expiredJSON) {
			_, _ = w.Write([]byte{b})
			_ = http.NewResponseController(w).Flush()
		}
	}},
	{"with much behind it", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, expiredJSON+strings.Repeat(" ", 4<<20))
	}},
	{"gzip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, expiredJSON)
			_ = z.Close()
		}
	}},
	{"403 with a login page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, loginPage)
	}},
	{"302 to a login page", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/login?next=/", http.StatusFound)
	}},
	{"401", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }},
}

// TestRejectedBody: a refusal that is said in a body, or by a redirect, is refreshed and
// replayed like a 401. The body of the request arrives whole, and the answer too.
func TestRejectedBody(t *testing.T) {
	data := replayBytes(100_000)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2", "h2c"} {
		for _, tc := range spokenRefusals {
			for _, encoding := range []string{"", "gzip"} { // net/http's own, and the caller's
				t.Run(protocol+"/"+tc.name+"/"+encoding, func(t *testing.T) {
					srv := startServer(t, protocol, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						got, _ := io.ReadAll(r.Body)
						if r.Header.Get("Authorization") == "Bearer "+sessiontest.Access(0) {
							tc.refuse(w, r)
							return
						}
						w.Header().Set("Content-Type", "application/json")
						w.Header().Set("Trailer", "Sum")
						_, _ = w.Write(got)
						w.Header().Set("Sum", "planted")
					}))
					s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
						c.Origins, c.Rejected = []string{srv.URL}, saysExpired
					})
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, streamOf(data))
					if err != nil {
						t.Fatal(err)
					}
					if encoding != "" {
						req.Header.Set("Accept-Encoding", encoding)
					}
					resp, err := s.Wrap(srv.Client()).Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					got, err := io.ReadAll(resp.Body)
					if resp.StatusCode != 200 || err != nil || !bytes.Equal(got, data) {
						t.Errorf("status %d, %d bytes, error %v, the same: %v", resp.StatusCode, len(got), err, bytes.Equal(got, data))
					}
					if resp.Trailer.Get("Sum") != "planted" {
						t.Errorf("trailer %v", resp.Trailer)
					}
				})
			}
		}
	}
}

// TestRejectedBodyKept: an answer that was looked at and is no refusal is the caller's as it
// came, to its last byte, its error and its Close; and so is a refusal that is not replayed.
func TestRejectedBodyKept(t *testing.T) {
	broken := errors.New("the connection is gone")
	for _, tc := range []struct {
		name, text string
		err        error
		noReplay   bool
	}{
		{"accepted", `{"ok":true}`, nil, false},
		{"accepted, long", strings.Repeat(`{"ok":true}`, 10_000), nil, false},
		{"accepted, and then broken", `{"ok":true`, broken, false},
		{"refused, not to be sent again", expiredJSON, nil, true},
	} {
		var body *sessiontest.Body
		base := sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			resp := sessiontest.Reply(req, 200)
			resp.Header.Set("Content-Type", "application/json")
			body = sessiontest.NewBody(tc.text)
			if tc.err != nil {
				body.Reader = io.MultiReader(body.Reader, errReader{tc.err})
			}
			resp.Body = body
			return resp, nil
		})
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Rejected = saysExpired })
		transport := s.Transport(base)
		if tc.noReplay {
			transport.NoReplay = func(*http.Request) bool { return true }
		}
		req := sessiontest.NewRequest(t, t.Context(), sessiontest.URL, "", nil)
		resp, err := transport.RoundTrip(req.Request)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if string(got) != tc.text || !errors.Is(err, tc.err) {
			t.Errorf("%s: %d bytes of %d, error %v", tc.name, len(got), len(tc.text), err)
		}
		if n := body.Closed.Load(); n != 0 {
			t.Errorf("%s: closed %d times before Close", tc.name, n)
		}
		if _ = resp.Body.Close(); body.Closed.Load() != 1 {
			t.Errorf("%s: closed %d times", tc.name, body.Closed.Load())
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestRejectedBodyStream: a stream for which nobody looks has its header at once, and one for
// which somebody does has it after the time for that; what it says later is whole.
func TestRejectedBodyStream(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2", "h2c"} {
		for _, kind := range []string{"text/event-stream", "application/json"} {
			t.Run(protocol+"/"+kind, func(t *testing.T) {
				speak := make(chan struct{})
				srv := startServer(t, protocol, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", kind)
					_, _ = io.WriteString(w, "one ")
					_ = http.NewResponseController(w).Flush()
					<-speak // it says nothing before the caller has the answer
					_, _ = io.WriteString(w, "two")
				}))
				s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
					c.Origins = []string{srv.URL}
					c.Rejected = func(resp *http.Response) bool {
						if resp.Header.Get("Content-Type") == "text/event-stream" {
							return false
						}
						return bytes.Contains(tokenclient.PeekBody(resp, 1000, 50*time.Millisecond), []byte("expired"))
					}
				})
				resp, err := s.Wrap(srv.Client()).Get(srv.URL)
				close(speak)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if got, err := io.ReadAll(resp.Body); string(got) != "one two" || err != nil {
					t.Errorf("%q, error %v", got, err)
				}
			})
		}
	}
}

// TestRejectedBodyHead: there is nothing to look at in the answer to a HEAD, nor in one that
// switches the connection to another protocol.
func TestRejectedBodyHead(t *testing.T) {
	looked := 0
	srv := startServer(t, "HTTP/1.1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("Content-Length", "100")
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n') // the client speaks first
		_, _ = io.WriteString(rw, line)
		_ = rw.Flush()
	}))
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Origins = []string{srv.URL}
		c.Rejected = func(resp *http.Response) bool {
			looked++
			return len(tokenclient.PeekBody(resp, 100, time.Hour)) > 0
		}
	})
	client := s.Wrap(srv.Client())
	head, err := client.Head(srv.URL)
	if err != nil || head.ContentLength != 100 {
		t.Fatalf("answer %v, error %v", head, err)
	}
	_ = head.Body.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || looked != 2 {
		t.Fatalf("the body is a %T, looked %d times", resp.Body, looked)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "hello\n")
	if got, err := io.ReadAll(conn); string(got) != "hello\n" || err != nil {
		t.Errorf("%q, error %v", got, err)
	}
}
