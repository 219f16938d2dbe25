package tokenclient

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// A ClientAuth proves to a token endpoint who the client is (RFC 6749, section
// 2.3). Its methods are called for each request to a token or revocation
// endpoint and must be safe for concurrent use.
//
// Servers disagree about which way they accept, and to try one after the other
// costs a refresh token where each may be presented once. So there is no default:
// use [PublicClient], [ClientSecretBasic] or [ClientSecretPost], or an
// implementation of your own. One of your own may have a method Validate, as a
// [Refresher] may.
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
	return newClientAuth("PublicClient", id, nil, func(form url.Values, _ http.Header) {
		form.Set("client_id", id)
	})
}

// ClientSecretBasic sends the client's id and secret as HTTP Basic
// authentication, each of them form-urlencoded first as RFC 6749, section 2.3.1,
// demands. A few servers do not decode them: if yours does not and the secret has
// characters such as "+" or "/", use [ClientSecretPost].
//
// [New] refuses an id or a secret that is empty or has a control character in it, such as
// the line break at the end of a file: mostly a variable was not set. For a client whose
// secret is empty indeed, make a ClientAuth of your own.
//
// No verb of package fmt shows the secret.
func ClientSecretBasic(id, secret string) ClientAuth {
	return newClientAuth("ClientSecretBasic", id, checkSecret("ClientSecretBasic", secret), func(_ url.Values, header http.Header) {
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	})
}

// ClientSecretPost sends the client's id and secret in the form (RFC 6749,
// section 2.3.1). [New] refuses the same ids and secrets as with [ClientSecretBasic].
//
// No verb of package fmt shows the secret.
func ClientSecretPost(id, secret string) ClientAuth {
	return newClientAuth("ClientSecretPost", id, checkSecret("ClientSecretPost", secret), func(form url.Values, _ http.Header) {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	})
}

// clientAuth is a ClientAuth that is done in no time. It holds the secret in a
// closure and is used by pointer: printers that walk through fields by reflection,
// as fmt does with those that are not exported, find only addresses.
type clientAuth struct {
	text  string // what it prints as
	id    string
	wrong error // with the id or the secret; nil: nothing
	apply func(form url.Values, header http.Header)
}

// newClientAuth returns a ClientAuth whose secret is wrong in that way; nil: in none.
func newClientAuth(method, id string, wrong error, apply func(url.Values, http.Header)) *clientAuth {
	switch {
	case id == "":
		wrong = fmt.Errorf("%s has an empty client id; it is the client_id under which the server knows the program", method)
	case endpoint.HasControl(id):
		wrong = fmt.Errorf("the client id of %s %s", method, withControl)
	}
	return &clientAuth{fmt.Sprintf("%s(%q)", method, id), id, wrong, apply}
}

// checkSecret reports what is wrong with a client's secret.
func checkSecret(method, secret string) error {
	switch {
	case secret == "":
		return fmt.Errorf("%s has an empty client secret; use PublicClient(id) for a client that has none", method)
	case endpoint.HasControl(secret):
		return fmt.Errorf("the client secret of %s %s", method, withControl)
	}
	return nil
}

const withControl = "has a control character in it, such as the line break at the end of a file; use strings.TrimSpace"

// Validate reports what is wrong with the id or the secret.
func (a *clientAuth) Validate() error { return a.wrong }

var errNoClientID = errors.New("the client id is empty")

// Authenticate implements ClientAuth.
func (a *clientAuth) Authenticate(_ context.Context, _ string, form url.Values, header http.Header) error {
	if a.id == "" {
		return errNoClientID
	}
	a.apply(form, header)
	return nil
}

func (a *clientAuth) String() string               { return a.text }
func (a *clientAuth) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, a.text) }
func (a *clientAuth) MarshalJSON() ([]byte, error) { return json.Marshal(a.text) }
