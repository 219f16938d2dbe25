package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grant"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// lazily is a refresher of srv that finds its endpoints; how many times they were asked
// for, and whether they can be had.
func lazily(srv *tokentest.Server) (r *discovery.Refresher, asked *atomic.Int32, down *atomic.Bool) {
	asked, down = new(atomic.Int32), new(atomic.Bool)
	client := srv.Client()
	return &discovery.Refresher{
		Issuer: srv.URL,
		Make: func(md *discovery.Metadata) tokenclient.Refresher {
			return &tokenclient.OAuth2Refresher{
				TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint,
				ClientAuth: tokenclient.PublicClient("app"), HTTPClient: client,
			}
		},
		Client: &discovery.Client{HTTPClient: &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			asked.Add(1)
			if down.Load() {
				return nil, errors.New("connection refused")
			}
			return client.Transport.RoundTrip(req)
		})}},
	}, asked, down
}

// TestRefresher: a session starts while the server is down. That costs no token, and when
// it is up again the session gets its token; a logout revokes it.
func TestRefresher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked *atomic.Int32
		var down *atomic.Bool
		kept := new(store.Memory)
		rig := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
			c.Refresher, asked, down = lazily(srv)
			c.Store, c.Key = kept, "alice"
		})
		rig.Login(t)
		if asked.Load() != 0 {
			t.Error("asked before there was a refresh")
		}
		down.Store(true)
		rig.Server.RevokeAccess("alice")
		_, err := rig.Get(t.Context())
		if !errors.Is(err, tokenclient.ErrNotPresented) || errors.Is(err, tokenclient.ErrLoginRequired) || !strings.Contains(err.Error(), "/.well-known/oauth-authorization-server: connection refused") {
			t.Errorf("while the server is down: %v", err)
		}
		if record, err := kept.Load(t.Context(), "alice"); err != nil || record.Announced != 0 {
			t.Errorf("announced %d, %v", record.Announced, err)
		}
		rig.WantRefreshes(t, 0)
		down.Store(false)
		time.Sleep(2 * time.Second) // the backoff
		rig.WantGet(t, 200)
		rig.WantRefreshes(t, 1)
		was := asked.Load()
		down.Store(true) // it is known by now
		for range 2 {
			rig.Server.RevokeAccess("alice")
			rig.WantGet(t, 200)
		}
		rig.WantRefreshes(t, 3)
		rig.Logout(t)
		if asked.Load() != was || rig.Server.Counters().Revocations != 1 {
			t.Errorf("asked %d times more, %d revocations", asked.Load()-was, rig.Server.Counters().Revocations)
		}
	})
}

// TestRefresherHalfOfTheTime: a server that says nothing does not take the time of the
// token call.
func TestRefresherHalfOfTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &web{wait: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		r := &discovery.Refresher{Issuer: issuer, Client: w.client(), Make: func(*discovery.Metadata) tokenclient.Refresher { return nil }}
		for timeout, want := range map[time.Duration]time.Duration{
			4 * time.Second:  2 * time.Second,
			60 * time.Second: 10 * time.Second,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			began := time.Now()
			_, err := r.Refresh(ctx, &tokenclient.Token{RefreshToken: "r"})
			if took := time.Since(began); took != want || !errors.Is(err, tokenclient.ErrNotPresented) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("of %v: %v, %v", timeout, took, err)
			}
			cancel()
		}
	})
}

