package grant

import (
	"context"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// ClientCredentials is the grant of a client that asks for itself (RFC 6749, section
// 4.4). How the client proves who it is, the refresher's ClientAuth says; with
// tokenclient.PublicClient nothing does, and the server refuses it.
type ClientCredentials struct{}

var _ tokenclient.Grant = ClientCredentials{}

// Params returns the grant_type client_credentials.
func (ClientCredentials) Params(context.Context, *tokenclient.Token) (url.Values, error) {
	return url.Values{"grant_type": {"client_credentials"}}, nil
}
