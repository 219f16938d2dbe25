package tokenclient_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestEndpointNotPresented: what failed before a byte of the body was taken has
// not spent the refresh token.
func TestEndpointNotPresented(t *testing.T) {
	srv, calls := tokenEndpoint(t, answer(200, "application/json", `{"access_token":"a"}`))
	secure := httptest.NewUnstartedServer(http.HandlerFunc(answer(200, "application/json", `{"access_token":"a"}`)))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	own := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(own.CloseIdleConnections)
	for _, c := range []struct {
		name, url string
		ctx       context.Context
		client    *http.Client
		is        error
	}{
		{"nobody listens", closed.URL, t.Context(), own, nil},
		{"unknown certificate", secure.URL, t.Context(), own, nil},
		{"not TLS", strings.Replace(srv.URL, "http:", "https:", 1), t.Context(), own, nil},
		{"name does not resolve", "https://auth.example.com", t.Context(), &http.Client{Transport: &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.DNSError{Err: "no such host", Name: "auth.example.com", IsNotFound: true}
			}}}, nil},
		{"context ended before", srv.URL, ended, own, context.Canceled},
		{"transport that refuses", srv.URL, t.Context(), &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("no")
		})}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &tokenclient.OAuth2Refresher{TokenURL: c.url + "/token?key=" + plantedSecret, ClientAuth: tokenclient.PublicClient("app"), HTTPClient: c.client}
			_, err := r.Refresh(c.ctx, plantedToken)
			e := tokenError(t, err)
			if !errors.Is(err, tokenclient.ErrNotPresented) || errors.Is(err, tokenclient.ErrLoginRequired) || !e.Temporary() {
				t.Errorf("wrong kind of error: %v", err)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			if want := c.url[strings.Index(c.url, "//")+2:] + "/token"; e.Endpoint != want {
				t.Errorf("Endpoint = %q, want %q", e.Endpoint, want)
			}
		})
	}
	if calls.Load() != 0 {
		t.Errorf("%d requests reached the server", calls.Load())
	}
}

// TestEndpointAmbiguous: once the body was on its way, nobody knows what the
// server did. And it is on its way once only.
func TestEndpointAmbiguous(t *testing.T) {
	cut := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
	inTheMiddle := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"error":"invalid_grant","access_token":"a"`)
		}
	}
	malformed := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 "+string(body)+"\r\n\r\n") // echoed in net/http's error
			_ = conn.Close()
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"no answer": cut, "200 cut": inTheMiddle(200), "400 cut": inTheMiddle(400), "malformed": malformed,
	} {
		t.Run(name, func(t *testing.T) {
			// The first request leaves a connection that net/http would use to
			// repeat the second one.
			first := true
			srv, calls := tokenEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
				if first {
					first = false
					answer(200, "application/json", `{"access_token":"a"}`)(w, r)
					return
				}
				h(w, r)
			})
			r := oauth(srv)
			if _, err := r.Refresh(t.Context(), plantedToken); err != nil {
				t.Fatal(err)
			}
			_, err := r.Refresh(t.Context(), plantedToken)
			e := tokenError(t, err)
			if e.StatusCode != 0 || !e.Temporary() || errors.Is(err, tokenclient.ErrNotPresented) || errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("wrong kind of error, status %d: %v", e.StatusCode, err)
			}
			if calls.Load() != 2 {
				t.Errorf("%d requests, want 2", calls.Load())
			}
		})
	}
}

// TestEndpointHangs: the caller's deadline ends the call, at any point, and the
// error says that it was the time.
func TestEndpointHangs(t *testing.T) {
	for name, beginAnswer := range map[string]bool{"before the answer": false, "inside the answer": true} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{}, 2)
			srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client left
				if beginAnswer {
					w.WriteHeader(200)
					_ = http.NewResponseController(w).Flush()
				}
				arrived <- struct{}{}
				<-r.Context().Done()
			})
			ctx := lateContext{t.Context(), make(chan struct{})}
			go func() {
				<-arrived
				close(ctx.done)
			}()
			_, err := oauth(srv).Refresh(ctx, plantedToken)
			e := tokenError(t, err)
			if !errors.Is(err, context.DeadlineExceeded) || !e.Timeout() || !e.Temporary() || errors.Is(err, tokenclient.ErrNotPresented) {
				t.Errorf("context: wrong kind of error: %v", err)
			}
			r := oauth(srv)
			r.HTTPClient.Timeout = 50 * time.Millisecond
			_, err = r.Refresh(t.Context(), plantedToken)
			if e := tokenError(t, err); !e.Timeout() || !e.Temporary() {
				t.Errorf("http.Client.Timeout: wrong kind of error: %v", err)
			}
		})
	}
}

// lateContext is a context whose deadline passes when the test says so, however
// slow the machine is.
type lateContext struct {
	context.Context
	done chan struct{}
}

func (c lateContext) Done() <-chan struct{} { return c.done }

func (c lateContext) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// TestEndpointTransportErrors: what a transport says is passed on, but for its
// secrets, the query of the URL, and verdicts that are not about this token.
func TestEndpointTransportErrors(t *testing.T) {
	broken := errors.New("broken pipe")
	for name, c := range map[string]struct {
		err   error
		is    error
		isNot []error
		says  string
	}{
		"plain":             {broken, broken, []error{tokenclient.ErrNotPresented}, "broken pipe"},
		"with URL":          {&url.Error{Op: "Post", URL: "https://x/?key=planted", Err: broken}, broken, nil, ": broken pipe"},
		"echo":              {errors.New("cannot send " + plantedRefresh), nil, nil, "may hold a secret"},
		"echo, timeout":     {errors.Join(errors.New(plantedRefresh), context.DeadlineExceeded), context.DeadlineExceeded, nil, "may hold a secret"},
		"another session's": {tokenclient.ErrLoggedOut, nil, []error{tokenclient.ErrLoginRequired, tokenclient.ErrLoggedOut}, "logged out"},
		"not presented":     {tokenclient.ErrNotPresented, nil, []error{tokenclient.ErrNotPresented}, "not presented"},
		"reentrant":         {tokenclient.ErrReentrant, tokenclient.ErrReentrant, nil, ""},
	} {
		r := &tokenclient.JSONRefresher{URL: "https://auth.example.com/refresh?key=planted",
			HTTPClient: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				_, _ = io.Copy(io.Discard, req.Body)
				return nil, c.err
			})}}
		_, err := r.Refresh(t.Context(), plantedToken)
		tokenError(t, err)
		if c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v is not %v", name, err, c.is)
		}
		for _, not := range c.isNot {
			if errors.Is(err, not) {
				t.Errorf("%s: %v is %v", name, err, not)
			}
		}
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %q does not say %q", name, err, c.says)
		}
	}
}

// TestEndpointLateRead: a transport that outlives its own call gets nothing of the
// body, or "not presented" would be a guess.
func TestEndpointLateRead(t *testing.T) {
	returned, got := make(chan struct{}), make(chan error)
	r := &tokenclient.JSONRefresher{URL: "https://auth.example.com/refresh",
		HTTPClient: &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			go func() {
				<-returned
				b, err := io.ReadAll(req.Body)
				if len(b) > 0 {
					err = nil
				}
				got <- err
			}()
			return nil, errors.New("gave up")
		})}}
	_, err := r.Refresh(t.Context(), plantedToken)
	close(returned)
	if !errors.Is(err, tokenclient.ErrNotPresented) {
		t.Errorf("%v is not ErrNotPresented", err)
	}
	if <-got == nil {
		t.Error("the body was read after the verdict")
	}
}
