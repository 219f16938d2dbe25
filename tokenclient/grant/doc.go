// Package grant has what can be exchanged for a token in the place of a refresh token: the
// client's own name ([ClientCredentials]), another token ([TokenExchange]), and a signed
// assertion ([SignedJWT], [JWTBearer]).
//
// Each is a [tokenclient.Grant], for the field of that name:
//
//	session, err := tokenclient.New(tokenclient.Config{
//		Refresher: &tokenclient.OAuth2Refresher{
//			TokenURL:   "https://auth.example.com/token",
//			ClientAuth: tokenclient.ClientSecretBasic("my-service", secret),
//			Grant:      grant.ClientCredentials{},
//			Scope:      "read",
//		},
//		Origins: []string{"https://api.example.com"},
//	})
//
// Such a session needs no login and no store: the first request fetches a token, and the
// next ones use it until it is about to expire. With a store, the processes that share it
// share one token. Scope, and whatever else the server wants, are fields of the
// refresher.
//
// No answer of the server ends such a session, unless the refresher's Terminal says so, for
// there is nothing that a login would bring.
//
// # Secrets
//
// What proves something, an assertion or a token, is kept out of errors, also when the
// server quotes it. What these grants print, by any verb of package fmt or as JSON, shows
// neither a key nor a token.
package grant
