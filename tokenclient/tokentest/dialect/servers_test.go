package dialect_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest/dialect"
)

// A server is one that people have, how it answers, and what to write for it.
type server struct {
	name    string
	config  func() tokenclient.Config
	dialect func() tokentest.Dialect

	noRotation bool
	opaque     bool
	noExpiry   bool // it says nowhere when a token ends
}

var servers = []server{
	{name: "Google", config: google, dialect: dialect.Google, noRotation: true, opaque: true},
	{name: "Microsoft", config: microsoft, dialect: dialect.Microsoft},
	{name: "GitHub", config: github, dialect: dialect.GitHub, opaque: true},
	{name: "GitHub, as a form", config: github, dialect: dialect.GitHubForm, opaque: true},
	{name: "Slack", config: slack, dialect: dialect.Slack, opaque: true},
	{name: "Withings", config: withings, dialect: dialect.Withings, opaque: true},
	{name: "Salesforce", config: salesforce, dialect: dialect.Salesforce, noRotation: true, opaque: true, noExpiry: true},
	{name: "Zoho", config: zoho, dialect: dialect.Zoho, noRotation: true, opaque: true},
	{name: "Notion", config: notion, dialect: dialect.Notion, opaque: true, noExpiry: true},
	{name: "Keycloak", config: keycloak, dialect: dialect.Keycloak},
	{name: "Auth0", config: auth0, dialect: dialect.Auth0},
	{name: "UAA", config: uaa, dialect: dialect.UAA},
	{name: "Spotify", config: spotify, dialect: dialect.Spotify, opaque: true},
	{name: "Spotify, without rotation", config: spotify, dialect: dialect.Spotify, noRotation: true, opaque: true},
	{name: "Atlassian", config: atlassian, dialect: dialect.Atlassian},
	{name: "Okta", config: okta, dialect: dialect.Okta},
	{name: "Firebase", config: firebase, dialect: dialect.Firebase},
	{name: "Supabase", config: supabase, dialect: dialect.Supabase},
	{name: "Strava", config: strava, dialect: dialect.Strava, opaque: true},
	{name: "Twitch", config: twitch, dialect: dialect.Twitch, opaque: true},
	{name: "HubSpot", config: hubspot, dialect: dialect.HubSpot, noRotation: true, opaque: true},
	{name: "Simple JWT", config: simpleJWT, dialect: dialect.SimpleJWT},
	{name: "Directus", config: directus, dialect: dialect.Directus},
}

// at points the parts of c that go to the real server to srv.
func at(t *testing.T, c tokenclient.Config, srv *tokentest.Server) tokenclient.Config {
	t.Helper()
	set := func(r *tokenclient.OAuth2Refresher) {
		u, err := url.Parse(r.TokenURL)
		if err != nil {
			t.Fatal(err)
		}
		r.TokenURL, r.HTTPClient = srv.URL+"/oauth/token", srv.Client()
		if u.RawQuery != "" {
			r.TokenURL += "?" + u.RawQuery
		}
		if r.RevocationURL != "" {
			r.RevocationURL = srv.URL + "/oauth/revoke"
		}
	}
	switch r := c.Refresher.(type) {
	case *tokenclient.OAuth2Refresher:
		set(r)
	case *tokenclient.JSONRefresher:
		set((*tokenclient.OAuth2Refresher)(r))
	default:
		t.Fatalf("a Refresher of type %T", r)
	}
	c.Origins = []string{srv.URL}
	return c
}

// TestConfigs: what docs/servers.md says can be written in a program.
func TestConfigs(t *testing.T) {
	for _, s := range servers {
		session, err := tokenclient.New(s.config())
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if err := session.Close(t.Context()); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// TestServers: with the Config of docs/servers.md a session lives through expiry, revocation and
// restarts at a server that is strict about reuse and answers as the real one documents it. No
// token is presented twice, and the first dead one asks for a login.
func TestServers(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tokens")
			synctest.Test(t, func(t *testing.T) { play(t, s, dir) })
		})
	}
}

func play(t *testing.T, s server, dir string) {
	srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true, Dialect: s.dialect(), NoRotation: s.noRotation, Opaque: s.opaque})
	files, err := store.NewFile(dir, store.Plaintext())
	if err != nil {
		t.Fatal(err)
	}
	var session *tokenclient.Session
	restart := func() {
		if session != nil {
			if err := session.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		c := at(t, s.config(), srv)
		c.Store, c.Key = files, "alice"
		if session, err = tokenclient.New(c); err != nil {
			t.Fatal(err)
		}
	}
	refreshes, rejected := 0, 0
	get := func(what string) {
		t.Helper()
		resp, err := session.Wrap(srv.Client()).Get(srv.URL + "/api/")
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		seen := srv.Counters()
		if resp.StatusCode != http.StatusOK || seen.Refreshes != refreshes || seen.Unauthorized != rejected || seen.Reuses != 0 {
			t.Errorf("%s: status %d, %d refreshes, %d refused and %d reuses, want %d and %d; %s",
				what, resp.StatusCode, seen.Refreshes, seen.Unauthorized, seen.Reuses, refreshes, rejected, body)
		}
	}

	restart()
	if err := session.SetToken(t.Context(), srv.Issue("alice")); err != nil {
		t.Fatal(err)
	}
	get("after the login")
	for i := range 3 {
		srv.RevokeAccess("alice")
		refreshes, rejected = refreshes+1, rejected+1
		get(fmt.Sprint("revoked, ", i))
		restart()
		get("after a restart")
		time.Sleep(time.Minute)
	}
	time.Sleep(time.Hour) // the access token has expired
	refreshes++
	if s.noExpiry {
		rejected++ // only a refusal tells
	}
	get("after an hour")

	srv.RevokeAll("alice")
	_, err = session.Refresh(t.Context())
	if seen := srv.Counters(); !errors.Is(err, tokenclient.ErrLoginRequired) || seen.Refreshes != refreshes+1 || seen.Reuses != 0 {
		t.Errorf("after the end: %v after %d refreshes", err, seen.Refreshes-refreshes)
	}
	if err := session.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
