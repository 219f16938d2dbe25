package behaviour_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// revoker is w's refresher with the revocation endpoint of RFC 7009.
func (w *rfcWire) revoker(auth tokenclient.ClientAuth) *tokenclient.OAuth2Refresher {
	r := w.refresher(auth)
	r.RevocationURL = "https://server.example.com/revoke"
	return r
}

// TestRFC7009Requests: what is sent is what section 2.1 prints, and the like of it.
func TestRFC7009Requests(t *testing.T) {
	for _, c := range []struct {
		name, want string
		auth       tokenclient.ClientAuth
		token      *tokenclient.Token
	}{
		{"2.1", `
POST /revoke HTTP/1.1
Host: server.example.com
Content-Type: application/x-www-form-urlencoded
Authorization: Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW

token=45ghiukldjahdnhzdauz&token_type_hint=refresh_token`,
			tokenclient.ClientSecretBasic("s6BhdRkqt3", "gX1fBat3bV"), &tokenclient.Token{AccessToken: "a", RefreshToken: "45ghiukldjahdnhzdauz"}},
		{"2.1, of an access token, by a public client", `
POST /revoke HTTP/1.1
Host: server.example.com
Content-Type: application/x-www-form-urlencoded

token=45ghiukldjahdnhzdauz&token_type_hint=access_token&client_id=s6BhdRkqt3`,
			tokenclient.PublicClient("s6BhdRkqt3"), &tokenclient.Token{AccessToken: "45ghiukldjahdnhzdauz"}},
	} {
		w := &rfcWire{answers: []string{"HTTP/1.1 200 OK\n\n"}}
		if err := w.revoker(c.auth).Revoke(t.Context(), c.token); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		w.wantSent(t, c.name, c.want)
	}
}

// TestRFC7009Answers: the status decides and the body is ignored; an error is told, with
// when to try again, and is nothing that a login would mend.
func TestRFC7009Answers(t *testing.T) {
	for _, c := range []struct {
		name, answer, code string
		temporary          bool
		retry              time.Duration
	}{
		{"2.2, revoked or not valid", "HTTP/1.1 200 OK\n\n", "", false, 0},
		{"2.2, a body", "HTTP/1.1 200 OK\nContent-Type: application/json\n\n" + `{"error":"invalid_grant"}`, "", false, 0},
		{"2.2, a page", "HTTP/1.1 200 OK\nContent-Type: text/html\n\n<html>" + strings.Repeat(" ", 2<<20), "", false, 0},
		{"2.2.1", "HTTP/1.1 400 Bad Request\nContent-Type: application/json\n\n" + `{"error":"unsupported_token_type"}`, "unsupported_token_type", false, 0},
		{"2.2.1, 503", "HTTP/1.1 503 Service Unavailable\nRetry-After: 120\n\n", "", true, 2 * time.Minute},
	} {
		w := &rfcWire{answers: []string{c.answer}}
		err := w.revoker(tokenclient.PublicClient("s6BhdRkqt3")).Revoke(t.Context(), &tokenclient.Token{RefreshToken: "45ghiukldjahdnhzdauz"})
		if strings.HasPrefix(c.answer, "HTTP/1.1 200") {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		failed := wantTokenError(t, c.name, err)
		if failed.Code != c.code || failed.Temporary() != c.temporary || failed.RetryAfter != c.retry || errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestRFC7009Logout: after a logout the session uses no token, whatever the server said,
// and says that the server may not know.
func TestRFC7009Logout(t *testing.T) {
	for answer, told := range map[string]bool{
		"HTTP/1.1 200 OK\n\n": true,
		"HTTP/1.1 503 Service Unavailable\nRetry-After: 120\n\n":     false,
		"HTTP/1.1 400 Bad Request\n\n{\"error\":\"invalid_client\"}": false,
	} {
		w := &rfcWire{answers: []string{answer}}
		s := rfcSession(t, w.revoker(tokenclient.PublicClient("s6BhdRkqt3")))
		if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: "a", RefreshToken: "45ghiukldjahdnhzdauz"}); err != nil {
			t.Fatal(err)
		}
		if err := s.Logout(t.Context()); (err == nil) != told {
			t.Errorf("%.20s: Logout: %v", answer, err)
		}
		if _, err := s.Token(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) || len(w.got()) != 1 {
			t.Errorf("%.20s: afterwards %v, %d requests", answer, err, len(w.got()))
		}
	}
}