// TestRefresherMistakes: what can be seen to be wrong, New says, and what cannot costs no
// token.
func TestRefresherMistakes(t *testing.T) {
	nothing := func(*discovery.Metadata) tokenclient.Refresher { return nil }
	works := func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, ClientAuth: tokenclient.PublicClient("app")}
	}
	noAuth := func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint}
	}
	for _, c := range []struct {
		r    *discovery.Refresher
		says string
	}{
		{&discovery.Refresher{Make: works}, "Config.Refresher: discovery.Refresher.Issuer is empty; write it like"},
		{&discovery.Refresher{Issuer: "http://auth.example.com", Make: works}, "discovery.Refresher.Issuer is plain http"},
		{&discovery.Refresher{Issuer: issuer + "?a", Make: works}, "discovery.Refresher.Issuer has a query"},
		{&discovery.Refresher{Issuer: issuer}, "discovery.Refresher.Make is nil"},
		{&discovery.Refresher{Issuer: issuer, Make: nothing, Client: oneServer("", good).client()}, "discovery.Refresher.Make returned nil"},
		{&discovery.Refresher{Issuer: issuer, Make: noAuth, Client: oneServer("", good).client()}, "discovery.Refresher.Make: OAuth2Refresher.ClientAuth"},
	} {
		_, err := tokenclient.New(tokenclient.Config{Refresher: c.r, Origins: []string{api}})
		wantErr(t, err, c.says)
		_, err = c.r.Refresh(t.Context(), &tokenclient.Token{RefreshToken: "r"})
		if !errors.Is(err, tokenclient.ErrNotPresented) {
			t.Errorf("%v", err)
		}
	}
	_, err := tokenclient.New(tokenclient.Config{Refresher: (*discovery.Refresher)(nil), Origins: []string{api}})
	wantErr(t, err, "Config.Refresher holds a nil pointer")
	wantErr(t, (*discovery.Refresher)(nil).Validate(), "is nil")
	r := &discovery.Refresher{Issuer: "http://auth.internal", Client: &discovery.Client{InsecureHTTP: true}, Make: func(*discovery.Metadata) tokenclient.Refresher {
		return tokenclient.RefresherFunc(sessiontest.NoRefresh)
	}}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
}

// TestRefresherCan: what it can refresh is up to what Make returns: with client
// credentials a session needs no login.
func TestRefresherCan(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	made := func(g tokenclient.Grant) *discovery.Refresher {
		return &discovery.Refresher{
			Issuer: srv.URL, Client: &discovery.Client{HTTPClient: srv.Client()},
			Make: func(md *discovery.Metadata) tokenclient.Refresher {
				return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, ClientAuth: tokenclient.PublicClient("app"), Grant: g, HTTPClient: srv.Client()}
			},
		}
	}
	other := &discovery.Refresher{Issuer: issuer, Make: func(*discovery.Metadata) tokenclient.Refresher {
		return tokenclient.RefresherFunc(sessiontest.NoRefresh)
	}}
	empty, full := new(tokenclient.Token), &tokenclient.Token{RefreshToken: "r"}
	for name, c := range map[string]struct {
		r           *discovery.Refresher
		empty, full bool
	}{
		"refresh token":      {made(nil), false, true},
		"client credentials": {made(grant.ClientCredentials{}), true, true},
		"of any kind":        {other, false, true},
	} {
		if c.r.CanRefresh(empty) != c.empty || c.r.CanRefresh(full) != c.full {
			t.Errorf("%s: %v, %v", name, c.r.CanRefresh(empty), c.r.CanRefresh(full))
		}
	}
	want := []string{srv.URL + "/.well-known/oauth-authorization-server", srv.URL + "/.well-known/openid-configuration"}
	if got := made(nil).Endpoints(); !slices.Equal(got, want) {
		t.Errorf("endpoints %q, want %q", got, want)
	}
	if got := new(discovery.Refresher).Endpoints(); got != nil {
		t.Errorf("endpoints %q of no issuer", got)
	}
}

// TestRefresherWithoutLogin: a service that has client credentials, an issuer, and
// nothing else.
func TestRefresherWithoutLogin(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q}`, srv.URL, srv.URL+"/token")
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":600}`, r.FormValue("grant_type"))
	})
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &discovery.Refresher{Issuer: srv.URL, Client: &discovery.Client{HTTPClient: srv.Client()}, Make: func(md *discovery.Metadata) tokenclient.Refresher {
			return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, ClientAuth: tokenclient.ClientSecretPost("app", "secret"), Grant: grant.ClientCredentials{}, HTTPClient: srv.Client()}
		}},
		Origins: []string{srv.URL},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(t.Context()) }()
	token, err := session.Token(t.Context())
	if err != nil || token.AccessToken != "client_credentials" {
		t.Errorf("%v, %v", token, err)
	}
}

// TestRefresherRevoke: who cannot revoke does not, and who cannot be found is an error.
func TestRefresherRevoke(t *testing.T) {
	r := &discovery.Refresher{Issuer: issuer, Client: oneServer("", good).client(), Make: func(*discovery.Metadata) tokenclient.Refresher {
		return tokenclient.RefresherFunc(sessiontest.NoRefresh)
	}}
	if err := r.Revoke(t.Context(), new(tokenclient.Token)); err != nil {
		t.Error(err)
	}
	r = &discovery.Refresher{Issuer: issuer, Client: new(web).client(), Make: r.Make}
	wantErr(t, r.Revoke(t.Context(), new(tokenclient.Token)), "status 404")
}
