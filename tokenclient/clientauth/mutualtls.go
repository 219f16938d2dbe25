package clientauth

import (
	"context"
	"net/http"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/proof"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// MutualTLS is for a client that the server knows by its certificate (RFC 8705, section
// 2): the form names the client id, and the certificate is in the TLS handshake. It comes
// from the HTTPClient of the [tokenclient.OAuth2Refresher]: from TLSClientConfig of its
// http.Transport, by Certificates, or by GetClientCertificate for one that is renewed
// while the program runs. Without one the server refuses the client; nobody here can see
// that beforehand.
//
// The server may have other URLs for such clients, its mtls_endpoint_aliases (section 5).
// If it binds access tokens to the certificate (section 3), the client that the session
// wraps needs the same one.
func MutualTLS(id string) tokenclient.ClientAuth {
	return proof.New("MutualTLS", id, nil, func(_ context.Context, _ string, form url.Values, _ http.Header) error {
		form.Set("client_id", id)
		return nil
	})
}
