package clientauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
)

// A client that signs with a key of its own. The server has the public key, and finds it
// by the key's id.
func ExamplePrivateKeyJWT() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // or one that a KMS keeps
	if err != nil {
		log.Fatal(err)
	}
	keys := map[any]any{"2026-01": key.Public()} // what the server knows

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := jwt.MapClaims{}
		_, err := jwt.ParseWithClaims(r.FormValue("client_assertion"), claims,
			func(t *jwt.Token) (any, error) { return keys[t.Header["kid"]], nil },
			jwt.WithAudience("https://auth.example.com"), jwt.WithSubject("my-app"), jwt.WithExpirationRequired())
		fmt.Println("server: from", claims["iss"], "for", claims["aud"], "error:", err)
		fmt.Fprint(w, `{"access_token":"access-2","refresh_token":"refresh-2","expires_in":900}`)
	}))
	defer server.Close()

	refresher := &tokenclient.OAuth2Refresher{
		TokenURL: server.URL + "/token",
		ClientAuth: clientauth.PrivateKeyJWT("my-app", key, &clientauth.JWTOptions{
			Audience: "https://auth.example.com", // the server's issuer identifier
			KeyID:    "2026-01",
		}),
	}
	next, err := refresher.Refresh(context.Background(), &tokenclient.Token{RefreshToken: "refresh-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("client:", next.AccessToken)
	// Output:
	// server: from my-app for https://auth.example.com error: <nil>
	// client: access-2
}

// Microsoft Entra ID wants PS256, and finds the key by the SHA-256 thumbprint of its
// certificate.
func ExamplePrivateKeyJWT_certificate() {
	certificate, err := clientCertificate() // or tls.LoadX509KeyPair("client.pem", "client.key")
	if err != nil {
		log.Fatal(err)
	}
	key, ok := certificate.PrivateKey.(crypto.Signer)
	if !ok {
		log.Fatal("the certificate's key cannot sign")
	}
	thumbprint := sha256.Sum256(certificate.Leaf.Raw)

	refresher := &tokenclient.OAuth2Refresher{
		TokenURL: "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token",
		ClientAuth: clientauth.PrivateKeyJWT("11112222-bbbb-3333-cccc-4444dddd5555", key, &clientauth.JWTOptions{
			Algorithm: "PS256",
			Header:    map[string]any{"x5t#S256": base64.RawURLEncoding.EncodeToString(thumbprint[:])},
		}),
	}
	fmt.Println(refresher, refresher.Validate())
	// Output:
	// OAuth2Refresher{login.microsoftonline.com/TENANT/oauth2/v2.0/token, PrivateKeyJWT("11112222-bbbb-3333-cccc-4444dddd5555")} <nil>
}

// A client that signs with the secret that it shares with the server.
func ExampleClientSecretJWT() {
	const secret = "a secret of at least 32 characters, from the server"

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := jwt.Parse(r.FormValue("client_assertion"),
			func(*jwt.Token) (any, error) { return []byte(secret), nil }, jwt.WithValidMethods([]string{"HS256"}))
		fmt.Println("server: valid:", err == nil && token.Valid, "- secret sent:", r.Form.Has("client_secret"))
		fmt.Fprint(w, `{"access_token":"access-2","expires_in":900}`)
	}))
	defer server.Close()

	refresher := &tokenclient.OAuth2Refresher{
		TokenURL:   server.URL + "/token",
		ClientAuth: clientauth.ClientSecretJWT("my-app", secret, nil),
	}
	next, err := refresher.Refresh(context.Background(), &tokenclient.Token{RefreshToken: "refresh-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("client:", next.AccessToken)
	// Output:
	// server: valid: true - secret sent: false
	// client: access-2
}

// A server that takes the secret from HTTP Basic as it is.
func ExamplePlainBasic() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth() // and no url.QueryUnescape, as RFC 6749 would have it
		fmt.Println("server:", id, secret)
		fmt.Fprint(w, `{"access_token":"access-2","expires_in":900}`)
	}))
	defer server.Close()

	refresher := &tokenclient.OAuth2Refresher{
		TokenURL:   server.URL + "/token",
		ClientAuth: clientauth.PlainBasic("my-app", "se/cr+et="),
	}
	if _, err := refresher.Refresh(context.Background(), &tokenclient.Token{RefreshToken: "refresh-1"}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// server: my-app se/cr+et=
}

// A client that the server knows by its certificate.
func ExampleMutualTLS() {
	certificate, err := clientCertificate() // or tls.LoadX509KeyPair("client.pem", "client.key")
	if err != nil {
		log.Fatal(err)
	}

	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("server:", r.FormValue("client_id"), "with the certificate of", r.TLS.PeerCertificates[0].Subject.CommonName)
		fmt.Fprint(w, `{"access_token":"access-2","expires_in":900}`)
	}))
	known := x509.NewCertPool()
	known.AddCert(certificate.Leaf)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	defer server.Close()

	roots := x509.NewCertPool() // nil for a server that everybody trusts
	roots.AddCert(server.Certificate())
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{
		RootCAs: roots,
		// Called for each connection: return the newest if certificates are short-lived.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	}
	refresher := &tokenclient.OAuth2Refresher{
		TokenURL:   server.URL + "/token",
		ClientAuth: clientauth.MutualTLS("my-app"),
		HTTPClient: &http.Client{Transport: transport},
	}
	next, err := refresher.Refresh(context.Background(), &tokenclient.Token{RefreshToken: "refresh-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("client:", next.AccessToken)
	// Output:
	// server: my-app with the certificate of my-app
	// client: access-2
}

// A service account of Google's: the assertion says who it is, and there is no client
// beside it.
func ExampleNoClient() {
	refresher := &tokenclient.OAuth2Refresher{
		TokenURL:   "https://oauth2.googleapis.com/token",
		ClientAuth: clientauth.NoClient(),
		// Grant: grant.SignedJWT(key, grant.Assertion{...}),
	}
	fmt.Println(refresher, refresher.Validate())
	// Output:
	// OAuth2Refresher{oauth2.googleapis.com/token, NoClient()} <nil>
}
