package behaviour_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// The refreshers of this package may be given the session's own client: what goes
// to their own endpoint goes out bare, and a 401 there is not refreshed.
func TestOwnTransport(t *testing.T) {
	for _, tc := range []struct {
		name string
		own  func(*tokentest.Server, *http.Client) tokenclient.Refresher
	}{
		{"OAuth2Refresher", func(srv *tokentest.Server, own *http.Client) tokenclient.Refresher {
			r := srv.OAuth2Refresher()
			r.HTTPClient = own
			return r
		}},
		{"JSONRefresher", func(srv *tokentest.Server, own *http.Client) tokenclient.Refresher {
			r := srv.JSONRefresher()
			r.HTTPClient = own
			return r
		}},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			var bearers []string
			own := new(http.Client)
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
				c.Refresher = tc.own(srv, own)
			})
			base := r.Server.Client().Transport
			*own = *r.Session.Wrap(&http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
				bearers = append(bearers, req.Header.Get("Authorization"))
				return base.RoundTrip(req)
			})})
			r.Login(t)
			r.Server.RevokeAccess("alice")
			began := time.Now()
			r.WantGets(t, 5, 200)
			r.WantRefreshes(t, 1)

			r.Server.FailRefresh(1, tokentest.Fault{Status: 401})
			if _, err := r.Session.Refresh(t.Context()); err == nil {
				t.Error("a refresh that got a 401 succeeded")
			}
			r.WantRefreshes(t, 2)
			if took := time.Since(began); took != 0 {
				t.Errorf("it took %v", took)
			}
			for _, b := range bearers {
				if strings.HasPrefix(b, "Bearer ") {
					t.Error("the token endpoint was sent the access token")
				}
			}
		})
	}
}

// Hooks may call whatever they like.
func TestOwnTransportInHooks(t *testing.T) {
	calls := map[string]func(*sessiontest.Rig, context.Context) error{
		"Token":   func(r *sessiontest.Rig, ctx context.Context) error { _, err := r.Session.Token(ctx); return err },
		"request": func(r *sessiontest.Rig, ctx context.Context) error { _, err := r.Get(ctx); return err },
		"Refresh": func(r *sessiontest.Rig, ctx context.Context) error { _, err := r.Session.Refresh(ctx); return err },
		"Logout":  func(r *sessiontest.Rig, ctx context.Context) error { return r.Session.Logout(ctx) },
		"Close":   func(r *sessiontest.Rig, ctx context.Context) error { return r.Session.Close(ctx) },
	}
	for name, call := range calls {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			var r *sessiontest.Rig
			var done, again atomic.Int32
			hook := func() {
				if again.Add(1) == 1 { // a Refresh in a hook would call it again
					_ = call(r, t.Context())
				}
				done.Add(1)
			}
			r = sessiontest.New(t, slow(), func(c *tokenclient.Config, _ *tokentest.Server) {
				c.Hooks = &tokenclient.Hooks{
					Refreshed:     func(tokenclient.RefreshInfo) { hook() },
					RefreshFailed: func(tokenclient.RefreshInfo, error) { hook() },
					SessionEnded:  func(error) { hook() },
				}
			})
			r.Login(t)
			r.Server.FailRefresh(2, tokentest.Fault{Status: 500})
			_, err := r.Session.Refresh(t.Context())
			if err == nil { // what error, depends on who is faster
				t.Error("Refresh succeeded with the endpoint down")
			}
			time.Sleep(time.Minute)
			_, err = r.Session.Refresh(t.Context())
			if err != nil && !errors.Is(err, tokenclient.ErrLoginRequired) && !errors.Is(err, tokenclient.ErrClosed) {
				t.Error(err)
			}
			time.Sleep(time.Minute)
			if done.Load() == 0 || done.Load() != again.Load() {
				t.Errorf("%d of %d hooks returned", done.Load(), again.Load())
			}
		})
	}
}

// callingHandler is a slog.Handler that calls back, as one that ships logs through
// the session's own client does.
type callingHandler struct {
	slog.Handler
	call func(context.Context)
}

func (h callingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h callingHandler) Handle(ctx context.Context, _ slog.Record) error {
	h.call(ctx)
	return nil
}

func TestOwnTransportInLogger(t *testing.T) {
	var s *tokenclient.Session
	logged := make(chan struct{}, 100)
	logger := slog.New(callingHandler{slog.DiscardHandler, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, _ = s.RefreshRejected(ctx, sessiontest.Pair("other", "", 0))
		_ = s.Logout(ctx)
		_, _ = s.Peek(ctx)
		logged <- struct{}{}
	}})
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return nil, errors.New("down")
		}),
		Origins: []string{sessiontest.FakeAPI}, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetToken(t.Context(), sessiontest.Pair("a1", "r1", time.Hour)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = s.Refresh(context.Background()) }()
	for range 2 { // the answer that was lost, and the failure
		select {
		case <-logged:
		case <-time.After(time.Minute):
			t.Fatal("a Logger that calls the session hangs: it is called with the session's mutex held")
		}
	}
	sessiontest.Close(t, s)
}

// The refresh needs the one connection that the 401 came by.
func TestOwnTransportWithOneConnection(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	base := srv.Client().Transport.(*http.Transport).Clone()
	base.MaxConnsPerHost = 1
	defer base.CloseIdleConnections()
	r := sessiontest.New(t, nil, func(c *tokenclient.Config, _ *tokentest.Server) {
		refresher := srv.OAuth2Refresher()
		refresher.HTTPClient = &http.Client{Transport: base}
		c.Refresher, c.Origins = refresher, []string{srv.URL}
	})
	r.Server, r.Client = srv, r.Session.Wrap(&http.Client{Transport: base})
	r.Login(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // it would hang
	defer cancel()
	for range 3 {
		srv.RevokeAccess("alice")
		sessiontest.Crowd(10, func() {
			req, err := http.NewRequestWithContext(ctx, "POST", srv.URL+"/api/?echo=1", strings.NewReader("body"))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := r.Client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "body" {
				t.Errorf("status %d, body %q, error %v", resp.StatusCode, got, err)
			}
		})
	}
	r.WantRefreshes(t, 3)
}

// A 401 whose body never ends does not hold the connection that the refresh needs: it is
// not waited for, or this test would hang.
func TestOwnTransportBehindEndlessRejection(t *testing.T) {
	for _, tc := range []struct {
		name string
		more func(http.ResponseWriter, *http.Request) // until the client is gone
	}{
		{"silent", func(w http.ResponseWriter, req *http.Request) {
			w.(http.Flusher).Flush()
			<-req.Context().Done()
		}},
		{"babbling", func(w http.ResponseWriter, req *http.Request) {
			for req.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 4096))
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var refreshed atomic.Bool
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				switch {
				case req.URL.Path == "/token":
					refreshed.Store(true)
					_, _ = io.WriteString(w, `{"access_token":"a2","refresh_token":"r2","expires_in":900}`)
				case refreshed.Load():
				default:
					w.WriteHeader(http.StatusUnauthorized)
					tc.more(w, req)
				}
			}))
			defer api.Close()
			base := &http.Transport{MaxConnsPerHost: 1}
			defer base.CloseIdleConnections()
			s, err := tokenclient.New(tokenclient.Config{
				Refresher: &tokenclient.JSONRefresher{TokenURL: api.URL + "/token", HTTPClient: &http.Client{Transport: base}},
				Origins:   []string{api.URL},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer sessiontest.Close(t, s)
			if err := s.SetToken(t.Context(), sessiontest.Pair("a1", "r1", time.Hour)); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", api.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := s.Wrap(&http.Client{Transport: base}).Do(req)
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
