package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A gate is the API: it checks the signature of each request, and hands it on to the server,
// which checks the token.
type gate struct {
	server *tokentest.Server
	verify func(r *http.Request, body []byte) error

	mu   sync.Mutex
	seen map[string]bool // nonces
	told []string
}

var nonceOf = regexp.MustCompile(`nonce="([^"]+)"`)

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = g.verify(r, body)
	}
	nonce := r.Header.Get("X-Nonce")
	if m := nonceOf.FindStringSubmatch(r.Header.Get("Signature-Input")); m != nil {
		nonce = m[1]
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && g.seen[nonce] {
		err = errors.New("the nonce has been used")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	g.seen[nonce] = true
	proxy := httputil.NewSingleHostReverseProxy(must(url.Parse(g.server.URL)))
	proxy.ModifyResponse = func(resp *http.Response) error {
		g.told = append(g.told, fmt.Sprintf("%s %s, %d bytes, sha256 %.8x…, signed well: %d", r.Method, r.URL, len(body), sha256.Sum256(body), resp.StatusCode))
		return nil
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	proxy.ServeHTTP(w, r)
}

func must(u *url.URL, err error) *url.URL {
	if err != nil {
		panic(err) // it is the mock server's
	}
	return u
}

var errUnsigned = errors.New("the signature is missing or wrong")

// verifyHMAC checks what an hmacSigner has signed.
func verifyHMAC(secret []byte) func(*http.Request, []byte) error {
	return func(r *http.Request, body []byte) error {
		got, err := hex.DecodeString(r.Header.Get("X-Signature"))
		sum := sha256.Sum256(body)
		if err != nil || !hmac.Equal(got, hmacOf(r, r.Host, secret)) || r.Header.Get("X-Content-SHA256") != hex.EncodeToString(sum[:]) {
			return errUnsigned
		}
		return nil
	}
}

// verifyMessage checks what a messageSigner has signed. A real server checks created, and
// keyid, too.
func verifyMessage(public ed25519.PublicKey) func(*http.Request, []byte) error {
	return func(r *http.Request, body []byte) error {
		params, found := strings.CutPrefix(r.Header.Get("Signature-Input"), "sig1=")
		text := strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Signature"), "sig1=:"), ":")
		signature, err := base64.StdEncoding.DecodeString(text)
		sum := sha256.Sum256(body)
		wellDigested := r.Header.Get("Content-Digest") == "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":"
		if !found || err != nil || !wellDigested || !ed25519.Verify(public, signatureBase(r, r.Host, params), signature) {
			return errUnsigned
		}
		return nil
	}
}
