// Package dpop binds tokens to a key, so that whoever steals one has no use for it (RFC 9449,
// OAuth 2.0 Demonstrating Proof of Possession). One [Prover] does all of it:
//
//	proofs := new(dpop.Prover)
//	session, err := tokenclient.New(tokenclient.Config{
//		Refresher: &tokenclient.OAuth2Refresher{TokenURL: …, ClientAuth: …, Binder: proofs},
//		Attacher:  proofs,
//		…
//	})
//
// As the Binder of a Refresher it puts a proof on each call of the token endpoint: refreshes,
// logins, grants, revocations. As the Attacher of a session it puts the token and a proof on
// each request to an API. No proof is sent twice: a replay, a redirect and each other sending
// have their own.
//
// # The key
//
// A Prover makes a key for each login, unless it is given one for all: a [crypto.Signer], such
// as a TPM, an HSM or the operating system's keystore has. The key of a login is in the
// Binding of its [tokenclient.Token]. So it is stored and sealed as the tokens are, a process
// that shares the store has it, each session of a Pool has its own, and another login brings
// another one. Of a Signer the Binding has the thumbprint (RFC 7638).
//
// Before a refresh token is presented the key is looked at. If it is not the one that the token
// was bound to, or cannot be read, nothing is sent, no token is lost, and the error is
// ErrLoginRequired: only a login can bind tokens to another key. (With a Signer it may also
// help to start the program again with the right one: what is stored stays.)
//
// A login whose authorization request is to name the key (dpop_jkt) makes it first:
//
//	binding, thumbprint, err := proofs.NewBinding()
//	…
//	token, err := refresher.Login(tokenclient.WithBinding(ctx, binding), params)
//
// # Nonces and clocks
//
// A server may want its nonce in each proof, and says so by refusing one: the request is sent
// again with it, body included, without a refresh. Nonces are learned from each answer and kept
// for each origin, apart for authorization servers and APIs. A nonce of more than 2 KiB, or
// with a character that RFC 9449 does not allow, is ignored.
//
// A proof says when it was made, by the clock of this machine; once an answer's Date has shown
// that a server's clock differs, by the server's, for that server. Nothing is guessed: without a
// Date, or with one that is off by more than a day, the clock is left as it is; and a Date that is
// late only because the answer took long shows nothing.
//
// [tokenclient.Attacher] and [tokenclient.Binder] say how often a request is sent at most.
package dpop
