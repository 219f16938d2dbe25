// Package login gets a session its first token: by a browser on this machine, or by a code
// that a person types in a browser elsewhere. Two functions are enough for most programs,
// and one [Config] for both:
//
//	refresher := &discovery.Refresher{Issuer: "https://auth.example.com", Make: …}
//	session, err := tokenclient.New(tokenclient.Config{Refresher: refresher, …})
//	…
//	if _, err := session.Token(ctx); errors.Is(err, tokenclient.ErrLoginRequired) {
//		err = login.Browser(ctx, session, login.Config{Refresher: refresher, Scope: "offline_access"})
//	}
//
// [Browser] is for programs whose user sits at this machine, and [Device] for all others:
// over SSH, in a container, on a television. A program that may be either asks
// [OpenBrowser], or its user. docs/logging-in.md has more of that. Both end in
// [tokenclient.Session.SetToken]. Passwords and tokens that come otherwise have
// [tokenclient.PasswordLogin] and [tokenclient.OAuth2Refresher.Login].
//
// Requests are made, answers read, and errors made by the session's own OAuth2Refresher:
// by its HTTPClient and ClientAuth, with its bounds, and without secrets in errors. What the
// browser is sent to is made by golang.org/x/oauth2.
//
// # What is checked
//
// The port of Browser is open for the requests of every program and every web page on this
// machine. What counts is a GET of the redirect URL by its own host, whose query has the
// login's state, once: 130 random bits, compared in constant time. All else is answered
// with an error page and changes nothing, so that a page that tries out ports cannot end
// a login, nor one that another login left behind. The first answer with the state is the
// only one; then
//
//   - iss has to be the issuer of the metadata, byte for byte, if it is there, and it has to
//     be there if the metadata says so (RFC 9207). Without Metadata.Issuer it is not looked at;
//   - no parameter is there twice (RFC 6749, section 3.1);
//   - the code is exchanged once, with the PKCE verifier, which no other program has;
//   - if the scope has "openid", or Params a nonce, and the answer of the token endpoint an
//     ID token, its nonce is that of the login (OpenID Connect Core 1.0, section 3.1.3.7).
//
// Nothing else of an ID token is checked, and it is used for nothing: who wants to know from
// it who the user is, has a library for OpenID Connect verify the "id_token" in Token.Extra. One that
// is encrypted is not looked into.
//
// Of a device code, the page that the person is led to has to be https, or on this machine;
// and what is shown prints, and is short.
//
// Tokens that a Binder of the refresher binds, as that of package dpop does, are bound to a
// key that is new in each login. Browser says so when it asks for the code (dpop_jkt, RFC
// 9449, section 10), so that a code that was stolen is of no use without the key either.
//
// # What the browser keeps
//
// The answer is redirected to the same address without its query, before the page with the
// outcome is shown: the code is not in the address bar, nor in the history of that tab. The pages have no
// script, load nothing, show nothing of the answer, and are not cached; they send no Referer.
//
// # What stays behind
//
// Nothing: when a login returns, by success, failure, timeout or the end of its context, the
// port is closed and its goroutines have ended. Three exceptions have a bound: a Prompt that
// does not return in time, a browser that OpenBrowser started, for as long as it runs, and
// the five seconds in which a token is revoked that could not be stored.
//
// # What it is not for
//
// The address that is opened is among the arguments of a process while the browser starts.
// Other users of the machine can read it, and with it log the program in as themselves: it has no
// secret with which they could get a token of this user's. Redirects by https links or by a scheme of an app's
// own (RFC 8252, sections 7.1 and 7.2), and the logins of a web site, whose callback is a page of the site, are not in here:
// these use golang.org/x/oauth2, and hand their token to a session by package xoauth2.
package login
