package behaviour_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestRoundTripperConcurrent: one Transport, one request value each, and a token
// that is refused in between. Run it with -race.
func TestRoundTripperConcurrent(t *testing.T) {
	r := sessiontest.New(t, nil, nil)
	r.Login(t)
	transport := r.Session.Transport(r.Server.Client().Transport)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				if i == 0 && j%5 == 4 {
					r.Server.RevokeAccess("alice")
				}
				payload := fmt.Sprintf("payload %d/%d", i, j)
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, r.Server.URL+"/api/?echo=1", strings.NewReader(payload))
				req.Header.Add("X-Shared", "a")
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				// A token may be revoked between the refresh and the replay.
				if err != nil || resp.StatusCode != 401 && string(got) != payload {
					t.Errorf("status %d, body %q, error %v; want %q", resp.StatusCode, got, err, payload)
				}
				if resp.Request.Header.Get("Authorization") != "" {
					t.Error("the token shows in the answer's Request")
				}
			}
		})
	}
	wg.Wait()
}

// TestRoundTripperSharesNoHeader: what Base does to the header map that it got
// does not show in the caller's, and the caller may use the request again.
func TestRoundTripperSharesNoHeader(t *testing.T) {
	s := sessiontest.LoggedIn(t, nil)
	answers := sessiontest.NewBase(200, 401, 200, 200)
	transport := s.Transport(sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		if req.Header["X-Trace"] != nil {
			t.Error("the first sending's header is in the second's")
		}
		req.Header.Set("X-Trace", "1")
		req.Header.Add("X-Twice", "three")
		req.Header.Add("Authorization", "more")
		req.Header.Del("Accept")
		return answers.RoundTrip(req)
	}))
	for _, header := range []http.Header{nil, {}, {"Accept": {"text/plain"}, "X-Twice": append(make([]string, 0, 4), "one", "two")}} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, sessiontest.URL, nil)
		req.Header = header
		want := header.Clone()
		for range 3 {
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if !reflect.DeepEqual(req.Header, want) || (req.Header == nil) != (header == nil) {
				t.Errorf("the caller's header is %v, was %v", req.Header, want)
			}
		}
	}
	for i, s := range answers.Sent {
		if len(s.Auth) != 2 || !strings.HasPrefix(s.Auth[0], "Bearer access-") || s.Auth[1] != "more" {
			t.Errorf("request %d has Authorization %q", i+1, s.Auth)
		}
	}
}

// TestRoundTripperBadRequests: what http.NewRequest would not make is an error,
// with the body closed, and never a panic.
func TestRoundTripperBadRequests(t *testing.T) {
	s := sessiontest.LoggedIn(t, nil)
	for name, change := range map[string]func(*http.Request){
		"nil URL":       func(r *http.Request) { r.URL = nil },
		"nil Header":    func(r *http.Request) { r.Header, r.URL = nil, &url.URL{Scheme: "https"} },
		"no host":       func(r *http.Request) { r.URL = &url.URL{Scheme: "https"} },
		"unknown chain": func(r *http.Request) { r.Response, r.URL = new(http.Response), &url.URL{} },
	} {
		body := sessiontest.NewBody("x")
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.URL, body)
		change(req)
		if _, err := s.Transport(new(http.Transport)).RoundTrip(req); err == nil {
			t.Errorf("%s: no error", name)
		}
		if body.Closed.Load() == 0 {
			t.Errorf("%s: the body was not closed", name)
		}
	}
}

// trailerBody sets a trailer when it has been read, as callers do who sum up what
// they send.
type trailerBody struct {
	*bytes.Reader
	trailer http.Header
}

func (b trailerBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		b.trailer.Set("X-Sum", "42")
	}
	return n, err
}

// TestReplayIsTheSameRequest: the second sending has the length, the transfer
// coding, the trailers and the Expect field of the first.
func TestReplayIsTheSameRequest(t *testing.T) {
	type seen struct {
		method, uri, host, expect, body, custom, sum string
		length                                       int64
		coding                                       []string
	}
	const payload = "0123456789"
	for name, change := range map[string]func(*http.Request){
		"length":         func(*http.Request) {},
		"100-continue":   func(r *http.Request) { r.Header.Set("Expect", "100-continue") },
		"unknown length": func(r *http.Request) { r.ContentLength = -1 },
		"trailers": func(r *http.Request) {
			r.ContentLength, r.Trailer = -1, http.Header{"X-Sum": nil}
			r.Body = io.NopCloser(trailerBody{bytes.NewReader([]byte(payload)), r.Trailer})
		},
		"host": func(r *http.Request) { r.Host = "virtual.example.com" },
		"kept": func(r *http.Request) { r.GetBody = nil },
	} {
		for _, readFirst := range []bool{true, false} {
			if name == "trailers" && !readFirst {
				continue // the trailer map may still be written when the answer is here
			}
			t.Run(fmt.Sprintf("%s/read first %v", name, readFirst), func(t *testing.T) {
				var got []seen
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s := seen{method: r.Method, uri: r.RequestURI, host: r.Host, expect: r.Header.Get("Expect"),
						custom: r.Header.Get("X-Custom"), length: r.ContentLength, coding: r.TransferEncoding}
					refused := len(got) == 0
					if !refused || readFirst {
						body, _ := io.ReadAll(r.Body)
						s.body, s.sum = string(body), r.Trailer.Get("X-Sum")
					}
					got = append(got, s)
					if refused {
						w.WriteHeader(401)
					}
				}))
				defer srv.Close()
				s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
					c.Origins, c.Hosts = []string{srv.URL}, []string{"virtual.example.com"}
				})
				base := srv.Client().Transport.(*http.Transport)
				base.ExpectContinueTimeout = 10 * time.Second
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPatch, srv.URL+"/a%2Fb?c=d&e", strings.NewReader(payload))
				req.Header.Set("X-Custom", "1")
				change(req)
				if name == "trailers" {
					req.GetBody = nil
				}
				resp, err := s.Transport(base).RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != 200 || len(got) != 2 {
					t.Fatalf("status %d after %d sendings", resp.StatusCode, len(got))
				}
				if !readFirst {
					got[0].body, got[0].sum = got[1].body, got[1].sum
				}
				if !reflect.DeepEqual(got[0], got[1]) {
					t.Errorf("sent again as\n%+v, was\n%+v", got[1], got[0])
				}
				if got[1].body != payload || (got[1].sum == "42") != (name == "trailers") {
					t.Errorf("got %+v", got[1])
				}
			})
		}
	}
}

// TestResponseIsTheServers: a switch of protocols, an informational answer and
// the caller's httptrace pass through.
func TestResponseIsTheServers(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.WriteHeader(103)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString(line)
		_ = rw.Flush()
	}))
	defer srv.Close()
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{srv.URL} })
	wrapped := s.Wrap(srv.Client())

	var informed int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { informed = code; return nil },
	})
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
	resp, err := wrapped.Do(req)
	if err != nil || resp.StatusCode != 200 || informed != 103 {
		t.Fatalf("response %v, informational %d, error %v", resp, informed, err)
	}
	_ = resp.Body.Close()

	req.Header.Set("Connection", "upgrade")
	req.Header.Set("Upgrade", "echo")
	if resp, err = wrapped.Do(req); err != nil || resp.StatusCode != 101 {
		t.Fatalf("response %v, error %v", resp, err)
	}
	defer resp.Body.Close()
	conn, ok := resp.Body.(io.ReadWriter)
	if !ok {
		t.Fatalf("the body of a 101 is a %T, not a connection", resp.Body)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || line != "hello\n" {
		t.Errorf("echo %q, error %v", line, err)
	}
}
