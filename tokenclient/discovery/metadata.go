package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
)

// Metadata is what an authorization server says of itself (RFC 8414, section 2). An
// endpoint that it does not have is empty, a list that it leaves out is nil.
type Metadata struct {
	// Issuer is what was asked for.
	Issuer string

	// The endpoints. They have been checked; see the package documentation.
	TokenEndpoint               string // always there
	AuthorizationEndpoint       string
	RevocationEndpoint          string // RFC 7009
	DeviceAuthorizationEndpoint string // RFC 8628
	RegistrationEndpoint        string // RFC 7591

	// GrantTypes is grant_types_supported. Nil means authorization_code and implicit.
	GrantTypes []string

	// TokenAuthMethods is token_endpoint_auth_methods_supported: how a client may prove who
	// it is, such as "client_secret_basic", "private_key_jwt" or "none". Nil means
	// client_secret_basic.
	TokenAuthMethods []string

	// TokenAuthSigningAlgs is token_endpoint_auth_signing_alg_values_supported, for
	// private_key_jwt and client_secret_jwt.
	TokenAuthSigningAlgs []string

	// RevocationAuthMethods is revocation_endpoint_auth_methods_supported. Nil means
	// client_secret_basic.
	RevocationAuthMethods []string

	// Scopes is scopes_supported, which need not be all.
	Scopes []string

	// CodeChallengeMethods is code_challenge_methods_supported (RFC 7636). Nil means that
	// the server has no PKCE, or does not say so.
	CodeChallengeMethods []string

	// DPoPAlgs is dpop_signing_alg_values_supported (RFC 9449, section 5.1).
	DPoPAlgs []string

	// Extra holds all other members as they came, such as jwks_uri or
	// mtls_endpoint_aliases (RFC 8705, section 5). They have not been checked. Nil if
	// there are none.
	Extra map[string]json.RawMessage
}

// metadata reads the metadata of an issuer, which is at from.
func (c *Client) metadata(m members, issuer string, from origin.Origin) (*Metadata, error) {
	md := &Metadata{Issuer: m.take("issuer")}
	if md.Issuer != issuer { // RFC 8414, section 3.3
		return nil, fmt.Errorf("the issuer in it is %q", redact.Clean(md.Issuer, maxShown))
	}
	for _, e := range []struct {
		name string
		to   *string
	}{
		{"token_endpoint", &md.TokenEndpoint},
		{"authorization_endpoint", &md.AuthorizationEndpoint},
		{"revocation_endpoint", &md.RevocationEndpoint},
		{"device_authorization_endpoint", &md.DeviceAuthorizationEndpoint},
		{"registration_endpoint", &md.RegistrationEndpoint},
	} {
		if *e.to = m.take(e.name); *e.to == "" {
			continue
		}
		if err := c.checkURL(*e.to, from); err != nil {
			return nil, fmt.Errorf("%s %w", e.name, err)
		}
	}
	if md.TokenEndpoint == "" {
		return nil, errors.New("there is no token_endpoint in it")
	}
	md.GrantTypes = m.takeList("grant_types_supported")
	md.TokenAuthMethods = m.takeList("token_endpoint_auth_methods_supported")
	md.TokenAuthSigningAlgs = m.takeList("token_endpoint_auth_signing_alg_values_supported")
	md.RevocationAuthMethods = m.takeList("revocation_endpoint_auth_methods_supported")
	md.Scopes = m.takeList("scopes_supported")
	md.CodeChallengeMethods = m.takeList("code_challenge_methods_supported")
	md.DPoPAlgs = m.takeList("dpop_signing_alg_values_supported")
	md.Extra = m.rest()
	return md, nil
}

func (md *Metadata) clone() *Metadata {
	c := *md
	for _, list := range []*[]string{
		&c.GrantTypes, &c.TokenAuthMethods, &c.TokenAuthSigningAlgs, &c.RevocationAuthMethods,
		&c.Scopes, &c.CodeChallengeMethods, &c.DPoPAlgs,
	} {
		*list = slices.Clone(*list)
	}
	c.Extra = members(md.Extra).rest()
	return &c
}

// rest is a copy of m, nil if it is empty.
func (m members) rest() map[string]json.RawMessage {
	if len(m) == 0 {
		return nil
	}
	c := make(map[string]json.RawMessage, len(m))
	for name, raw := range m {
		c[name] = bytes.Clone(raw)
	}
	return c
}
