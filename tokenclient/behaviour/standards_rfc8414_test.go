package behaviour_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

// The answer of RFC 8414, section 3.2.
const rfc8414Answer = `
HTTP/1.1 200 OK
Content-Type: application/json

{
 "issuer":
   "https://server.example.com",
 "authorization_endpoint":
   "https://server.example.com/authorize",
 "token_endpoint":
   "https://server.example.com/token",
 "token_endpoint_auth_methods_supported":
   ["client_secret_basic", "private_key_jwt"],
 "token_endpoint_auth_signing_alg_values_supported":
   ["RS256", "ES256"],
 "userinfo_endpoint":
   "https://server.example.com/userinfo",
 "jwks_uri":
   "https://server.example.com/jwks.json",
 "registration_endpoint":
   "https://server.example.com/register",
 "scopes_supported":
   ["openid", "profile", "email", "address",
    "phone", "offline_access"],
 "response_types_supported":
   ["code", "code token"],
 "service_documentation":
   "http://server.example.com/service_documentation.html",
 "ui_locales_supported":
   ["en-US", "en-GB", "en-CA", "fr-FR", "fr-CA"]
}`

// TestRFC8414Requests: what is asked first is what section 3.1 prints, and the answer of
// section 3.2 is believed only of the issuer that is in it (section 3.3).
func TestRFC8414Requests(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://example.com":          "GET /.well-known/oauth-authorization-server HTTP/1.1\nHost: example.com",
		"https://example.com/issuer1":  "GET /.well-known/oauth-authorization-server/issuer1 HTTP/1.1\nHost: example.com",
		"https://example.com/issuer1/": "GET /.well-known/oauth-authorization-server/issuer1 HTTP/1.1\nHost: example.com",
		"https://server.example.com":   "GET /.well-known/oauth-authorization-server HTTP/1.1\nHost: server.example.com",
		"https://server.example.com/":  "GET /.well-known/oauth-authorization-server HTTP/1.1\nHost: server.example.com",
		"https://SERVER.example.com":   "GET /.well-known/oauth-authorization-server HTTP/1.1\nHost: SERVER.example.com",
	} {
		w := &rfcWire{answers: []string{rfc8414Answer}}
		client := &discovery.Client{HTTPClient: &http.Client{Transport: w}}
		md, err := client.Find(t.Context(), issuer)
		if sent := w.got(); len(sent) == 0 || sent[0] != printedRequest(t, want) {
			t.Errorf("%s: sent %v, want %s", issuer, sent, want)
		}
		if issuer != "https://server.example.com" {
			if md != nil || err == nil || !strings.Contains(err.Error(), "the issuer in it is") {
				t.Errorf("%s: %v, %v", issuer, md, err)
			}
			continue
		}
		if err != nil || md.TokenEndpoint != "https://server.example.com/token" || strings.Join(md.TokenAuthMethods, " ") != "client_secret_basic private_key_jwt" || len(w.got()) != 1 {
			t.Errorf("%s: %+v, %v after %d requests", issuer, md, err, len(w.got()))
		}
	}
}
