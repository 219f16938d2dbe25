// Package clientauth has the ways in which a client proves to a token endpoint who it is,
// beyond those of package tokenclient: signed JWTs (RFC 7523 and OpenID Connect Core),
// certificates (RFC 8705), and HTTP Basic as servers read it that do not decode.
//
// Each function returns a [tokenclient.ClientAuth] for the field of that name:
//
//	&tokenclient.OAuth2Refresher{
//		TokenURL:   "https://auth.example.com/token",
//		ClientAuth: clientauth.PrivateKeyJWT("my-app", key, nil),
//	}
//
// The names that servers have for them in token_endpoint_auth_methods_supported (RFC 8414,
// section 2) are
//
//	none                         tokenclient.PublicClient
//	client_secret_basic          tokenclient.ClientSecretBasic, or PlainBasic
//	client_secret_post           tokenclient.ClientSecretPost
//	client_secret_jwt            ClientSecretJWT
//	private_key_jwt              PrivateKeyJWT
//	tls_client_auth              MutualTLS
//	self_signed_tls_client_auth  MutualTLS
//
// and [NoClient] is for grants that need no client.
//
// # Mistakes
//
// What can be seen to be wrong, tokenclient.New refuses, by the argument or the field and
// with what to write there: a key for which there is no algorithm, an algorithm that is
// not for the key, a secret that is too short for one, an empty id.
//
// # Secrets
//
// What these functions return prints as the function's name and the client's id, by every
// verb of package fmt, as JSON, and in the fields of other structs. It may be used by
// many goroutines if the crypto.Signer in it may.
package clientauth
