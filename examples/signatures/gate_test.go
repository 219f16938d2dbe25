package main

import (
	"bytes"
	"crypto/ed25519"
	"net/http"
	"net/url"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestVerify: what was signed passes, and nothing that was changed afterwards.
func TestVerify(t *testing.T) {
	secret := []byte("secret")
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for name, s := range map[string]struct {
		signer tokenclient.Attacher
		verify func(*http.Request, []byte) error
		mine   string // a header of the signature's own
	}{
		"HMAC":     {hmacSigner{tokenclient.Bearer{}, secret}, verifyHMAC(secret), "X-Nonce"},
		"RFC 9421": {messageSigner{tokenclient.Bearer{}, "key-1", private}, verifyMessage(private.Public().(ed25519.PublicKey)), "Signature-Input"},
	} {
		for change, f := range map[string]func(r *http.Request, body *[]byte){
			"nothing":       func(*http.Request, *[]byte) {},
			"the method":    func(r *http.Request, _ *[]byte) { r.Method = http.MethodPut },
			"the host":      func(r *http.Request, _ *[]byte) { r.Host = "other.example.com" },
			"the path":      func(r *http.Request, _ *[]byte) { r.URL = &url.URL{Path: "/b", RawQuery: r.URL.RawQuery} },
			"the query":     func(r *http.Request, _ *[]byte) { r.URL.RawQuery = "x=2" },
			"the token":     func(r *http.Request, _ *[]byte) { r.Header.Set("Authorization", "Bearer other") },
			"the body":      func(_ *http.Request, body *[]byte) { *body = []byte("other") },
			"a part of it":  func(r *http.Request, _ *[]byte) { r.Header.Set(s.mine, r.Header.Get(s.mine)+"x") },
			"all of it":     func(r *http.Request, _ *[]byte) { r.Header = http.Header{} },
			"an empty body": func(_ *http.Request, body *[]byte) { *body = nil },
		} {
			body := []byte("the body")
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/a%20b?x=1", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.signer.Attach(r, &tokenclient.Token{AccessToken: "token"}); err != nil {
				t.Fatal(err)
			}
			f(r, &body)
			if err := s.verify(r, body); (err == nil) != (change == "nothing") {
				t.Errorf("%s, changed %s: %v", name, change, err)
			}
		}
	}
	once, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	once.Body = http.MaxBytesReader(nil, http.NoBody, 1)
	if err := (hmacSigner{tokenclient.Bearer{}, secret}).Attach(once, &tokenclient.Token{AccessToken: "token"}); err == nil {
		t.Error("a body that can be read once was signed")
	}
}
