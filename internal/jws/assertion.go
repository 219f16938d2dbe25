package jws

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode"
)

const (
	// DefaultLifetime is that of an assertion whose Lifetime is zero. It is what the
	// strictest servers allow.
	DefaultLifetime = time.Minute

	// Backdated is how much of its lifetime is over when an assertion is made. A server
	// whose clock is behind would otherwise say that it is from the future; some forgive
	// no second.
	Backdated = 10 * time.Second
)

// An Assertion is what JWTs of RFC 7523, section 3, have in common that are made one after
// another. It must not be changed after its first use.
type Assertion struct {
	Key      *Key
	Issuer   string
	Subject  string         // empty: none
	KeyID    string         // kid; empty: none
	Header   map[string]any // further members
	Claims   map[string]any // further ones
	Lifetime time.Duration  // from Backdated ago on; 0: DefaultLifetime
}

// Check reports what is wrong with a, by the name of the field: "the Header", for one.
func (a *Assertion) Check() error {
	for _, name := range []string{"alg", "kid"} {
		if _, set := a.Header[name]; set {
			return fmt.Errorf("the Header must not hold %s; set Algorithm or KeyID", name)
		}
	}
	for _, name := range []string{"iss", "sub", "aud", "iat", "nbf", "exp", "jti"} {
		if _, set := a.Claims[name]; set {
			return fmt.Errorf("the Claims must not hold %s, which is made of the other fields", name)
		}
	}
	if _, err := json.Marshal(a.Header); err != nil {
		return fmt.Errorf("the Header has a member that cannot be JSON: %w", err)
	}
	if _, err := json.Marshal(a.Claims); err != nil {
		return fmt.Errorf("the Claims have a member that cannot be JSON: %w", err)
	}
	if strings.ContainsFunc(a.KeyID, unicode.IsControl) {
		return errors.New("the KeyID has a control character in it, such as the line break at the end of a file; use strings.TrimSpace")
	}
	if a.Lifetime != 0 && a.Lifetime <= Backdated {
		return fmt.Errorf("the Lifetime is %v, and an assertion begins %v before it is sent; take a longer one, like time.Minute", a.Lifetime, Backdated)
	}
	return nil
}

var errNoAudience = errors.New("the assertion has no audience")

// Sign returns an assertion for audience with a jti that no other has.
func (a *Assertion) Sign(audience string) (string, error) {
	if audience == "" {
		return "", errNoAudience
	}
	header := maps.Clone(a.Header)
	if a.KeyID != "" {
		if header == nil {
			header = make(map[string]any)
		}
		header["kid"] = a.KeyID
	}
	lifetime := DefaultLifetime
	if a.Lifetime != 0 {
		lifetime = a.Lifetime
	}
	from := time.Now().Add(-Backdated)
	claims := map[string]any{
		"iss": a.Issuer,
		"aud": audience, // a string: some servers read no array, and none wants one
		"iat": from.Unix(),
		"nbf": from.Unix(),
		"exp": from.Add(lifetime).Unix(),
		"jti": rand.Text(),
	}
	if a.Subject != "" {
		claims["sub"] = a.Subject
	}
	maps.Copy(claims, a.Claims)
	return a.Key.Sign(header, claims)
}
