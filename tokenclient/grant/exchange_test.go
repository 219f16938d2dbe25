package grant_test

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grant"
)

const exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"

func TestTokenExchange(t *testing.T) {
	for name, c := range map[string]struct {
		g    grant.TokenExchange
		want url.Values
	}{
		"least": {
			grant.TokenExchange{Subject: returning("s")},
			url.Values{"grant_type": {exchangeGrant}, "subject_token": {"s"}, "subject_token_type": {grant.TypeAccessToken}},
		},
		// The example of RFC 8693, section 2.3.
		"RFC 8693, 2.3": {
			grant.TokenExchange{
				Subject:  returning("accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"),
				Resource: []string{"https://backend.example.com/api"},
			},
			url.Values{
				"grant_type": {exchangeGrant}, "resource": {"https://backend.example.com/api"},
				"subject_token":      {"accVkjcJyb4BWCxGsndESCJQbdFMogUC5PbRDqceLTC"},
				"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			},
		},
		"all": {
			grant.TokenExchange{
				Subject: returning("s"), SubjectType: grant.TypeIDToken, Actor: returning("a"), ActorType: grant.TypeJWT,
				RequestedType: grant.TypeRefreshToken, Audience: []string{"x", "y"}, Resource: []string{"https://a.example", "urn:b:c"},
			},
			url.Values{
				"grant_type": {exchangeGrant}, "subject_token": {"s"}, "subject_token_type": {grant.TypeIDToken},
				"actor_token": {"a"}, "actor_token_type": {grant.TypeJWT}, "requested_token_type": {grant.TypeRefreshToken},
				"audience": {"x", "y"}, "resource": {"https://a.example", "urn:b:c"},
			},
		},
		"actor of the default type": {
			grant.TokenExchange{Subject: returning("s"), Actor: returning("a")},
			url.Values{
				"grant_type": {exchangeGrant}, "subject_token": {"s"}, "subject_token_type": {grant.TypeAccessToken},
				"actor_token": {"a"}, "actor_token_type": {grant.TypeAccessToken},
			},
		},
	} {
		if err := c.g.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := c.g.Params(t.Context(), new(tokenclient.Token))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
		if len(got["audience"]) > 0 {
			got["audience"][0] = "changed" // as a refresher may
			if again, _ := c.g.Params(t.Context(), new(tokenclient.Token)); !reflect.DeepEqual(again, c.want) {
				t.Errorf("%s: the second time %v", name, again)
			}
		}
	}
}

// TestTokenExchangeOfAnotherSession: each exchange takes the token that the other session
// has by then, with the context of this one's refresh.
func TestTokenExchangeOfAnotherSession(t *testing.T) {
	login := newServer(t)
	user := login.session(t, grant.ClientCredentials{})
	api := newServer(t)
	session := api.session(t, grant.TokenExchange{Subject: func(ctx context.Context) (string, error) {
		if _, has := ctx.Deadline(); !has {
			t.Error("the function's context has no deadline")
		}
		token, err := user.Token(ctx)
		if err != nil {
			return "", err
		}
		return token.AccessToken, nil
	}})
	api.get(t, session)
	if _, err := user.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	api.revoke()
	api.get(t, session)
	forms := api.got()
	if len(forms) != 2 || forms[0].Get("subject_token") != "token-1" || forms[1].Get("subject_token") != "token-2" {
		t.Errorf("exchanged %v", forms)
	}

	// A login that the other session needs is not this one's: it goes on when there is one.
	if err := user.Logout(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Refresh(t.Context()); err == nil {
		t.Error("no error without the other session's token")
	}
	if err := user.SetToken(t.Context(), &tokenclient.Token{AccessToken: "logged-in"}); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Refresh(t.Context()); err != nil {
		t.Errorf("after the login: %v", err)
	}
	if forms := api.got(); len(forms) != 3 || forms[2].Get("subject_token") != "logged-in" {
		t.Errorf("exchanged %v", forms)
	}
}

// TestTokenExchangeAnswer reads the answer of RFC 8693, section 2.3, and one whose token
// is no access token.
func TestTokenExchangeAnswer(t *testing.T) {
	s := newServer(t)
	s.answer = func(w http.ResponseWriter, _ url.Values, _ int) bool {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"token-0","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":60}`))
		return false
	}
	session := s.session(t, grant.TokenExchange{Subject: returning("s")})
	s.get(t, session)
	token, err := session.Token(t.Context())
	if err != nil || token.Extra["issued_token_type"] != grant.TypeAccessToken || token.Expiry.IsZero() {
		t.Errorf("%v, %v, %v", token, token.Extra, err)
	}
}
