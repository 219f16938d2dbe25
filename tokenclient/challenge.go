package tokenclient

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/challenge"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/peek"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/stepup"
)

// A Challenge is one challenge of a WWW-Authenticate header: how a server wants a
// request to be authenticated, and often why this one was not enough (RFC 9110,
// section 11.6.1).
type Challenge struct {
	// Scheme is the authentication scheme as the server wrote it. Compare it
	// with [strings.EqualFold]: "bearer" and "Bearer" are the same scheme.
	Scheme string

	// Params holds the parameters. Their names are in lower case; their values
	// are as the server wrote them, without quotes and escapes. The name ""
	// holds a token68, the one value without a name that some schemes, such as
	// Negotiate, have in the place of parameters. Nil if there are none.
	Params map[string]string
}

// Challenges returns the challenges of all WWW-Authenticate fields of resp, in
// the server's order. Use it on a 401 or 403 that a [Transport] handed back, to
// learn what the server wants: a wider scope ("error" is "insufficient_scope",
// RFC 6750, section 3.1), or a fresh or stronger login
// ("insufficient_user_authentication" with "acr_values" and "max_age", RFC 9470).
// Package discovery follows a "resource_metadata" (RFC 9728) to the server that
// gives out the tokens.
//
// Headers are often malformed. Challenges returns what can be understood and
// leaves out the rest; of a parameter given twice the first counts. It reads at
// most 16 KiB and returns at most 32 challenges. It does not touch resp's body.
// Challenges of nil is nil.
func Challenges(resp *http.Response) []Challenge {
	if resp == nil {
		return nil
	}
	var list []Challenge
	for _, c := range challenge.Parse(resp.Header["Www-Authenticate"]) {
		list = append(list, Challenge(c))
	}
	return list
}

// A Demand is what a server wants beyond a token that is good: a wider scope (RFC 6750,
// section 3.1), a fresh or stronger login (RFC 9470), or that the authorization server is told
// of claims (a claims challenge, as Microsoft Entra sends them). Its fields are as the server
// wrote them; what is empty it did not say.
type Demand struct {
	// Origin is who demands it, like "https://api.example.com".
	Origin string

	// Error is "insufficient_scope", "insufficient_user_authentication", or what came with
	// Claims, such as "insufficient_claims" or "invalid_token". Description is for people who
	// look for a fault.
	Error, Description string

	// Realm is the part of the server that it is about (RFC 9110, section 11.5). For Microsoft
	// Entra it is the tenant.
	Realm string

	// Scope is what is needed, as a list separated by spaces (RFC 6750, section 3).
	Scope string

	// ACRValues and MaxAge are what to ask the authorization server for: classes of
	// authentication, in order of preference, and after how many seconds a login is too old
	// (RFC 9470, section 3). "0" wants a login now.
	ACRValues, MaxAge string

	// Claims is the JSON object to send as the parameter claims (OpenID Connect Core 1.0,
	// section 5.5). It came in base64.
	Claims string

	// ResourceMetadata is where the API says who gives out its tokens (RFC 9728, section 5.1).
	ResourceMetadata string
}

// Params returns what to add to an authorization request for d, but for the scope: acr_values,
// max_age and claims. They go into the Params of package login's Config, for example.
func (d Demand) Params() url.Values {
	v := make(url.Values)
	for name, value := range map[string]string{"acr_values": d.ACRValues, "max_age": d.MaxAge, "claims": d.Claims} {
		if value != "" {
			v.Set(name, value)
		}
	}
	return v
}

// DemandOf returns what resp, a 401 or 403, wants of the next token, and whether it wants
// anything that a refresh does not bring. It is for programs without a Config.StepUp, and for
// protocols that have no [Transport].
func DemandOf(resp *http.Response) (Demand, bool) {
	if resp == nil || resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		return Demand{}, false
	}
	d, ok := stepup.Read(resp.StatusCode, challenge.Parse(resp.Header["Www-Authenticate"]))
	if !ok {
		return Demand{}, false
	}
	from := ""
	if resp.Request != nil && resp.Request.URL != nil {
		from = origin.Of(resp.Request.URL).String()
	}
	return Demand{from, d.Error, d.Description, d.Realm, d.Scope, d.ACRValues, d.MaxAge, d.Claims, d.ResourceMetadata}, true
}

// PeekBody returns the first bytes of resp's body, most at most, and leaves the answer
// whole: resp.Body is replaced by one that begins with them. It is for Config.Rejected and
// Config.Renewed, if a server says in the body what others say by the status. Nothing is
// read of answers for which it is not called, so look at the status and the Content-Type
// first.
//
// It returns what there is when the body ends or fails, when wait is over (0: a second),
// or when the request's context ends: a stream that says nothing for an hour holds nobody
// up for longer. An error of the body comes to who reads it later, in its place. most is
// at most 1 MiB. A body encoded with gzip is decoded for that; of one with another
// Content-Encoding, of none, and of a connection that was switched to another protocol
// (101) it returns nothing. It may be called again, for more. It must not be called while
// somebody else uses resp.
func PeekBody(resp *http.Response, most int, wait time.Duration) []byte {
	if wait <= 0 {
		wait = time.Second
	}
	return peek.At(resp, most, wait)
}

// challengeAllowsRefresh reports whether a new token of the same session might
// help: false if the server says that it wants a wider scope (RFC 6750, section
// 3.1) or another login (RFC 9470, section 3), or if it is about the proof that came with the
// token (RFC 9449, sections 7.1 and 9).
func challengeAllowsRefresh(resp *http.Response) bool {
	for _, c := range Challenges(resp) {
		if !strings.EqualFold(c.Scheme, "Bearer") && !strings.EqualFold(c.Scheme, "DPoP") {
			continue
		}
		switch c.Params["error"] {
		case "insufficient_scope", "insufficient_user_authentication", "use_dpop_nonce", "invalid_dpop_proof":
			return false
		}
	}
	return true
}

// RenewedHeader is a Config.Renewed for servers that put the new access token into
// a header of their answers, bare, without a scheme: RenewedHeader("X-Auth-Token").
// The header's other values, if it comes more than once, are not looked at. [New] refuses
// what a name gives that cannot be a header's (RFC 9110, section 5.1), and that finds no
// token in any answer.
func RenewedHeader(name string) func(*http.Response) (*Token, bool) {
	if !isHeaderName(name) {
		return unnamed // it may come from a configuration file, so this is no panic
	}
	name = http.CanonicalHeaderKey(name)
	return func(resp *http.Response) (*Token, bool) {
		value := ""
		if values := resp.Header[name]; len(values) > 0 {
			value = strings.TrimSpace(values[0])
		}
		if value == "" {
			return nil, false
		}
		return &Token{AccessToken: value}, true
	}
}

// unnamed is the RenewedHeader of a name that no header can have.
func unnamed(*http.Response) (*Token, bool) { return nil, false }

// isUnnamed reports whether f is unnamed. No two functions that are declared share their
// code; closures may, and so unnamed is none.
func isUnnamed(f func(*http.Response) (*Token, bool)) bool {
	return reflect.ValueOf(f).Pointer() == reflect.ValueOf(unnamed).Pointer()
}
