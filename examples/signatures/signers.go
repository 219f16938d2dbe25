package main

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// digest returns the SHA-256 of the body that req will be sent with. A signer must not read the
// body itself, which is for the server: it asks GetBody, which http.NewRequest sets for bodies
// in memory. For others (a file, say) have the caller set GetBody, or sign no body.
func digest(req *http.Request) ([]byte, error) {
	sum := sha256.New()
	switch {
	case req.Body == nil || req.Body == http.NoBody:
	case req.GetBody == nil:
		return nil, errors.New("the body can be read only once, and has to be signed before it is sent; set GetBody")
	default:
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		defer body.Close()
		if _, err := io.Copy(sum, body); err != nil {
			return nil, err
		}
	}
	return sum.Sum(nil), nil
}

// An hmacSigner signs with a secret that client and server share, over what must not be changed:
// method, URL, time, nonce, token and body.
type hmacSigner struct {
	tokenclient.Attacher // puts the token on the request
	secret               []byte
}

func (s hmacSigner) Attach(req *http.Request, t *tokenclient.Token) error {
	if err := s.Attacher.Attach(req, t); err != nil {
		return err
	}
	sum, err := digest(req)
	if err != nil {
		return err
	}
	req.Header.Set("X-Date", time.Now().UTC().Format(time.RFC3339))
	req.Header.Set("X-Nonce", rand.Text())
	req.Header.Set("X-Content-SHA256", hex.EncodeToString(sum))
	req.Header.Set("X-Signature", hex.EncodeToString(hmacOf(req, req.URL.Host, s.secret)))
	return nil
}

func hmacOf(req *http.Request, host string, secret []byte) []byte {
	h := hmac.New(sha256.New, secret)
	for _, part := range []string{
		req.Method, host, req.URL.EscapedPath(), req.URL.RawQuery,
		req.Header.Get("X-Date"), req.Header.Get("X-Nonce"), req.Header.Get("X-Content-SHA256"), req.Header.Get("Authorization"),
	} {
		fmt.Fprintf(h, "%d:%s\n", len(part), part) // with its length, lest two parts pass for others
	}
	return h.Sum(nil)
}

// A messageSigner signs as RFC 9421 says, with the components and parameters of components.
type messageSigner struct {
	tokenclient.Attacher
	keyID string
	key   ed25519.PrivateKey
}

func (s messageSigner) Attach(req *http.Request, t *tokenclient.Token) error {
	if err := s.Attacher.Attach(req, t); err != nil {
		return err
	}
	sum, err := digest(req)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":") // RFC 9530
	params := fmt.Sprintf(`("@method" "@authority" "@path" "@query" "authorization" "content-digest");created=%d;nonce="%s";keyid="%s";alg="ed25519"`,
		time.Now().Unix(), rand.Text(), s.keyID)
	signature := ed25519.Sign(s.key, signatureBase(req, req.URL.Host, params))
	req.Header.Set("Signature-Input", "sig1="+params)
	req.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(signature)+":")
	return nil
}

// signatureBase is what is signed (RFC 9421, section 2.5).
func signatureBase(req *http.Request, authority, params string) []byte {
	var b strings.Builder
	for _, c := range [][2]string{
		{"@method", req.Method},
		{"@authority", strings.ToLower(authority)},
		{"@path", req.URL.EscapedPath()},
		{"@query", "?" + req.URL.RawQuery},
		{"authorization", req.Header.Get("Authorization")},
		{"content-digest", req.Header.Get("Content-Digest")},
	} {
		fmt.Fprintf(&b, "\"%s\": %s\n", c[0], c[1])
	}
	b.WriteString(`"@signature-params": ` + params)
	return []byte(b.String())
}
