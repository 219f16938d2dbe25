package behaviour_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestExpectContinueAsked: which requests ask, and that the others go out as they
// would without ExpectContinue, hooks and all.
func TestExpectContinueAsked(t *testing.T) {
	const mib = 1 << 20
	stream := func(n, length int64) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(&replayPattern{left: n}), length
		}
	}
	for _, tc := range []struct {
		name    string
		request func(*http.Request)
		change  func(*tokenclient.Transport)
		want    string // Expect
	}{
		{"unknown length", stream(10, -1), nil, "100-continue"},
		{"length not given", stream(10, 0), nil, "100-continue"},
		{"longer than is kept", stream(mib+1, mib+1), nil, "100-continue"},
		{"nothing is kept", stream(1, 1), func(t *tokenclient.Transport) { t.MaxReplayBody = -1 }, "100-continue"},
		{"little is kept", stream(11, 11), func(t *tokenclient.Transport) { t.MaxReplayBody = 10 }, "100-continue"},
		{"as long as is kept", stream(mib, mib), nil, ""},
		{"small", stream(10, 10), func(t *tokenclient.Transport) { t.MaxReplayBody = 10 }, ""},
		{"GetBody", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(nil)), -1
			r.GetBody = func() (io.ReadCloser, error) { return http.NoBody, nil }
		}, nil, ""},
		{"no body", func(*http.Request) {}, nil, ""},
		{"NoBody", func(r *http.Request) { r.Body = http.NoBody }, nil, ""},
		{"not wanted", stream(10, -1), func(t *tokenclient.Transport) { t.ExpectContinue = false }, ""},
		{"no timeout", stream(10, -1), func(t *tokenclient.Transport) { t.Base.(*http.Transport).ExpectContinueTimeout = 0 }, ""},
		{"another kind of Base", stream(10, -1), func(t *tokenclient.Transport) {
			t.Base = sessiontest.RoundTrip(t.Base.RoundTrip)
		}, ""},
		{"http.DefaultTransport", stream(10, -1), func(t *tokenclient.Transport) { t.Base = nil }, "100-continue"},
		{"the caller's Expect", func(r *http.Request) {
			stream(10, -1)(r)
			r.Header.Set("Expect", "200-ok")
		}, nil, "200-ok"},
		{"the caller's Expect, empty", func(r *http.Request) {
			stream(10, -1)(r)
			r.Header["Expect"] = nil
		}, nil, ""},
		{"an Attacher of the caller's", stream(10, -1), func(tr *tokenclient.Transport) {
			tr.Session = sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
				c.Origins = []string{sessiontest.FakeAPI}
				c.Attacher = sessiontest.AttacherFunc(func(req *http.Request, _ *tokenclient.Token) error {
					req.Header.Set("Signed", "Expect="+req.Header.Get("Expect"))
					return nil
				})
			})
		}, "100-continue"},
		{"another origin", func(r *http.Request) {
			stream(10, -1)(r)
			r.URL.Host = "localhost:2"
		}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got *http.Request
			base := continueBase(time.Second, func(r *http.Request) (*http.Response, error) {
				got = r
				if r.Body != nil {
					_, _ = io.Copy(io.Discard, r.Body)
					_ = r.Body.Close()
				}
				return sessiontest.Reply(r, 200), nil
			})
			was := http.DefaultTransport
			http.DefaultTransport = base
			defer func() { http.DefaultTransport = was }()
			session := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{sessiontest.FakeAPI} })
			transport := session.Transport(base)
			transport.ExpectContinue = true
			if tc.change != nil {
				tc.change(transport)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.FakeAPI, nil)
			if err != nil {
				t.Fatal(err)
			}
			tc.request(req)
			before := len(req.Header)
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if e := strings.Join(got.Header["Expect"], ","); e != tc.want {
				t.Errorf("Expect is %q, want %q", e, tc.want)
			}
			if signed := got.Header.Get("Signed"); signed != "" && signed != "Expect=100-continue" {
				t.Errorf("the Attacher saw %s", signed)
			}
			if len(req.Header) != before {
				t.Errorf("the caller's header has become %v", req.Header)
			}
			if hooks := httptrace.ContextClientTrace(got.Context()) != nil; hooks != (tc.want == "100-continue") {
				t.Errorf("hooks %v", hooks)
			}
		})
	}
}
