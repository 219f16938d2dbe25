package tokenclient

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/proof"
)

// A Refresher exchanges an old token for a new one, over the network.
// [OAuth2Refresher] and [JSONRefresher] are the ones most programs need.
//
// Refresh is called by one goroutine at a time per Session. old is never nil and
// must not be changed. Refresh must return soon after ctx ends; one that does not
// may be called again beside itself.
//
// A new token without a RefreshToken keeps the old one (RFC 6749, section 6). Its
// Expiry, if zero, may be read from the access token if that is a JWT; its
// Issued, if zero, is when Refresh was called.
//
// What an error means:
//
//   - One that is [ErrLoginRequired]: the refresh token is dead; only a login helps.
//   - One that is [ErrNotPresented], or a [*TokenError] with a StatusCode of 4xx
//     other than 408: the refresh token was not spent; try again later.
//   - A [*TokenError] with a StatusCode of 2xx: the refresh token was most likely spent,
//     and the answer is of no use. It is tried again later, but not at once.
//   - Any other: the refresh token may have been spent, and the answer was lost.
//
// What an error says of old's tokens, as they are or encoded, and of the queries of
// URLs in a [*url.Error], is left out where a Session shows it.
//
// A Refresher that has a method Validate() error is asked by [New], and by a [Pool] when
// it makes a session, whether it can work at all. The error becomes theirs. It should
// name the field and what to write there, and show no secret. Validate must be quick: it
// looks at fields, and asks nobody. It is not asked again. A struct that embeds an
// OAuth2Refresher or a JSONRefresher has that one's Validate, unless it has its own; one
// that wraps any Refresher has to pass the question on. What goes for a Refresher here
// goes for a [ClientAuth] and an [Attacher].
//
// A Refresher may have two more methods, which the refreshers of this package have. What is
// said of embedding goes for these too.
//
//   - CanRefresh(t *Token) bool reports whether Refresh can do anything with t, which is
//     never nil. Without it, that is so unless t is empty. One that can do without any
//     token, such as client credentials, says yes to an empty one: then a session needs no
//     login, and gets its first token with its first request. It must be quick.
//   - Endpoints() []string returns the URLs that its requests go to. A request to one of
//     them through the session's own client gets no token and waits for none: it may be
//     a part of a refresh.
//
// A Refresher that makes its requests through the session's own client must pass
// ctx on; a call that only its own return could answer fails with ErrReentrant.
type Refresher interface {
	Refresh(ctx context.Context, old *Token) (*Token, error)
}

// canRefresher and endpointer are what a Refresher may be besides.
type (
	canRefresher interface{ CanRefresh(t *Token) bool }
	endpointer   interface{ Endpoints() []string }
)

// canRefresh reports whether r can do anything with t, as far as is known.
func canRefresh(r Refresher, t *Token) bool {
	if c, ok := r.(canRefresher); ok {
		return c.CanRefresh(t)
	}
	return r != nil && (t.AccessToken != "" || t.RefreshToken != "")
}

// endpointsOf returns where r's requests go to, as far as is known.
func endpointsOf(r Refresher) []string {
	if e, ok := r.(endpointer); ok {
		return e.Endpoints()
	}
	return nil
}

// A RefresherFunc is a function as a [Refresher].
type RefresherFunc func(ctx context.Context, old *Token) (*Token, error)

// Refresh calls f.
func (f RefresherFunc) Refresh(ctx context.Context, old *Token) (*Token, error) { return f(ctx, old) }

// A Revoker is a [Refresher] that can also tell the server to forget a token.
// [Session.Logout] uses it, as does a refresh that finished after a logout.
type Revoker interface {
	// Revoke ends t's refresh token, or its access token if there is no other
	// (RFC 7009).
	Revoke(ctx context.Context, t *Token) error
}

// A Grant is what is exchanged for a token, in the place of a refresh token. Package grant
// has those of the RFCs. A Grant is safe for concurrent use, and may have a method Validate,
// as a [Refresher] may.
type Grant interface {
	// Params returns what the grant sends: grant_type and what belongs to it. old is the
	// token that is to be replaced, never nil, and empty if there is none yet. Params must return
	// soon after ctx ends.
	//
	// An error means that nothing is sent. What is sent is treated as secret, but for
	// grant_type, scope, audience, resource and the types of tokens (RFC 8693): it is kept
	// out of errors.
	Params(ctx context.Context, old *Token) (url.Values, error)
}

