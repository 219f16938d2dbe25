package clientauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/proof"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// PlainBasic sends the client's id and secret as HTTP Basic authentication (RFC 7617) as
// they are. RFC 6749, section 2.3.1, has them form-urlencoded first, as
// [tokenclient.ClientSecretBasic] does; PlainBasic is for the servers that do not decode
// them. For an id and a secret of ASCII letters, digits, "-", "_" and "." the two are the
// same.
//
// tokenclient.New refuses what it refuses of ClientSecretBasic, and an id with a colon, at
// which the server would cut it off.
func PlainBasic(id, secret string) tokenclient.ClientAuth {
	wrong := proof.CheckSecret("PlainBasic", secret)
	if strings.Contains(id, ":") {
		wrong = errColon
	}
	return proof.New("PlainBasic", id, wrong, func(_ context.Context, _ string, _ url.Values, header http.Header) error {
		if wrong != nil {
			return wrong
		}
		r := http.Request{Header: header}
		r.SetBasicAuth(id, secret)
		return nil
	})
}

var errColon = errors.New("the client id of PlainBasic has a colon in it, at which the server would cut it off (RFC 7617, section 2); use tokenclient.ClientSecretBasic")
