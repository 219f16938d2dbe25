package tokentest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Demand is what the API wants beyond a token that is good. What is empty it does not want.
// A login has the scope, the first of acr_values and the claims that its authorization request
// had, or the call of /oauth/device; refreshing changes none of it. It is as old as it is by
// the server's clock.
type Demand struct {
	// Path is where: "/api/payments" is it and all that begins with "/api/payments/". Empty:
	// everywhere.
	Path string

	// Scope is a list separated by spaces, all of which the login must have. Else: 403,
	// insufficient_scope (RFC 6750, section 3.1).
	Scope string

	// ACRValues is such a list, one of which the login must have, and MaxAge how old it may be.
	// Negative: none is fresh enough. Zero: MaxAge does not count. Else: 401,
	// insufficient_user_authentication (RFC 9470, section 3).
	ACRValues string
	MaxAge    time.Duration

	// Claims is the JSON object that the login must have been made with, to the letter. Else:
	// 401, insufficient_claims, as Microsoft Entra sends it.
	Claims string
}

// covers reports whether d is about path.
func (d *Demand) covers(path string) bool {
	below, ok := strings.CutPrefix(path, strings.TrimSuffix(d.Path, "/"))
	return ok && (d.Path == "" || below == "" || below[0] == '/')
}

// A strength is what a login is good for, beside that it is one.
type strength struct {
	scope, acr, claims string
	at                 time.Time // by the server's clock
}

// strengthLocked is that of a login which was asked for by params.
func (s *Server) strengthLocked(params url.Values) strength {
	acr, _, _ := strings.Cut(params.Get("acr_values"), " ")
	return strength{params.Get("scope"), acr, params.Get("claims"), s.options.now()}
}

// lacks returns the challenge for a login that does not meet d at now, and its status. 0: it does.
func (d *Demand) lacks(l strength, scheme string, now time.Time) (status int, challenge string) {
	is := func(list string) func(string) bool {
		return func(word string) bool { return slices.Contains(strings.Fields(list), word) }
	}
	missing := func(word string) bool { return !is(l.scope)(word) }
	weak := d.ACRValues != "" && !is(d.ACRValues)(l.acr)
	old := d.MaxAge != 0 && now.Sub(l.at) > d.MaxAge
	switch {
	case d.Claims != "" && l.claims != d.Claims:
		claims := base64.StdEncoding.EncodeToString([]byte(d.Claims))
		return http.StatusUnauthorized, fmt.Sprintf(`%s realm="", error="insufficient_claims", claims=%q`, scheme, claims)
	case weak || old:
		challenge = scheme + ` error="insufficient_user_authentication"`
		if d.ACRValues != "" {
			challenge += fmt.Sprintf(", acr_values=%q", d.ACRValues)
		}
		if d.MaxAge != 0 {
			challenge += fmt.Sprintf(", max_age=%q", strconv.Itoa(int(max(d.MaxAge, 0)/time.Second)))
		}
		return http.StatusUnauthorized, challenge
	case slices.ContainsFunc(strings.Fields(d.Scope), missing):
		return http.StatusForbidden, fmt.Sprintf(`%s error="insufficient_scope", scope=%q`, scheme, d.Scope)
	}
	return 0, ""
}

// demandLocked returns the answer to a request with a good token of f that is not enough; status
// 0: it is.
func (s *Server) demandLocked(f *family, path, scheme string) (status int, challenge string) {
	for i := range s.options.Demands {
		d := &s.options.Demands[i]
		if !d.covers(path) {
			continue
		}
		if status, challenge = d.lacks(f.strength, scheme, s.options.now()); status != 0 {
			return status, challenge
		}
	}
	return 0, ""
}

// IssueFor is [Server.Issue] after a login that was asked for by params: scope, acr_values
// and claims, as [tokenclient.Demand.Params] has them but for the scope.
func (s *Server) IssueFor(user string, params url.Values) *tokenclient.Token {
	t := s.Issue(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.findLocked(t.AccessToken).family.strength = s.strengthLocked(params)
	t.Scope = params.Get("scope")
	return t
}
