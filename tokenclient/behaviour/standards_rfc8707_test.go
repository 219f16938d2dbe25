package behaviour_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// The access tokens of figures 4 and 6.
const (
	rfc8707Calendar = "eyJhbGciOiJFUzI1NiIsImtpZCI6Ijc3In0.eyJpc3MiOi" +
		"JodHRwOi8vYXV0aG9yaXphdGlvbi1zZXJ2ZXIuZXhhbXBsZS5jb20iLCJzdWI" +
		"iOiJfX2JfYyIsImV4cCI6MTU4ODQyMDgwMCwic2NvcGUiOiJjYWxlbmRhciIs" +
		"ImF1ZCI6Imh0dHBzOi8vY2FsLmV4YW1wbGUuY29tLyJ9.nNWJ2dXSxaDRdMUK" +
		"lzs-cYIj8MDoM6Gy7pf_sKrLGsAFf1C2bDhB60DQfW1DZL5npdko1_Mmk5sUf" +
		"zkiQNVpYw"
	rfc8707Contacts = "eyJhbGciOiJFUzI1NiIsImtpZCI6Ijc3In0.eyJpc3MiOi" +
		"JodHRwOi8vYXV0aG9yaXphdGlvbi1zZXJ2ZXIuZXhhbXBsZS5jb20iLCJzdWI" +
		"iOiJfX2JfYyIsImV4cCI6MTU4ODQyMDgyNiwic2NvcGUiOiJjb250YWN0cyIs" +
		"ImF1ZCI6Imh0dHBzOi8vY29udGFjdHMuZXhhbXBsZS5jb20vIn0.5f4yhqazc" +
		"OSlJw4y94KPeWNEFQqj2cfeO8x4hr3YbHtIl3nQXnBMw5wREY5O1YbZED-GfH" +
		"UowfmtNaA5EikYAw"
)

// TestRFC8707Requests: figures 3 to 6. The login is for one resource; one session has the
// refresh token, and an access token for the other.
func TestRFC8707Requests(t *testing.T) {
	w := &rfcWire{answers: []string{`
HTTP/1.1 200 OK
Content-Type: application/json
Cache-Control: no-cache, no-store

{
   "access_token":"` + rfc8707Calendar + `",
   "token_type":"Bearer",
   "expires_in":3600,
   "refresh_token":"4LTC8lb0acc6Oy4esc1Nk9BWC0imAwH7kic16BDC2",
   "scope":"calendar"
}`, `
HTTP/1.1 200 OK
Content-Type: application/json
Cache-Control: no-cache, no-store

{
   "access_token":"` + rfc8707Contacts + `",
   "token_type":"Bearer",
   "expires_in":3600,
   "scope":"contacts"
}`}}
	auth := tokenclient.ClientSecretBasic("s6BhdRkqt3", "hsqEzQlUoHAE9px4FSr4yI")
	of := func(resource string) *tokenclient.OAuth2Refresher {
		r := w.at("https://authorization-server.example.com/as/token.oauth2", auth)
		r.Params = url.Values{"resource": {resource}}
		return r
	}
	calendar := of("https://cal.example.com/")
	token, err := calendar.Login(t.Context(), url.Values{
		"grant_type": {"authorization_code"}, "redirect_uri": {"https://client.example.org/cb"},
		"code": {"10esc29BWC2qZB0acc9v8zAv9ltc2pko105tQauZ"},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.wantSent(t, "figure 3", `
POST /as/token.oauth2 HTTP/1.1
Host: authorization-server.example.com
Authorization: Basic czZCaGRSa3F0Mzpoc3FFelFsVW9IQUU5cHg0RlNyNHlJ
Content-Type: application/x-www-form-urlencoded

grant_type=authorization_code
&redirect_uri=https%3A%2F%2Fclient.example.org%2Fcb
&code=10esc29BWC2qZB0acc9v8zAv9ltc2pko105tQauZ
&resource=https%3A%2F%2Fcal.example.com%2F`)
	wantRead(t, "figure 4", token, time.Hour, &tokenclient.Token{
		AccessToken: rfc8707Calendar, RefreshToken: "4LTC8lb0acc6Oy4esc1Nk9BWC0imAwH7kic16BDC2", TokenType: "Bearer", Scope: "calendar",
	})

	s, err := tokenclient.New(tokenclient.Config{
		Refresher: calendar, Origins: []string{"https://cal.example.com"},
		Audiences: []tokenclient.Audience{{Name: "contacts", Refresher: of("https://contacts.example.com/"), Origins: []string{"https://contacts.example.com"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessiontest.Close(t, s) })
	if err := s.SetToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	contacts, err := s.TokenFor(t.Context(), "contacts")
	if err != nil {
		t.Fatal(err)
	}
	w.wantSent(t, "figure 5", `
POST /as/token.oauth2 HTTP/1.1
Host: authorization-server.example.com
Authorization: Basic czZCaGRSa3F0Mzpoc3FFelFsVW9IQUU5cHg0RlNyNHlJ
Content-Type: application/x-www-form-urlencoded

grant_type=refresh_token
&refresh_token=4LTC8lb0acc6Oy4esc1Nk9BWC0imAwH7kic16BDC2
&resource=https%3A%2F%2Fcontacts.example.com%2F`)
	wantRead(t, "figure 6", contacts, time.Hour, &tokenclient.Token{
		AccessToken: rfc8707Contacts, RefreshToken: token.RefreshToken, TokenType: "Bearer", Scope: "contacts",
	})
	if now, err := s.Token(t.Context()); err != nil || now.AccessToken != rfc8707Calendar || now.RefreshToken != token.RefreshToken || len(w.got()) != 2 {
		t.Errorf("the login's token is %v, %v after %d requests", now, err, len(w.got()))
	}
}

// TestRFC8707Errors: invalid_target is told, and ends nothing. Several resources are several
// params.
func TestRFC8707Errors(t *testing.T) {
	w := &rfcWire{answers: []string{"HTTP/1.1 400 Bad Request\nContent-Type: application/json\n\n" + `{"error":"invalid_target","error_description":"unknown: https://b.example.com/"}`}}
	r := w.refresher(tokenclient.PublicClient("s6BhdRkqt3"))
	r.Params = url.Values{"resource": {"https://a.example.com/", "https://b.example.com/"}}
	_, err := r.Refresh(t.Context(), &tokenclient.Token{RefreshToken: "4LTC8lb0acc6Oy4esc1Nk9BWC0imAwH7kic16BDC2"})
	failed := wantTokenError(t, "invalid_target", err)
	if failed.Code != "invalid_target" || failed.Description != "unknown: https://b.example.com/" || errors.Is(err, tokenclient.ErrLoginRequired) {
		t.Errorf("error %v", err)
	}
	w.wantSent(t, "two", `
POST /token HTTP/1.1
Host: server.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=refresh_token&refresh_token=4LTC8lb0acc6Oy4esc1Nk9BWC0imAwH7kic16BDC2&client_id=s6BhdRkqt3
&resource=https%3A%2F%2Fa.example.com%2F&resource=https%3A%2F%2Fb.example.com%2F`)
}
