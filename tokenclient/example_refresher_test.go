package tokenclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A refresh at an OAuth 2.0 token endpoint. A Session does this by itself.
func ExampleOAuth2Refresher() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _, _ := r.BasicAuth()
		fmt.Println("server:", id, "sends", r.FormValue("grant_type"), r.FormValue("refresh_token"))
		fmt.Fprint(w, `{"access_token":"access-2","refresh_token":"refresh-2","expires_in":900}`)
	}))
	defer server.Close()

	refresher := &tokenclient.OAuth2Refresher{
		TokenURL:   server.URL + "/token",
		ClientAuth: tokenclient.ClientSecretBasic("my-app", "my-secret"),
	}
	next, err := refresher.Refresh(context.Background(), &tokenclient.Token{RefreshToken: "refresh-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("next:", next.RefreshToken, "in", next.Expiry.Sub(next.Issued))
	// Output:
	// server: my-app sends refresh_token refresh-1
	// next: refresh-2 in 15m0s
}

// A JSON endpoint with names of its own, which refuses the refresh token.
func ExampleJSONRefresher() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"message":"refresh token expired"}`)
	}))
	defer server.Close()

	refresher := &tokenclient.JSONRefresher{
		TokenURL: server.URL + "/token/refresh",
		Request:  tokenclient.RequestFields{RefreshToken: "refreshToken"},
		Response: tokenclient.JSONFields{AccessToken: "data.accessToken", RefreshToken: "data.refreshToken"},
	}
	_, err := refresher.Refresh(context.Background(), &tokenclient.Token{RefreshToken: "refresh-1"})
	var e *tokenclient.TokenError
	if errors.As(err, &e) {
		fmt.Println(e.StatusCode, e.Description)
	}
	fmt.Println("login required:", errors.Is(err, tokenclient.ErrLoginRequired))
	// Output:
	// 401 refresh token expired
	// login required: true
}

func ExamplePasswordLogin() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"access_token":"access-1","refresh_token":"refresh-1","expires_in":"3600"}`)
	}))
	defer server.Close()

	login := &tokenclient.PasswordLogin{URL: server.URL + "/login"}
	token, err := login.Login(context.Background(), "alice", "correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken, token.Expiry.Sub(token.Issued))
	// Output: access-1 1h0m0s
}

// A Refresher for an endpoint that speaks neither OAuth nor plain JSON can still
// leave the answer to ParseToken.
func ExampleParseToken() {
	sent := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	body := []byte(`{"ok":true,"result":{"jwt":"opaque","ttl":"300"}}`)
	token, err := tokenclient.ParseToken(body, sent, &tokenclient.JSONFields{
		AccessToken: "result.jwt", ExpiresIn: "result.ttl",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.AccessToken, token.Expiry, token.Extra)

	_, err = tokenclient.ParseToken([]byte("<html>"), sent, nil)
	fmt.Println(err)
	// Output:
	// opaque 2026-03-01 12:05:00 +0000 UTC map[ok:true]
	// answer is HTML, not JSON
}

func ExampleChallenges() {
	resp := &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {
		`Basic realm="api", Bearer error="insufficient_user_authentication", acr_values="mfa", max_age=300`,
	}}}
	for _, c := range tokenclient.Challenges(resp) {
		fmt.Println(c.Scheme, c.Params)
	}
	// Output:
	// Basic map[realm:api]
	// Bearer map[acr_values:mfa error:insufficient_user_authentication max_age:300]
}