// A Binder has servers bind tokens to a key of the client's, so that a thief has no use for
// them. Package dpop has one (RFC 9449). A Binder is safe for concurrent use, and may have a
// method Validate, as a [Refresher] may.
type Binder interface {
	// NewBinding makes the [Token].Binding of a login that has not happened yet, for
	// [WithBinding]. thumbprint is what an authorization request says of it, as dpop_jkt
	// (RFC 9449, section 10); empty: nothing.
	NewBinding() (binding, thumbprint string, err error)

	// Bind is called before each call of a token or revocation endpoint. t is the token that
	// is exchanged or revoked, never nil; of a login it has nothing but the Binding of
	// WithBinding, or not even that. binding is what goes with the token of the answer, and
	// proof puts on the request what proves it: it is asked for each sending, with a token
	// that has the binding, and is told of each answer if it has a method Answered, as an
	// [Attacher] may. (It may read the body there.) The call is made again at most twice for that,
	// and never after a success.
	//
	// An error means that nothing is sent. One that is ErrLoginRequired says that what t is
	// bound to is lost.
	Bind(ctx context.Context, t *Token) (binding string, proof Attacher, err error)
}

type bindingKey struct{}

// WithBinding returns a context in which [OAuth2Refresher].Login binds the token to binding,
// which is of [Binder].NewBinding. Without it a Binder makes a new one. It is for logins
// that name their key before they have the code, and for polls of a device code.
func WithBinding(ctx context.Context, binding string) context.Context {
	return context.WithValue(ctx, bindingKey{}, func() string { return binding }) // a context prints its strings
}

// bindingOf returns what WithBinding was given.
func bindingOf(ctx context.Context) string {
	if binding, ok := ctx.Value(bindingKey{}).(func() string); ok {
		return binding()
	}
	return ""
}

// bind has c prove what the token that it asks for is bound to in the place of t.
func (x *exchange) bind(ctx context.Context, c *endpoint.Call, t *Token) (binding string, err error) {
	if x.parts.Binder == nil {
		return "", nil
	}
	binding, proof, err := x.parts.Binder.Bind(ctx, t)
	if err != nil && x.parts.Grant != nil { // what it exchanges is not bound
		binding, proof, err = x.parts.Binder.Bind(ctx, new(Token))
	}
	if err != nil || proof == nil {
		return binding, err
	}
	bound := t.Clone().boundTo(binding)
	c.Secrets = append(c.Secrets, binding)
	c.Prove = func(req *http.Request) error { return proof.Attach(req, bound) }
	if a, ok := proof.(answerer); ok {
		c.Answered = func(req *http.Request, resp *http.Response) bool { return a.Answered(req, resp, bound) }
	}
	return binding, nil
}

// bindError is the error of a call that was not made because of err, of a Binder.
func bindError(c *endpoint.Call, err error) *TokenError {
	if !errors.Is(err, ErrLoginRequired) {
		return callError(c.NotPresented(noVerdict(err)))
	}
	e := callError(c.NotPresented(nil))
	e.Err = &notPresented{&kindError{err.Error(), ErrLoginRequired}}
	return e
}

// boundTo returns t, which may be nil, bound to binding.
func (t *Token) boundTo(binding string) *Token {
	if t != nil {
		t.Binding = binding
	}
	return t
}

// requestToken makes the call and returns the token of the answer, read as [ParseToken]
// does. terminal is asked about any other complete answer, whether only a login helps.
// Every error is a *TokenError.
func requestToken(ctx context.Context, c *endpoint.Call, f *JSONFields, terminal func(*endpoint.Answer) bool) (*Token, error) {
	a, failure := c.Do(ctx)
	if failure != nil {
		return nil, callError(failure)
	}
	var cause error
	if a.OK() {
		t, err := parseToken(a.Body, a.Clock(), f)
		if err == nil {
			return t, nil
		}
		cause = err
	}
	e := callError(a.Failure(cause))
	if terminal(a) {
		e.Err = ErrLoginRequired
	}
	return nil, e
}

