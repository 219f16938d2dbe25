package clients_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// newSession starts a server, and makes a session for it, with alice's login, whose token may
// go to the server and to origins. hooks may be nil.
func newSession(t *testing.T, hooks *tokenclient.Hooks, origins ...string) (*tokenclient.Session, *tokentest.Server) {
	t.Helper()
	srv := tokentest.NewServer(t, nil)
	session, err := tokenclient.New(tokenclient.Config{Refresher: srv.OAuth2Refresher(), Origins: append(origins, srv.URL), Hooks: hooks})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := session.SetToken(t.Context(), srv.Issue("alice")); err != nil {
		t.Fatal(err)
	}
	return session, srv
}

// good reports whether srv takes the access token, as the server of another protocol would
// find out by introspection (RFC 7662).
func good(ctx context.Context, srv *tokentest.Server, token string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/api/things", nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := srv.Client().Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
