package xoauth2_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/xoauth2"
)

// failingStore is one whose Load fails.
type failingStore struct{ store.Memory }

func (*failingStore) Load(context.Context, string) (tokenclient.Record, error) {
	return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
}

func TestTakeOverRefuses(t *testing.T) {
	conf := &oauth2.Config{ClientID: "app", Endpoint: oauth2.Endpoint{TokenURL: "https://auth.example.com/token"}}
	token := &oauth2.Token{AccessToken: "a", RefreshToken: "r"}
	good := tokenclient.Config{Origins: []string{"https://api.example.com"}}
	for _, c := range []struct {
		conf   *oauth2.Config
		token  *oauth2.Token
		change func(*tokenclient.Config)
		want   string
		is     error
	}{
		{nil, token, nil, "the oauth2.Config is nil", nil},
		{&oauth2.Config{ClientID: "app", ClientSecret: "s", Endpoint: conf.Endpoint}, token, nil, "AuthStyleAutoDetect", nil},
		{conf, token, func(c *tokenclient.Config) { c.Origins = nil }, "Config.Origins is empty", nil},
		{conf, token, func(c *tokenclient.Config) { c.Refresher = new(tokenclient.JSONRefresher) }, "Config.Refresher is set; leave it nil", nil},
		{conf, new(oauth2.Token), nil, "neither an access token nor a refresh token", nil},
		{conf, token, func(c *tokenclient.Config) { c.Store, c.Key = new(failingStore), "alice" }, "xoauth2: TakeOver: ", tokenclient.ErrStoreUnavailable},
	} {
		more := good
		if c.change != nil {
			c.change(&more)
		}
		s, err := xoauth2.TakeOver(t.Context(), c.conf, c.token, more)
		if s != nil || err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
	}
}

// TestTakeOver: a program that calls it at each start, with the token that it has from
// before: that is presented once, and a logout stays one.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
		conf := &oauth2.Config{ClientID: "app", Endpoint: oauth2.Endpoint{TokenURL: srv.URL + "/oauth/token"}}
		before := xoauth2.ToToken(srv.Issue("alice"))
		kept := new(store.Memory)
		start := func(token *oauth2.Token) *sessiontest.Rig {
			t.Helper()
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, srv.Client()) // the default one would find no server
			s, err := xoauth2.TakeOver(ctx, conf, token, tokenclient.Config{Store: kept, Key: "alice", Origins: []string{srv.URL}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { sessiontest.Close(t, s) })
			return &sessiontest.Rig{Server: srv, Session: s, Client: s.Wrap(srv.Client())}
		}
		for range 5 {
			start(before).WantGet(t, 200)
			time.Sleep(time.Hour) // it has expired, and is rotated at the next start
		}
		start(nil).WantGet(t, 200)
		if c := srv.Counters(); c.Reuses != 0 || c.Refreshes != 5 {
			t.Errorf("%d refreshes, %d tokens presented twice", c.Refreshes, c.Reuses)
		}
		start(before).Logout(t)
		_, err := start(before).Get(t.Context())
		sessiontest.WantErr(t, "after a logout", err, tokenclient.ErrLoginRequired)
	})
}

// TestTakeOverInMemory: without a Store the token is taken each time; and without a client in
// the context the default one refreshes.
func TestTakeOverInMemory(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	conf := &oauth2.Config{ClientID: "app", Endpoint: oauth2.Endpoint{TokenURL: srv.URL + "/oauth/token"}}
	var asked atomic.Int32
	counting := &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
		asked.Add(1)
		return srv.Client().Transport.RoundTrip(req)
	})}
	for n, ctx := range []context.Context{t.Context(), context.WithValue(t.Context(), oauth2.HTTPClient, counting)} {
		s, err := xoauth2.TakeOver(ctx, conf, xoauth2.ToToken(srv.Issue("alice")), tokenclient.Config{Origins: []string{srv.URL}})
		if err != nil {
			t.Fatal(err)
		}
		defer sessiontest.Close(t, s)
		if _, err := s.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		if int(asked.Load()) != n {
			t.Errorf("the context's client was asked %d times, want %d", asked.Load(), n)
		}
	}
}
