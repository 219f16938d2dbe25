package discovery_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

const issuer = "https://auth.example.com"

// A page is an answer at a URL.
type page struct {
	status int // 0: 200
	header string
	body   string
	err    error // there is no answer
}

// A web is pages by their URL, in the place of a network. All others are a 404.
type web struct {
	mu    sync.Mutex
	pages map[string]page
	asked []string
	last  *http.Request
	wait  func(context.Context) error // before an answer; nil: not
}

func (w *web) RoundTrip(req *http.Request) (*http.Response, error) {
	at := req.URL.String()
	w.mu.Lock()
	w.asked, w.last = append(w.asked, at), req
	p, ok := w.pages[at]
	wait := w.wait
	w.mu.Unlock()
	if wait != nil {
		if err := wait(req.Context()); err != nil {
			return nil, err
		}
	}
	switch {
	case !ok:
		p.status = http.StatusNotFound
	case p.err != nil:
		return nil, p.err
	case p.status == 0:
		p.status = http.StatusOK
	}
	header := make(http.Header)
	for line := range strings.SplitSeq(p.header, "\n") {
		if name, value, found := strings.Cut(line, ": "); found {
			header.Add(name, value)
		}
	}
	return &http.Response{StatusCode: p.status, Header: header, Body: io.NopCloser(strings.NewReader(p.body)), Request: req}, nil
}

// set changes a page.
func (w *web) set(at string, p page) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pages == nil {
		w.pages = make(map[string]page)
	}
	w.pages[at] = p
}

// requests are the URLs that were asked for since the last call.
func (w *web) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

// client asks w.
func (w *web) client() *discovery.Client {
	return &discovery.Client{HTTPClient: &http.Client{Transport: w}}
}

// oneServer is a web with the metadata of issuer.
func oneServer(header, body string) *web {
	w := new(web)
	w.set(issuer+"/.well-known/oauth-authorization-server", page{header: header, body: body})
	return w
}

func wantErr(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one that says %q", words)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}
