package behaviour_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grant"
)

// returning is a function that returns a token.
func returning(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

// The access token of section 2.3.
const rfc8693Token = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjllciJ9.eyJhdWQiOiJo" +
	"dHRwczovL2JhY2tlbmQuZXhhbXBsZS5jb20iLCJpc3MiOiJodHRwczovL2FzLmV" +
	"4YW1wbGUuY29tIiwiZXhwIjoxNDQxOTE3NTkzLCJpYXQiOjE0NDE5MTc1MzMsIn" +
	"N1YiI6ImJkY0BleGFtcGxlLmNvbSIsInNjb3BlIjoiYXBpIn0.40y3ZgQedw6rx" +
	"f59WlwHDD9jryFOr0_Wh3CGozQBihNBhnXEQgU85AI9x3KmsPottVMLPIWvmDCM" +
	"y5-kdXjwhw"

// TestRFC8693Requests: what is sent is what section 2.3 and appendix A.1 print, and a
// delegation with an actor; and the answer of section 2.3 is read.
func TestRFC8693Requests(t *testing.T) {
	const subject = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjE2In0.eyJhdWQiOiJodHRwc" +
		"zovL2FzLmV4YW1wbGUuY29tIiwiaXNzIjoiaHR0cHM6Ly9vcmlnaW5hbC1pc3N1ZXI" +
		"uZXhhbXBsZS5uZXQiLCJleHAiOjE0NDE5MTA2MDAsIm5iZiI6MTQ0MTkwOTAwMCwic" +
		"3ViIjoiYmRjQGV4YW1wbGUubmV0Iiwic2NvcGUiOiJvcmRlcnMgcHJvZmlsZSBoaXN" +
		"0b3J5In0.PRBg-jXn4cJuj1gmYXFiGkZzRuzbXZ_sDxdE98ddW44ufsbWLKd3JJ1VZ" +
		"hF64pbTtfjy4VXFVBDaQpKjn5JzAw"
	for _, c := range []struct {
		name, url, want string
		auth            tokenclient.ClientAuth
		grant           grant.TokenExchange
	}{
		{"2.3", "https://as.example.com/as/token.oauth2", `
POST /as/token.oauth2 HTTP/1.1
Host: as.example.com
Authorization: Basic cnMwODpsb25nLXNlY3VyZS1yYW5kb20tc2VjcmV0
Content-Type: application/x-www-form-urlencoded

grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange
&resource=https%3A%2F%2Fbackend.example.com%2Fapi
&subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC
&subject_token_type=
urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token`,
			tokenclient.ClientSecretBasic("rs08", "long-secure-random-secret"), grant.TokenExchange{
				Subject: returning("accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"), Resource: []string{"https://backend.example.com/api"},
			}},
		{"A.1.1", "https://as.example.com/as/token.oauth2", `
POST /as/token.oauth2 HTTP/1.1
Host: as.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange
&audience=urn%3Aexample%3Acooperation-context
&subject_token=` + subject + `
&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt`,
			clientauth.NoClient(), grant.TokenExchange{
				Subject: returning(subject), SubjectType: grant.TypeJWT, Audience: []string{"urn:example:cooperation-context"},
			}},
		{"with an actor", "https://as.example.com/as/token.oauth2", `
POST /as/token.oauth2 HTTP/1.1
Host: as.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange
&audience=urn%3Aexample%3Acooperation-context
&subject_token=` + subject + `
&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt
&actor_token=actor&actor_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt`,
			clientauth.NoClient(), grant.TokenExchange{
				Subject: returning(subject), SubjectType: grant.TypeJWT, Audience: []string{"urn:example:cooperation-context"},
				Actor: returning("actor"), ActorType: grant.TypeJWT,
			}},
	} {
		w := &rfcWire{answers: []string{`
HTTP/1.1 200 OK
Content-Type: application/json
Cache-Control: no-cache, no-store

{
  "access_token":"` + rfc8693Token + `",
  "issued_token_type":
      "urn:ietf:params:oauth:token-type:access_token",
  "token_type":"Bearer",
  "expires_in":60
}`}}
		r := w.at(c.url, c.auth)
		r.Grant = c.grant
		got, err := r.Refresh(t.Context(), nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		w.wantSent(t, c.name, c.want)
		wantRead(t, c.name, got, time.Minute, &tokenclient.Token{
			AccessToken: rfc8693Token, TokenType: "Bearer", Extra: map[string]any{"issued_token_type": grant.TypeAccessToken},
		})
	}
}

// TestRFC8693Errors: the codes of section 2.2.2 are told, and the session goes on.
func TestRFC8693Errors(t *testing.T) {
	for _, code := range []string{"invalid_request", "invalid_target"} {
		w := &rfcWire{answers: []string{"HTTP/1.1 400 Bad Request\nContent-Type: application/json\nCache-Control: no-cache, no-store\n\n" + `{"error":"` + code + `"}`}}
		r := w.at("https://as.example.com/as/token.oauth2", clientauth.NoClient())
		r.Grant = grant.TokenExchange{Subject: returning("accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC")}
		_, err := r.Refresh(t.Context(), nil)
		if failed := wantTokenError(t, code, err); failed.Code != code || errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// TestRFC8693RefreshToken: a refresh token beside the new token is not used (section 2.2.1
// says when there may be one): what is exchanged may have changed since.
func TestRFC8693RefreshToken(t *testing.T) {
	w := &rfcWire{answers: []string{"HTTP/1.1 200 OK\nContent-Type: application/json\n\n" +
		`{"access_token":"a","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","refresh_token":"unused"}`}}
	r := w.at("https://as.example.com/as/token.oauth2", clientauth.NoClient())
	r.Grant = grant.TokenExchange{Subject: returning("accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC")}
	s := rfcSession(t, r)
	for range 2 {
		if _, err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantSent(t, "2.1", `
POST /as/token.oauth2 HTTP/1.1
Host: as.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange
&subject_token=accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC
&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token`)
	}
}
