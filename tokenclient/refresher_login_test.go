package tokenclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const plantedPassword = "planted pässword"

func TestPasswordLogin(t *testing.T) {
	for _, c := range []struct {
		l    tokenclient.PasswordLogin
		want string
	}{
		{tokenclient.PasswordLogin{}, `{"password":"planted pässword","username":"alice"}`},
		{tokenclient.PasswordLogin{Username: "user.name", Password: "user.pass"}, `{"user":{"name":"alice","pass":"planted pässword"}}`},
	} {
		srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
			raw, _ := io.ReadAll(r.Body)
			var v any
			_ = json.Unmarshal(raw, &v)
			if got, _ := json.Marshal(v); string(got) != c.want || r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s, want %s", r.Method, got, c.want)
			}
			answer(200, "application/json", `{"data":{"token":"a"},"refresh_token":"r","expires_in":60}`)(w, r)
		})
		c.l.URL, c.l.HTTPClient = srv.URL+"/login", srv.Client()
		c.l.Response.AccessToken = "data.token"
		tok, err := c.l.Login(t.Context(), "alice", plantedPassword)
		if err != nil {
			t.Fatal(err)
		}
		if tok.AccessToken != "a" || tok.RefreshToken != "r" || tok.Expiry.Sub(tok.Issued) != time.Minute {
			t.Errorf("token %q, %q, %v", tok.AccessToken, tok.RefreshToken, tok)
		}
	}
}

// TestPasswordLoginFails: a refused login is not a session that ended, and no
// error shows the password.
func TestPasswordLoginFails(t *testing.T) {
	for _, c := range []struct {
		status    int
		body      string
		temporary bool
		says      string
	}{
		{400, `{"error":"invalid_grant"}`, false, "status 400: invalid_grant"},
		{401, ``, false, "/login: status 401"},
		{401, `{"error":"no such user: alice"}`, false, "no such user: alice"},
		{403, `{"message":"wrong: ` + plantedPassword + `"}`, false, "status 403 ([redacted])"},
		{429, ``, true, "status 429"},
		{503, ``, true, "status 503"},
		{200, `{"refresh_token":"r"}`, true, "answer has no access_token"},
		{200, `<html>`, true, "answer is HTML, not JSON"},
		{307, ``, false, "refusing to follow"},
	} {
		srv, _ := tokenEndpoint(t, answer(c.status, "application/json", c.body))
		l := &tokenclient.PasswordLogin{URL: srv.URL + "/login", HTTPClient: srv.Client()}
		tok, err := l.Login(t.Context(), "alice", plantedPassword)
		e := tokenError(t, err)
		if tok != nil || e.StatusCode != c.status || e.Temporary() != c.temporary || errors.Is(err, tokenclient.ErrLoginRequired) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d %s: %v", c.status, c.body, err)
		}
	}
}

func TestPasswordLoginSentNothing(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		l    tokenclient.PasswordLogin
		says string
	}{
		{t.Context(), tokenclient.PasswordLogin{}, "PasswordLogin.URL is empty; write it like"},
		{t.Context(), tokenclient.PasswordLogin{URL: "http://api.example.com/login"}, "plain http beyond this machine"},
		{t.Context(), tokenclient.PasswordLogin{URL: "https://api.example.com/login", Username: "x", Password: "x"}, `clash at "x"`},
		{ended, tokenclient.PasswordLogin{URL: "https://api.example.com/login"}, "context canceled"},
	} {
		_, err := c.l.Login(c.ctx, "alice", plantedPassword)
		tokenError(t, err)
		if !errors.Is(err, tokenclient.ErrNotPresented) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %q does not say %q", err, c.says)
		}
	}
}
