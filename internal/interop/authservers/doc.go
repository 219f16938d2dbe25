// Package authservers tests sessions against authorization servers that others wrote: ory/fosite,
// which is what Ory Hydra is made of, and the op of zitadel/oidc. They run in the test's own
// process, rotate refresh tokens, and end a login whose refresh token comes a second time. What
// they counted is what decides.
//
// Neither has DPoP (RFC 9449) for access tokens: fosite v0.49 has none, and zitadel/oidc v3.52
// binds ID tokens alone.
package authservers
