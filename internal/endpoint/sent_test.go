package endpoint_test

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

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// TestNotPresented: what failed before a byte of the body was taken has not spent the
// refresh token.
func TestNotPresented(t *testing.T) {
	srv, calls := serve(t, answer(200, "application/json", `{"access_token":"a"}`))
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
		{"transport that refuses", srv.URL, t.Context(), through(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("no")
		}), nil},
	} {
		for name, attach := range map[string]func(*http.Request) error{
			"": nil, ", with a token in the header": func(req *http.Request) error { req.Header.Set("X-Auth-Token", plantedAccess); return nil },
		} {
			t.Run(c.name+name, func(t *testing.T) {
				call := refreshAt(c.url + "/token?key=" + plantedSecret)
				call.Client, call.Attach = c.client, attach
				f := wantFailure(t, c.ctx, call)
				if !f.NotPresented || f.Status != 0 {
					t.Errorf("%+v", f)
				}
				if c.is != nil && !errors.Is(f.Cause, c.is) {
					t.Errorf("%v is not %v", f.Cause, c.is)
				}
				if want := c.url[strings.Index(c.url, "//")+2:] + "/token"; f.Endpoint != want {
					t.Errorf("Endpoint = %q, want %q", f.Endpoint, want)
				}
			})
		}
	}
	if calls.Load() != 0 {
		t.Errorf("%d requests reached the server", calls.Load())
	}
}

// TestNotPresentedForItsParts: a part that fails sends nothing, and may say too much.
func TestNotPresentedForItsParts(t *testing.T) {
	says := errors.New("cannot use " + plantedSecret)
	for name, c := range map[string]struct {
		change func(*endpoint.Call)
		want   string
	}{
		"client authentication": {func(c *endpoint.Call) {
			c.Authenticate = func(context.Context, string, url.Values, http.Header) error { return errors.New("no key") }
		}, "client authentication: no key"},
		"client authentication, with a secret": {func(c *endpoint.Call) {
			c.Secrets = nil
			c.Authenticate = func(_ context.Context, _ string, form url.Values, _ http.Header) error {
				form.Set("client_secret", plantedSecret)
				return says
			}
		}, "client authentication: the call failed; why is left out, because it may hold a secret"},
		"encoding": {func(c *endpoint.Call) {
			c.Encoding = endpoint.JSON
			c.Params = append(c.Params, endpoint.Param{Name: "grant_type.x", Value: "y"})
		}, `the names of the members to send clash at "grant_type.x"`},
		"attaching": {func(c *endpoint.Call) {
			c.Attach = func(*http.Request) error { return errors.New("no header") }
		}, "no header"},
		"attaching, with a secret": {func(c *endpoint.Call) {
			c.Attach = func(*http.Request) error { return says }
		}, "the call failed; why is left out, because it may hold a secret"},
		"attaching, too late": {func(c *endpoint.Call) {
			c.Attach = func(*http.Request) error { return context.DeadlineExceeded }
		}, context.DeadlineExceeded.Error()},
	} {
		srv, calls := serve(t, answer(200, "application/json", `{"access_token":"a"}`))
		call := refresh(srv)
		c.change(call)
		if f := wantFailure(t, t.Context(), call); !f.NotPresented || f.Cause.Error() != c.want || calls.Load() != 0 {
			t.Errorf("%s: %+v after %d requests", name, f, calls.Load())
		}
	}
	f := refreshAt("https://auth.example.com/token?key=x").NotPresented(io.EOF)
	if *f != (endpoint.Failure{Endpoint: "auth.example.com/token", Cause: io.EOF, NotPresented: true}) {
		t.Errorf("of the caller's own: %+v", f)
	}
}

// TestAmbiguous: once the body was on its way, nobody knows what the server did. And it
// is on its way once only.
func TestAmbiguous(t *testing.T) {
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
			srv, calls := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if first {
					first = false
					answer(200, "application/json", `{"access_token":"a"}`)(w, r)
					return
				}
				h(w, r)
			})
			wantAnswer(t, refresh(srv))
			if f := wantFailure(t, t.Context(), refresh(srv)); f.Status != 0 || f.Code != "" || f.NotPresented {
				t.Errorf("%+v", f)
			}
			if calls.Load() != 2 {
				t.Errorf("%d requests, want 2", calls.Load())
			}
		})
	}
}

// TestAmbiguousHeader: a token in a header is sent with the connection, whether or not the
// body is read.
func TestAmbiguousHeader(t *testing.T) {
	srv, calls := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
	})
	c := refresh(srv)
	c.Encoding = func([]endpoint.Param) (string, []byte, error) { return "application/json", nil, nil }
	c.Attach = func(req *http.Request) error {
		req.Header.Set("X-Auth-Token", plantedAccess)
		return nil
	}
	if f := wantFailure(t, t.Context(), c); f.NotPresented || calls.Load() != 1 {
		t.Errorf("after %d requests: %+v", calls.Load(), f)
	}
}

// TestHangs: the caller's deadline ends the call, at any point, and the failure says that
// it was the time.
func TestHangs(t *testing.T) {
	for name, beginAnswer := range map[string]bool{"before the answer": false, "inside the answer": true} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{}, 2)
			srv, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
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
			f := wantFailure(t, ctx, refresh(srv))
			if !errors.Is(f.Cause, context.DeadlineExceeded) || f.NotPresented {
				t.Errorf("context: %+v", f)
			}
			c := refresh(srv)
			c.Client.Timeout = 50 * time.Millisecond
			f = wantFailure(t, t.Context(), c)
			if e := (net.Error)(nil); !errors.As(f.Cause, &e) || !e.Timeout() {
				t.Errorf("http.Client.Timeout: %+v", f)
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

// TestLateRead: a transport that outlives its own call gets nothing of the body, or "not
// presented" would be a guess.
func TestLateRead(t *testing.T) {
	returned, got := make(chan struct{}), make(chan error)
	c := refreshAt("https://auth.example.com/refresh")
	c.Client = through(func(req *http.Request) (*http.Response, error) {
		go func() {
			<-returned
			b, err := io.ReadAll(req.Body)
			if len(b) > 0 {
				err = nil
			}
			got <- err
		}()
		return nil, errors.New("gave up")
	})
	f := wantFailure(t, t.Context(), c)
	close(returned)
	if !f.NotPresented {
		t.Errorf("%+v", f)
	}
	if <-got == nil {
		t.Error("the body was read after the verdict")
	}
}