// callError makes the error of a call that failed.
func callError(f *endpoint.Failure) *TokenError {
	e := &TokenError{
		Endpoint:    f.Endpoint,
		StatusCode:  f.Status,
		Code:        f.Code,
		Description: f.Description,
		RetryAfter:  f.RetryAfter,
		Err:         noVerdict(f.Cause),
	}
	if f.NotPresented {
		e.Err = &notPresented{e.Err}
	}
	return e
}

// noVerdict returns err as an error that is none of this package's verdicts. They are for
// this package to say: if a transport is that of another session, its need of a login is
// not ours.
func noVerdict(err error) error {
	is := func(target error) bool { return errors.Is(err, target) }
	if !slices.ContainsFunc([]error{ErrLoginRequired, ErrNotPresented, ErrReplaced, ErrOvertaken, ErrNoToken}, is) {
		return err
	}
	for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
		if is(cause) {
			return &kindError{err.Error(), cause}
		}
	}
	return errors.New(err.Error())
}

// notPresented is an error that is ErrNotPresented too, in addition to its own
// chain.
type notPresented struct{ error }

func (e *notPresented) Is(target error) bool { return target == ErrNotPresented }
func (e *notPresented) Unwrap() error        { return e.error }

// noRefreshToken is the error of a refresh at the URL with nothing to send. It ends the
// session without asking the server.
func noRefreshToken(rawURL string) *TokenError {
	err := &kindError{"the token has no refresh token; log in again", ErrLoginRequired}
	return &TokenError{Endpoint: endpoint.Name(rawURL), Err: &notPresented{err}}
}

// A ClientAuth proves to a token endpoint who the client is (RFC 6749, section
// 2.3). Its methods are called for each request to a token or revocation
// endpoint and must be safe for concurrent use.
//
// Servers disagree about which way they accept, and to try one after the other
// costs a refresh token where each may be presented once. So there is no default:
// use [PublicClient], [ClientSecretBasic] or [ClientSecretPost], one of package
// clientauth (signed JWTs, certificates), or an implementation of your own. One of your
// own may have a method Validate, as a [Refresher] may.
type ClientAuth interface {
	// Authenticate adds to form, the body of the request, or to header what
	// identifies the client. endpoint is the URL that the request goes to. An
	// error means that nothing is sent.
	//
	// What it adds is treated as secret, but for client_id: it is kept out of
	// errors.
	Authenticate(ctx context.Context, endpoint string, form url.Values, header http.Header) error
}

// PublicClient is for programs that cannot keep a secret, such as apps and
// command-line tools: the form names the client id and nothing proves it. It is
// the method "none" of RFC 7591, section 2.
//
// [New] refuses an id that is empty or has a control character in it, such as the line
// break at the end of a file.
func PublicClient(id string) ClientAuth {
	return proof.New("PublicClient", id, nil, func(_ context.Context, _ string, form url.Values, _ http.Header) error {
		form.Set("client_id", id)
		return nil
	})
}

// ClientSecretBasic sends the client's id and secret as HTTP Basic
// authentication, each of them form-urlencoded first as RFC 6749, section 2.3.1,
// demands. A few servers do not decode them: if yours does not and the secret has
// characters such as "+" or "/", use [ClientSecretPost], or PlainBasic of package
// clientauth.
//
// [New] refuses an id or a secret that is empty or has a control character in it, such as
// the line break at the end of a file: mostly a variable was not set. For a client whose
// secret is empty indeed, make a ClientAuth of your own.
//
// No verb of package fmt shows the secret.
func ClientSecretBasic(id, secret string) ClientAuth {
	wrong := proof.CheckSecret("ClientSecretBasic", secret)
	return proof.New("ClientSecretBasic", id, wrong, func(_ context.Context, _ string, _ url.Values, header http.Header) error {
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		return nil
	})
}

// ClientSecretPost sends the client's id and secret in the form (RFC 6749,
// section 2.3.1). [New] refuses the same ids and secrets as with [ClientSecretBasic].
//
// No verb of package fmt shows the secret.
func ClientSecretPost(id, secret string) ClientAuth {
	wrong := proof.CheckSecret("ClientSecretPost", secret)
	return proof.New("ClientSecretPost", id, wrong, func(_ context.Context, _ string, form url.Values, _ http.Header) error {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
		return nil
	})
}
