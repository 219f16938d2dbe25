package endpoint

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// maxPeek is the longest access token that is looked into.
	maxPeek = 16 << 10

	// maxLifetime bounds what a server may claim, so that no sum of it overflows.
	maxLifetime = 100 * 365 * 24 * time.Hour

	// millisecondsFrom is where a number of seconds since 1970 is read as
	// milliseconds: as seconds it would be the year 5138, as milliseconds it is
	// 1973.
	millisecondsFrom = 1e11

	// maxUnix is the last second of the year 9999, the last that RFC 3339 can
	// write and package time can marshal.
	maxUnix = 253402300799
)

// JWTExpiry returns what the claims of accessToken say about its lifetime, if it
// is a JWT (RFC 7519, sections 4.1.4 and 4.1.6). Zero times mean unknown; there
// are no errors.
//
// The signature is not verified, and could not be: an access token is opaque to a
// client, which has no key for it. What it claims decides only when to refresh;
// whether it is accepted is the resource server's business. A lie costs a refresh
// too early or a rejected request, both of which the issuer can cause anyway.
//
// With issued, the expiry is issued plus exp minus iat, so that a clock that
// differs from the server's does no harm; without iat it is exp, unless that is
// not after issued. With issued zero it is exp as it stands.
func JWTExpiry(accessToken string, issued time.Time) (expiry, iat time.Time) {
	exp, iat := jwtTimes(accessToken)
	if exp.IsZero() || issued.IsZero() {
		return exp, iat
	}
	lifetime := exp.Sub(issued)
	if !iat.IsZero() && exp.After(iat) {
		lifetime = exp.Sub(iat)
	}
	return Expiry(issued, lifetime), iat
}

// SameSubject reports whether two access tokens are known to be of the same user: both are
// JWTs with the same subject of the same issuer (RFC 7519, sections 4.1.1 and 4.1.2; RFC
// 9068, section 2.2, demands both claims). Here too no signature is verified: who can make
// a login's token lie about that can make it anybody's.
func SameSubject(a, b string) bool {
	one, other := jwtClaims(a), jwtClaims(b)
	subject, _ := one["sub"].(string)
	issuer, _ := one["iss"].(string)
	return subject != "" && other["sub"] == any(subject) &&
		(one["iss"] == nil && other["iss"] == nil || issuer != "" && other["iss"] == any(issuer))
}

// jwtTimes returns the claims exp and iat of accessToken, zero where it says nothing.
func jwtTimes(accessToken string) (exp, iat time.Time) {
	claims := jwtClaims(accessToken)
	return unixClaim(claims["exp"]), unixClaim(claims["iat"])
}

// jwtLifetime is how long accessToken itself says that it lives, 0 if it does not.
func jwtLifetime(accessToken string) time.Duration {
	exp, iat := jwtTimes(accessToken)
	if exp.IsZero() || iat.IsZero() {
		return 0
	}
	return max(exp.Sub(iat), 0)
}

// Expiry returns when what was issued then ends; zero if lifetime makes no
// sense. No lifetime is longer than 100 years.
func Expiry(issued time.Time, lifetime time.Duration) time.Time {
	if lifetime <= 0 {
		return time.Time{}
	}
	t := issued.Round(0).Add(min(lifetime, maxLifetime))
	if t.Unix() > maxUnix {
		return time.Time{}
	}
	return t
}

// jwtClaims returns the claims of a signed JWT; none if token is no JWT, or is longer
// than what is looked into.
func jwtClaims(token string) jwt.MapClaims {
	claims := jwt.MapClaims{}
	if len(token) > maxPeek {
		return claims
	}
	// The error is not looked at: claims holds what could be read, and what could not
	// does not matter here. The parser wants to know the alg and to decode the signature,
	// too, but not before it has the claims; there are servers with an alg of their own.
	// RFC 7515 forbids padding, and some servers pad all the same.
	parser := jwt.NewParser(jwt.WithJSONNumber(), jwt.WithPaddingAllowed())
	_, _, _ = parser.ParseUnverified(token, claims)
	return claims
}

// unixClaim reads a NumericDate (RFC 7519, section 2), or what servers send in
// its place: a string, or milliseconds. It returns zero if that is not within the
// years 1970 to 9999.
//
// MapClaims has methods that read dates, strictly: a string is an error, milliseconds are
// a year beyond 50,000, and a number that no time can hold is any time at all.
func unixClaim(claim any) time.Time {
	var text string
	switch v := claim.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	f, ok := parseNumber(text)
	if !ok {
		return time.Time{}
	}
	milliseconds := f >= millisecondsFrom
	if milliseconds {
		f /= 1000
	}
	switch {
	case f < 1 || f > maxUnix:
		return time.Time{}
	case milliseconds: // whoever counts them may mean them
		return time.UnixMilli(int64(math.Round(f * 1000)))
	}
	return time.Unix(int64(f), 0)
}

// parseNumber reads a decimal number. It refuses what package strconv reads
// beyond JSON's numbers: hexadecimal, "inf", "nan", underscores.
func parseNumber(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}
