package tokenclient_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// allocsBase answers with what it was given and allocates nothing.
type allocsBase struct{ resp *http.Response }

func (b *allocsBase) RoundTrip(*http.Request) (*http.Response, error) { return b.resp, nil }

func newAllocsBase() *allocsBase {
	return &allocsBase{&http.Response{StatusCode: 200, Body: http.NoBody}}
}

// allocsRequest is a request with so many headers of the caller's.
func allocsRequest(tb testing.TB, method string, headers int) *http.Request {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("body") // has a GetBody
	}
	req, err := http.NewRequestWithContext(context.Background(), method, sessiontest.URL, body)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range headers {
		req.Header.Set(fmt.Sprintf("X-Header-%d", i), "value")
	}
	return req
}

// TestAllocs: with a valid token a request costs the copy of the request and of
// its header map, and nothing else: 3 allocations up to 7 headers of the caller's,
// 5 up to 28.
func TestAllocs(t *testing.T) {
	if sessiontest.Race {
		t.Skip("the race detector allocates by itself")
	}
	for kind, change := range map[string]func(*tokenclient.Config){
		"Bearer":         nil,
		"HeaderAttacher": func(c *tokenclient.Config) { c.Attacher = tokenclient.HeaderAttacher("X-Auth-Token") },
		"several origins": func(c *tokenclient.Config) {
			c.Origins = append([]string{"https://one.example.com", "http://localhost:8080"}, c.Origins...)
		},
		"no renewed token": func(c *tokenclient.Config) { c.Renewed = tokenclient.RenewedHeader("X-Auth-Token") },
		"hooks": func(c *tokenclient.Config) {
			c.Hooks = &tokenclient.Hooks{Attached: func(context.Context, uint64) {}}
		},
		"any origin": func(c *tokenclient.Config) { c.Origins, c.AnyOrigin = nil, true },
	} {
		transport := sessiontest.LoggedIn(t, change).Transport(newAllocsBase())
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for headers := range 29 {
				req := allocsRequest(t, method, headers)
				want := 3.0
				if headers >= 8 {
					want = 5
				}
				got := testing.AllocsPerRun(200, func() {
					if _, err := transport.RoundTrip(req); err != nil {
						t.Fatal(err)
					}
				})
				if got > want {
					t.Errorf("%s, %s with %d headers: %v allocations, want %v", kind, method, headers, got, want)
				}
			}
		}
	}
}

// TestAllocsUntouched: a request that gets no token costs nothing.
func TestAllocsUntouched(t *testing.T) {
	if sessiontest.Race {
		t.Skip("the race detector allocates by itself")
	}
	transport := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{"https://other.example.com"} }).Transport(newAllocsBase())
	req := allocsRequest(t, http.MethodGet, 5)
	if got := testing.AllocsPerRun(200, func() { _, _ = transport.RoundTrip(req) }); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

// TestAllocsHTTP: nor does a request over plain http cost more than others.
func TestAllocsHTTP(t *testing.T) {
	if sessiontest.Race {
		t.Skip("the race detector allocates by itself")
	}
	transport := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
		c.Origins, c.InsecureHTTP = []string{"http://api.example.com"}, true
	}).Transport(newAllocsBase())
	req := allocsRequest(t, http.MethodGet, 0)
	req.URL.Scheme = "http"
	if got := testing.AllocsPerRun(200, func() { _, _ = transport.RoundTrip(req) }); got != 3 {
		t.Errorf("%v allocations, want 3", got)
	}
}

// floorTransport is the least that a legal RoundTripper can do to set a header:
// copy the request and its header map.
type floorTransport struct {
	base  http.RoundTripper
	value []string
}

func (t *floorTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.WithContext(req.Context())
	r.Header = make(http.Header, len(req.Header)+1)
	maps.Copy(r.Header, req.Header)
	r.Header["Authorization"] = t.value
	return t.base.RoundTrip(r)
}

// BenchmarkRoundTrip compares a request with a valid token to the floor.
func BenchmarkRoundTrip(b *testing.B) {
	for _, headers := range []int{0, 7, 14} {
		req := allocsRequest(b, http.MethodGet, headers)
		for _, bm := range []struct {
			name      string
			transport http.RoundTripper
		}{
			{"floor", &floorTransport{newAllocsBase(), []string{"Bearer " + sessiontest.Access(0)}}},
			{"ours", sessiontest.LoggedIn(b, nil).Transport(newAllocsBase())},
		} {
			b.Run(fmt.Sprintf("%s/headers=%d", bm.name, headers), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := bm.transport.RoundTrip(req); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRoundTripParallel has all processors send with one session.
func BenchmarkRoundTripParallel(b *testing.B) {
	transport := sessiontest.LoggedIn(b, nil).Transport(newAllocsBase())
	req := allocsRequest(b, http.MethodGet, 5)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := transport.RoundTrip(req); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
