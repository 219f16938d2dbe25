// Package jws signs JWTs (RFC 7519) with keys that this process need not have.
//
// A key that matters is in an HSM, a TPM or a KMS, and shows itself as a [crypto.Signer]:
// it says what its public half is, and signs. golang-jwt makes and verifies tokens, but
// signs with RSA and ECDSA only if it is given the private key itself. So the signing
// methods here are those of golang-jwt with one method changed: a [Key] asks its signer,
// and nothing else. What JOSE writes otherwise than the rest of the world is put right
// there: an ECDSA signature is r and s side by side (RFC 7518, section 3.4), and not
// ASN.1; the salt of a PSS signature is as long as its hash (section 3.5).
//
// # What there is
//
//   - [NewKey] finds the algorithm for a signer, or refuses one that does not go with it.
//     [NewSecret] does that for a secret that both sides share.
//   - [Key.Sign] signs any header and claims. [Key.AppendSignature] signs what is encoded
//     already, as a DPoP proof (RFC 9449) is.
//   - [JWK] and [Thumbprint] write a public key (RFC 7517, RFC 7638).
//   - [Assertion] makes the claims that RFC 7523, section 3, asks for: a client's proof of who it
//     is, or the grant of a service account.
//
// # What is promised
//
//   - Whatever can be seen to be wrong with a key, an algorithm, a header or claims is an error
//     when they are put together, and not when a token is needed.
//   - No two assertions have the same jti. Whoever sends one again makes another.
//   - What a signer returns in the place of an ECDSA signature is an error, and no panic.
//   - No error shows a key.
//
// # What it does not know
//
// It knows no endpoint and no form, nor what an assertion is for. It verifies nothing.
// There is no context: a crypto.Signer takes none, so that one that asks a server has to
// have a timeout of its own.
package jws
