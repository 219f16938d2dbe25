package tokenclient

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/proof"
)

// A ClientAuth proves to a token endpoint who the client is (RFC 6749, section
// 2.3). Its methods are called for each request to a token or revocation
// endpoint and must be safe for concurrent use.
//
// Servers disagree about which way they accept, and to try one after the other
// costs a refresh token where each may be presented once. So there is no default:
// use [PublicClient], [ClientSecretBasic] or [ClientSecretPost], one of package
// clientauth (signed JWTs, certificates), or an implementation of your own. One of your
// own may have a method Validate, as a [Refresher] may.
type ClientAuth interface {
	// Authenticate adds to form, the body of the request, or to header what
	// identifies the client. endpoint is the URL that the request goes to. An
	// error means that nothing is sent.
	//
	// What it adds is treated as secret, but for client_id: it is kept out of
	// errors.
	Authenticate(ctx context.Context, endpoint string, form url.Values, header http.Header) error
}

// PublicClient is for programs that cannot keep a secret, such as apps and
// command-line tools: the form names the client id and nothing proves it. It is
// the method "none" of RFC 7591, section 2.
//
// [New] refuses an id that is empty or has a control character in it, such as the line
// break at the end of a file.
func PublicClient(id string) ClientAuth {
	return proof.New("PublicClient", id, nil, func(_ context.Context, _ string, form url.Values, _ http.Header) error {
		form.Set("client_id", id)
		return nil
	})
}

// ClientSecretBasic sends the client's id and secret as HTTP Basic
// authentication, each of them form-urlencoded first as RFC 6749, section 2.3.1,
// demands. A few servers do not decode them: if yours does not and the secret has
// characters such as "+" or "/", use [ClientSecretPost], or PlainBasic of package
// clientauth.
//
// [New] refuses an id or a secret that is empty or has a control character in it, such as
// the line break at the end of a file: mostly a variable was not set. For a client whose
// secret is empty indeed, make a ClientAuth of your own.
//
// No verb of package fmt shows the secret.
func ClientSecretBasic(id, secret string) ClientAuth {
	wrong := proof.CheckSecret("ClientSecretBasic", secret)
	return proof.New("ClientSecretBasic", id, wrong, func(_ context.Context, _ string, _ url.Values, header http.Header) error {
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		return nil
	})
}

// ClientSecretPost sends the client's id and secret in the form (RFC 6749,
// section 2.3.1). [New] refuses the same ids and secrets as with [ClientSecretBasic].
//
// No verb of package fmt shows the secret.
func ClientSecretPost(id, secret string) ClientAuth {
	wrong := proof.CheckSecret("ClientSecretPost", secret)
	return proof.New("ClientSecretPost", id, wrong, func(_ context.Context, _ string, form url.Values, _ http.Header) error {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
		return nil
	})
}
