package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// queryAttacher puts the token into the URL, and something into everything else that an
// Attacher can reach.
type queryAttacher struct{}

func (queryAttacher) HeaderName() string { return "" }

func (queryAttacher) Attach(req *http.Request, t *tokenclient.Token) error {
	q := req.URL.Query()
	q.Set("token", t.AccessToken)
	req.URL.RawQuery = q.Encode()
	req.Header.Set("X-Signature", t.AccessToken)
	for _, values := range req.Header {
		values[0] += " "
	}
	if req.Trailer != nil {
		req.Trailer.Set("X-Trailer", t.AccessToken)
	}
	for _, form := range []url.Values{req.Form, req.PostForm} {
		if form != nil {
			form.Set("token", t.AccessToken)
		}
	}
	for i := range req.TransferEncoding {
		req.TransferEncoding[i] = t.AccessToken
	}
	return nil
}

// TestAttacherOwnsItsRequest: what an Attacher changes, it changes on a copy. Before, the
// URL was the caller's, and all that made something of that showed the token.
func TestAttacherOwnsItsRequest(t *testing.T) {
	var sent []*http.Request
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Attacher = queryAttacher{} })
	transport := s.Transport(sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		sent = append(sent, req)
		status := 200
		if len(sent) == 1 {
			status = 401
		}
		return sessiontest.Reply(req, status), nil
	}))
	u, err := url.Parse(sessiontest.URL + "?a=b")
	if err != nil {
		t.Fatal(err)
	}
	req := &http.Request{
		Method: http.MethodGet, URL: u, Header: http.Header{"X-One": {"1"}}, Trailer: http.Header{"X-Trailer": nil},
		Form: url.Values{"f": {"1"}}, PostForm: url.Values{"p": {"1"}},
	}
	before := fmt.Sprint(req.URL, req.Header, req.Trailer, req.Form, req.PostForm)
	resp, err := transport.RoundTrip(req.WithContext(t.Context()))
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("response %v, error %v", resp, err)
	}
	if after := fmt.Sprint(req.URL, req.Header, req.Trailer, req.Form, req.PostForm); after != before {
		t.Errorf("the caller's request is %s, and was %s", after, before)
	}
	for i, r := range sent {
		if got, want := r.URL.Query()["token"], sessiontest.Access(i); len(got) != 1 || got[0] != want {
			t.Errorf("sending %d has the tokens %q, want %q alone", i+1, got, want)
		}
		r.Trailer.Set("X-Trailer", "checksum")
	}
	if req.Trailer.Get("X-Trailer") != "checksum" {
		t.Error("the trailer that is sent is not the caller's: what he fills in while the body is read is lost")
	}
}

// TestAttacherInTheURL: a token that an Attacher puts into the URL is seen by the server
// that it is for, and by nobody else.
func TestAttacherInTheURL(t *testing.T) {
	const secret = "access-0/+ secret"
	var referer []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		referer = append(referer, r.Referer()+r.URL.String())
	}))
	defer elsewhere.Close()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("token"); got != secret {
			t.Errorf("the API has the token %q", got)
		}
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/cut":
			panic(http.ErrAbortHandler)
		}
	}))
	defer api.Close()
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Attacher, c.Origins = queryAttacher{}, []string{api.URL} })
	if err := s.SetToken(t.Context(), sessiontest.Pair(secret, "r", 0)); err != nil {
		t.Fatal(err)
	}
	client := s.Wrap(api.Client())

	resp, err := client.Get(api.URL + "/redirect")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if len(referer) != 1 || strings.Contains(referer[0], "secret") || strings.Contains(referer[0], "token") {
		t.Errorf("another host was told %q", referer)
	}
	if u := resp.Request.URL.String(); strings.Contains(u, "secret") {
		t.Errorf("the response's request is %q", u)
	}

	_, err = client.Get(api.URL + "/cut")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}

	// One *url.URL for the requests of many users, one of them without a token.
	u, err := url.Parse(api.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			req := (&http.Request{URL: u, Header: http.Header{}}).WithContext(t.Context())
			resp, err := client.Transport.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		})
	}
	wg.Wait()
	if u.RawQuery != "" {
		t.Errorf("the URL of all is %v", u)
	}
}

// TestAttacherInErrors: the errors of a base transport that shows URLs have no token in
// them, and still say what happened.
func TestAttacherInErrors(t *testing.T) {
	const secret = "access-0/+ secret"
	gone := errors.New("gone")
	for _, tc := range []struct {
		name string
		err  func(*http.Request) error
		want error
	}{
		{"url.Error", func(r *http.Request) error { return &url.Error{Op: "Get", URL: r.URL.String(), Err: gone} }, gone},
		{"wrapped", func(r *http.Request) error {
			return fmt.Errorf("proxy: %w", &url.Error{Op: "Get", URL: r.URL.String(), Err: gone})
		}, gone},
		{"twice", func(r *http.Request) error {
			return &url.Error{Op: "Get", URL: r.URL.String(), Err: fmt.Errorf("GET %s: %w", r.URL, context.DeadlineExceeded)}
		}, context.DeadlineExceeded},
		{"text", func(r *http.Request) error { return fmt.Errorf("GET %s failed", r.URL) }, nil},
		{"raw", func(r *http.Request) error { return fmt.Errorf("GET %s failed", r.URL.Query()) }, nil},
		{"harmless", func(*http.Request) error { return gone }, gone},
	} {
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Attacher = queryAttacher{} })
		if err := s.SetToken(t.Context(), sessiontest.Pair(secret, "r", 0)); err != nil {
			t.Fatal(err)
		}
		client := s.Wrap(&http.Client{Transport: sessiontest.RoundTrip(func(r *http.Request) (*http.Response, error) { return nil, tc.err(r) })})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, sessiontest.URL+"?a=b", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Do(req)
		if err == nil || strings.Contains(fmt.Sprintf("%+v", err), "secret") {
			t.Errorf("%s: error %v", tc.name, err)
		}
		if tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want one that is %v", tc.name, err, tc.want)
		}
		for ue := (*url.Error)(nil); errors.As(err, &ue); err = ue.Err {
			if strings.Contains(ue.URL, "secret") {
				t.Errorf("%s: it holds the URL %s", tc.name, ue.URL)
			}
		}
	}
}
