package tokenclient

import (
	"cmp"
	"context"
	"net/http"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// A PasswordLogin exchanges a user name and a password for a token at an endpoint
// that takes and answers JSON: it posts {"username": "…", "password": "…"}. Its
// fields must not be changed after its first use; it is safe for concurrent use.
// Hand the token to [Session.SetToken], and forget the password.
type PasswordLogin struct {
	// URL is the endpoint, such as "https://api.example.com/login". It must be
	// https, or http to localhost or another loopback address. It is required.
	URL string

	// Username and Password name the members of what is sent: "username" and
	// "password" if empty. A dot goes into an object, as in [JSONFields].
	Username, Password string

	// Response names the members of the answer.
	Response JSONFields

	// HTTPClient makes the requests. It is copied: the copy follows no
	// redirects, because the body holds the password. Nil: http.DefaultClient.
	// It must not be a session's own client, which has no token yet.
	HTTPClient *http.Client

	// InsecureHTTP allows plain http to other machines, where everybody on the
	// way can read the password and the tokens.
	InsecureHTTP bool
}

// Login logs in and returns the token, read as [ParseToken] does. It may be
// called by many goroutines at the same time. There is no timeout but ctx's and
// the HTTPClient's.
//
// Every error is a [*TokenError]. A wrong password is one with the server's
// status, mostly 400, 401 or 403, and never ErrLoginRequired: that is about a
// session, and there is none yet. Neither the password nor anything of it is in
// an error.
func (l *PasswordLogin) Login(ctx context.Context, username, password string) (*Token, error) {
	return requestToken(ctx, &endpoint.Call{
		Field: "PasswordLogin.URL", URL: l.URL, Client: l.HTTPClient, InsecureHTTP: l.InsecureHTTP,
		Encoding: endpoint.JSON,
		Params: []endpoint.Param{
			{Name: cmp.Or(l.Username, "username"), Value: username, Public: true},
			{Name: cmp.Or(l.Password, "password"), Value: password},
		},
		Secrets: []string{password},
	}, &l.Response, func(*endpoint.Answer) bool { return false })
}
