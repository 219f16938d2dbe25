package grant_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grant"
)

// A service that asks for itself: no login, no refresh token, no store.
func ExampleClientCredentials() {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		id, _, _ := r.BasicAuth()
		fmt.Println("server:", id, "asks with", r.FormValue("grant_type"), "for", r.FormValue("scope"))
		fmt.Fprint(w, `{"access_token":"access-1","token_type":"Bearer","expires_in":3600}`)
	})
	mux.HandleFunc("/orders", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "orders for ", r.Header.Get("Authorization"))
	})

	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   server.URL + "/token",
			ClientAuth: tokenclient.ClientSecretBasic("my-service", "my-secret"),
			Grant:      grant.ClientCredentials{},
			Scope:      "orders.read",
		},
		Origins: []string{server.URL},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(context.Background())

	client := session.Client()
	for range 2 {
		resp, err := client.Get(server.URL + "/orders")
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println("client:", string(body))
	}
	// Output:
	// server: my-service asks with client_credentials for orders.read
	// client: orders for Bearer access-1
	// client: orders for Bearer access-1
}

// A gateway has a user's session, and calls another service on the user's behalf. The
// session for that service exchanges the token that the user's session has by then.
func ExampleTokenExchange() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") == "refresh_token" {
			fmt.Println("server: refreshes", r.FormValue("refresh_token"))
			fmt.Fprint(w, `{"access_token":"user-2","refresh_token":"refresh-2","expires_in":900}`)
			return
		}
		fmt.Println("server: exchanges", r.FormValue("subject_token"), "for", r.Form["audience"])
		fmt.Fprint(w, `{"access_token":"billing-1","issued_token_type":"`+grant.TypeAccessToken+`","token_type":"Bearer","expires_in":300}`)
	}))
	defer server.Close()
	ctx := context.Background()
	auth := tokenclient.ClientSecretBasic("gateway", "my-secret")

	user, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{TokenURL: server.URL, ClientAuth: auth},
		Origins:   []string{"https://api.example.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer user.Close(ctx)
	if err := user.SetToken(ctx, &tokenclient.Token{RefreshToken: "refresh-1"}); err != nil { // a login
		log.Fatal(err)
	}

	billing, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL: server.URL, ClientAuth: auth,
			Grant: grant.TokenExchange{
				Subject: func(ctx context.Context) (string, error) {
					token, err := user.Token(ctx) // refreshed, if it has to be
					if err != nil {
						return "", err
					}
					return token.AccessToken, nil
				},
				Audience: []string{"billing"},
			},
		},
		Origins: []string{"https://billing.example.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer billing.Close(ctx)

	token, err := billing.Token(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("client:", token.AccessToken)
	// Output:
	// server: refreshes refresh-1
	// server: exchanges user-2 for [billing]
	// client: billing-1
}

// A workload that somebody else has signed an assertion for: Kubernetes keeps the one in
// the file fresh.
func ExampleJWTBearer() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "token") // such as /var/run/secrets/tokens/my-token
	if err := os.WriteFile(name, []byte("header.claims.signature\n"), 0o600); err != nil {
		log.Fatal(err)
	}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("server:", r.FormValue("grant_type"), r.FormValue("assertion"))
		fmt.Fprint(w, `{"access_token":"access-1","expires_in":3600}`)
	}))
	defer server.Close()

	refresher := &tokenclient.OAuth2Refresher{
		TokenURL:   server.URL,
		ClientAuth: clientauth.NoClient(),
		Grant: grant.JWTBearer(func(context.Context) (string, error) {
			text, err := os.ReadFile(name)
			return strings.TrimSpace(string(text)), err
		}),
	}
	token, err := refresher.Refresh(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("client:", token.AccessToken)
	// Output:
	// server: urn:ietf:params:oauth:grant-type:jwt-bearer header.claims.signature
	// client: access-1
}

// A service account, as Google has them.
func ExampleSignedJWT() {
	key, err := rsa.GenerateKey(rand.Reader, 2048) // mostly that of the account's JSON file
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := jwt.MapClaims{}
		_, err := jwt.ParseWithClaims(r.FormValue("assertion"), claims, func(*jwt.Token) (any, error) { return key.Public(), nil },
			jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience("https://oauth2.googleapis.com/token"))
		fmt.Println("server:", claims["iss"], "error:", err)
		fmt.Fprint(w, `{"access_token":"access-1","token_type":"Bearer","expires_in":3599}`)
	}))
	defer server.Close()

	refresher := &tokenclient.OAuth2Refresher{
		TokenURL:   server.URL, // https://oauth2.googleapis.com/token
		ClientAuth: clientauth.NoClient(),
		Grant: grant.SignedJWT(key, grant.Assertion{
			Issuer:   "worker@my-project.iam.gserviceaccount.com",
			Audience: "https://oauth2.googleapis.com/token",
			Scope:    "https://www.googleapis.com/auth/devstorage.read_only",
			KeyID:    "370ab79b4513eb9bad7c9bd16a95cb76b5b2a56a",
		}),
	}
	token, err := refresher.Refresh(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("client:", token.AccessToken)
	// Output:
	// server: worker@my-project.iam.gserviceaccount.com error: <nil>
	// client: access-1
}
