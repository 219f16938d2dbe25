package behaviour_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// endlessBody is the body of an answer that never ends: it has a byte at a time,
// or waits until it is closed.
type endlessBody struct {
	stall  bool
	read   atomic.Int64
	once   sync.Once
	closed chan struct{}
}

func (b *endlessBody) Read(p []byte) (int, error) {
	if b.stall {
		<-b.closed
		return 0, http.ErrBodyReadAfterClose
	}
	b.read.Add(int64(len(p)))
	return len(p), nil
}

func (b *endlessBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

// TestDrain: the refused answer is read to its end so that its connection
// can be used again, but not if that is much or takes long.
func TestDrain(t *testing.T) {
	for name, stall := range map[string]bool{"much": false, "long": true} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			first := &endlessBody{stall: stall, closed: make(chan struct{})}
			var n int
			s := sessiontest.LoggedIn(t, nil)
			transport := s.Transport(sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
				if n++; n == 1 {
					return &http.Response{StatusCode: 401, Body: first, Request: req}, nil
				}
				return &http.Response{StatusCode: 200, Body: http.NoBody, Request: req}, nil
			}))
			began := time.Now()
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, sessiontest.URL, nil)
			resp, err := transport.RoundTrip(req)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("response %v, error %v", resp, err)
			}
			if took := time.Since(began); took > 250*time.Millisecond {
				t.Errorf("took %v", took)
			}
			if got := first.read.Load(); got > 64<<10 {
				t.Errorf("%d bytes of the refused answer were read", got)
			}
			select {
			case <-first.closed:
			default:
				t.Error("the refused answer was not closed")
			}
		})
	}
}

// TestDrainOnTheWire: the same with real connections, and with compressed
// answers, which net/http unpacks while they are read.
func TestDrainOnTheWire(t *testing.T) {
	answers := map[string]func(http.ResponseWriter, *http.Request){
		"10 MiB": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.CopyN(w, &replayPattern{left: 10 << 20}, 10<<20)
		},
		"no body": func(http.ResponseWriter, *http.Request) {},
		"stalls": func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"gzip that stalls": func(w http.ResponseWriter, r *http.Request) {
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, strings.Repeat("refused ", 1000))
			_ = z.Flush()
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for _, err := io.WriteString(w, "no "); err == nil; _, err = io.WriteString(w, "no ") {
			}
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer "+sessiontest.Access(0) {
					return
				}
				if strings.HasPrefix(name, "gzip") {
					w.Header().Set("Content-Encoding", "gzip")
				}
				w.WriteHeader(401)
				answer(w, r)
			}))
			t.Cleanup(srv.Close)
			s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{srv.URL} })
			resp, err := s.Wrap(srv.Client()).Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("status %d", resp.StatusCode)
			}
		})
	}
}

// TestDrainConnectionLimit: with one connection per host, the refused answer must
// be out of the way before the refresh needs the connection.
func TestDrainConnectionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var base *http.Transport
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
			base = srv.Client().Transport.(*http.Transport).Clone()
			base.MaxConnsPerHost = 1
			refresher := srv.OAuth2Refresher()
			refresher.HTTPClient = &http.Client{Transport: base}
			c.Refresher = refresher
		})
		defer base.CloseIdleConnections()
		r.Client = r.Session.Wrap(&http.Client{Transport: base})
		r.Login(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r.Server.RevokeAccess("alice")
		if status, err := r.Get(ctx); err != nil || status != 200 {
			t.Errorf("GET: status %d, error %v", status, err)
		}
		r.Server.RevokeAccess("alice")
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.Server.URL+"/api/", io.MultiReader(strings.NewReader(sessiontest.Payload)))
		resp, err := r.Client.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("POST: response %v, error %v", resp, err)
		}
		_ = resp.Body.Close()
		r.WantRefreshes(t, 2)
	})
}

// breakingBody is the body of an answer whose Read panics.
type breakingBody struct{ closed atomic.Int32 }

func (b *breakingBody) Read([]byte) (int, error) { panic("planted") }

func (b *breakingBody) Close() error { b.closed.Add(1); return nil }

// TestDrainBreaks: a refused answer whose body panics does so where somebody can recover from it,
// on the goroutine of the request, or nowhere: it ends no process.
func TestDrainBreaks(t *testing.T) {
	for name, young := range map[string]bool{"put aside": true, "while a body is read": false} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			refused := new(breakingBody)
			var n atomic.Int32
			r := sessiontest.NewFake(t, sessiontest.Refresher().Refresh, func(req *http.Request) (*http.Response, error) {
				resp := sessiontest.Reply(req, 200)
				if n.Add(1) == 1 {
					resp.StatusCode, resp.Body = 401, refused
					go func() { _, _ = io.Copy(io.Discard, req.Body); _ = req.Body.Close() }()
					synctest.Wait() // it is read, and waits for more
				} else {
					_, _ = io.Copy(io.Discard, req.Body)
					_ = req.Body.Close()
				}
				return resp, nil
			}, nil)
			r.Give(t, sessiontest.Pair("login", "refresh", time.Hour))
			if young {
				if _, err := r.Session.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			body, w := io.Pipe()
			go func() {
				time.Sleep(time.Second)
				_ = w.Close()
			}()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sessiontest.FakeAPI, body)
			if err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() {
					if v := recover(); v != nil && v != "planted" {
						t.Errorf("panic %v", v)
					}
				}()
				resp, err := r.Client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}()
			_ = w.Close()
			synctest.Wait()
			if !young && refused.closed.Load() == 0 {
				t.Error("the refused answer was not closed")
			}
		})
	}
}
