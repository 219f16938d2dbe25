package tokenclient

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// A JSONRefresher refreshes tokens at an endpoint that takes and answers JSON, as
// many APIs have that do not speak OAuth: it posts {"refresh_token": "…"} and
// reads the new pair from the answer. Its fields must not be changed after its
// first use; it is safe for concurrent use.
type JSONRefresher struct {
	// URL is the endpoint, such as "https://api.example.com/token/refresh". It
	// must be https, or http to localhost or another loopback address. It is
	// required.
	URL string

	// SendAccessToken also sends the access token, expired or not, as a member
	// of the body. A token without a refresh token is refreshed by the access
	// token alone then.
	SendAccessToken bool

	// Attacher also puts the access token, expired or not, on the request, as
	// HeaderAttacher("X-Auth-Token") does, for endpoints that take the access
	// token itself: a heartbeat that answers a new one, for example. A token
	// without a refresh token is refreshed by the access token alone then, and
	// the body is an empty JSON object. Nil: it is not put there.
	Attacher Attacher

	// Request names the members of what is sent, AccessToken and RefreshToken;
	// its other fields are not used. Response names those of the answer.
	Request, Response JSONFields

	// Terminal reports whether an answer without a token says that the refresh
	// token is dead, so that only a login helps. It gets the status and the body,
	// of which it must keep nothing. It is asked about every complete answer but
	// redirects that is not a success with a token in it, and nothing else
	// decides then.
	//
	// Nil: the answer is terminal if its error code is invalid_grant (or
	// bad_refresh_token, as GitHub says), unless its status is 408, 425, 429 or
	// 5xx; and if it is a 401, unless it is HTML, which a proxy may have sent, or
	// its error code is another one of RFC 6749 or RFC 9449, which are about
	// something else than the token.
	Terminal func(status int, body []byte) bool

	// HTTPClient makes the requests. It is copied: the copy follows no
	// redirects, because the body holds the refresh token. Nil:
	// http.DefaultClient.
	HTTPClient *http.Client

	// InsecureHTTP allows plain http to other machines, where everybody on the
	// way can read the tokens.
	InsecureHTTP bool
}

var _ Refresher = (*JSONRefresher)(nil)

// Refresh exchanges old's refresh token for a new pair. It reads the answer as
// [ParseToken] does. If the server sent no refresh token, the result has none
// either: the [Session] keeps the old one, and so should other callers.
//
// Every error is a [*TokenError]. It is ErrLoginRequired if the answer is terminal
// (see Terminal), and if old has nothing to send. It is ErrNotPresented if neither
// token was sent for certain. What the Attacher returns fails the refresh.
func (r *JSONRefresher) Refresh(ctx context.Context, old *Token) (*Token, error) {
	c := &endpointCall{field: "JSONRefresher.URL", url: r.URL, client: r.HTTPClient, insecureHTTP: r.InsecureHTTP}
	var members []jsonMember
	if old != nil && old.RefreshToken != "" {
		members = append(members, jsonMember{cmp.Or(r.Request.RefreshToken, "refresh_token"), old.RefreshToken})
	}
	if old != nil && old.AccessToken != "" && r.SendAccessToken {
		members = append(members, jsonMember{cmp.Or(r.Request.AccessToken, "access_token"), old.AccessToken})
	}
	if r.Attacher != nil {
		if err := checkAttacher("JSONRefresher.Attacher", r.Attacher); err != nil {
			return nil, c.fail(0, &notPresented{err})
		}
		if old != nil && old.AccessToken != "" {
			c.attach = func(req *http.Request) error { return r.Attacher.Attach(req, old) }
		}
	}
	if len(members) == 0 && c.attach == nil {
		return nil, c.fail(0, errNoRefreshToken)
	}
	c.secrets = []string{old.RefreshToken, old.AccessToken}
	a, err := c.postJSON(ctx, members)
	if err != nil {
		return nil, err
	}
	return a.token(&r.Response, func() bool {
		if r.Terminal != nil {
			return r.Terminal(a.status, a.body)
		}
		return a.refusesToken() || a.status == http.StatusUnauthorized && a.bare401()
	})
}

// notTheToken are the error codes that a 401 may have without a word about the
// refresh token: RFC 6749, sections 4.1.2.1 and 5.2; RFC 8628, section 3.5; RFC
// 9449, sections 5 and 8.
var notTheToken = []string{
	"invalid_client", "unauthorized_client", "invalid_request", "invalid_scope",
	"unsupported_grant_type", "unsupported_response_type", "access_denied",
	"server_error", "temporarily_unavailable", "slow_down",
	"use_dpop_nonce", "invalid_dpop_proof",
}

// bare401 reports whether a 401 of a JSON endpoint is about the token, which is
// the only credential that it was sent.
func (a *endpointAnswer) bare401() bool {
	code, _ := a.problem()
	return !isHTML(a.body) && !slices.Contains(notTheToken, code)
}

// jsonMember is a member to send, with a dotted name.
type jsonMember struct{ name, value string }

// postJSON sends an object of members.
func (c *endpointCall) postJSON(ctx context.Context, members []jsonMember) (*endpointAnswer, error) {
	object := make(map[string]any)
	for _, m := range members {
		if !put(object, m.name, m.value) {
			return nil, c.fail(0, &notPresented{fmt.Errorf("the names of the members to send clash at %q", m.name)})
		}
	}
	var err error
	if c.body, err = json.Marshal(object); err != nil {
		return nil, c.fail(0, &notPresented{err})
	}
	c.header = http.Header{"Content-Type": {"application/json"}}
	return c.do(ctx)
}

// put adds a member with a dotted name and reports whether its place was free.
func put(m map[string]any, name, value string) bool {
	first, rest, nested := strings.Cut(name, ".")
	if !nested {
		_, taken := m[first]
		m[first] = value
		return !taken
	}
	if m[first] == nil {
		m[first] = make(map[string]any)
	}
	inner, ok := m[first].(map[string]any)
	return ok && put(inner, rest, value)
}

// Format writes the endpoint, whatever the verb: the query of the URL may hold a
// key.
func (r JSONRefresher) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.describe()) }

// MarshalJSON marshals what Format writes. It cannot be read back.
func (r JSONRefresher) MarshalJSON() ([]byte, error) { return json.Marshal(r.describe()) }

func (r *JSONRefresher) describe() string {
	return fmt.Sprintf("JSONRefresher{%s}", endpointName(r.URL))
}
