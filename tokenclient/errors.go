package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
)

// What callers branch on. All of them work with [errors.Is] through the
// [*url.Error] that an [http.Client] returns, except after http.Client.Timeout,
// which replaces the error by text: give requests a context with a deadline
// instead.
var (
	// ErrLoginRequired says that there is no token and none can be had without
	// a new login: nobody logged in, somebody logged out, or the refresh token
	// was refused.
	ErrLoginRequired = errors.New("tokenclient: login required")

	// ErrStillRefused says that the token endpoint refused three refreshes in a row or more,
	// with answers that are not known to be final: a wrong client secret, a page of
	// something on the way, or an error code of the server's own. The session tries again,
	// more and more rarely, and never says ErrLoginRequired for it. Somebody has to look at the
	// [TokenError]: if such an answer means that only a login helps,
	// [OAuth2Refresher].Terminal can say so.
	ErrStillRefused = errors.New("tokenclient: the token endpoint keeps refusing")

	// ErrLoggedOut is returned to those who were waiting when Logout ran. It is
	// ErrLoginRequired too.
	ErrLoggedOut error = &kindError{"tokenclient: logged out", ErrLoginRequired}

	// ErrRejected is for the f of [Session.Do] to return, alone or wrapped: the server
	// refused the token that f was given. Do returns it if the server refused the second
	// one too.
	ErrRejected = errors.New("tokenclient: the server refused the token")

	// ErrClosed is returned by a Session, and by requests through its
	// Transport, after Close.
	ErrClosed = errors.New("tokenclient: session closed")

	// ErrNoKey is returned by a Pool for a request, or a call, that does not say
	// whose session it wants; see [WithKey].
	ErrNoKey = errors.New("tokenclient: no key in the context")

	// ErrReentrant is returned to a Refresher or a Store that calls back into
	// the session, with the context it was given, for a token that only its own
	// return can bring, or to close it; and to a PoolConfig.Config that needs the Pool
	// to return.
	ErrReentrant = errors.New("tokenclient: called from inside its own refresh")

	// ErrStoreUnavailable says that a Store is locked, full, read-only or cannot
	// be reached. It says nothing about whether there is a token.
	ErrStoreUnavailable = errors.New("tokenclient: store locked or unavailable")

	// ErrStoreCorrupt says that what a Store holds cannot be understood. It is
	// not overwritten but by a login.
	ErrStoreCorrupt = errors.New("tokenclient: stored token corrupt")
)

// What passes between a [Store] and those who use one.
var (
	// ErrNoToken says that a record is absent or a tombstone.
	ErrNoToken = errors.New("tokenclient: no token stored")

	// ErrRefused is returned by the fn of [Store.Refresh] for a refresh token
	// that the server refused for good. It is ErrLoginRequired too.
	ErrRefused error = &kindError{"tokenclient: refresh token refused", ErrLoginRequired}

	// ErrNotPresented says that the refresh token was certainly not sent.
	ErrNotPresented = errors.New("tokenclient: refresh token not presented")

	// ErrAnnounced is returned by [Store.Save]: somebody may be exchanging the
	// refresh token that the new token keeps, so that is not stored. It is
	// ErrNotPresented too.
	ErrAnnounced error = &kindError{ErrNotPresented.Error() + ": somebody else may have presented it", ErrNotPresented}

	// ErrReplaced says that another login or logout is stored: a new token that
	// was made from the old one should be revoked.
	//
	// A request gets it whose token was refused, or that waited for one, if meanwhile
	// another login took the place of the one that it began with, here or in another
	// process: it may have been meant for another user. The next one is sent with the
	// new login's token, and so is this one if both access tokens are JWTs with the same
	// issuer and subject.
	ErrReplaced = errors.New("tokenclient: replaced by another login or logout")

	// errOtherLogin is ErrReplaced as a request gets it.
	errOtherLogin error = &kindError{ErrReplaced.Error() + " after the request had begun", ErrReplaced}

	// ErrOvertaken says that a later token of the same login is stored: a new
	// token should be dropped, but not revoked.
	ErrOvertaken = errors.New("tokenclient: overtaken by another refresh")
)

// kindError is a sentinel that is another one too.
type kindError struct {
	text string
	kind error
}

func (e *kindError) Error() string { return e.text }
func (e *kindError) Unwrap() error { return e.kind }

// A TokenError is a refresh, a login or a revocation that failed at the token
// endpoint or on the way to it. Its message names the endpoint and the cause and
// holds no secret.
type TokenError struct {
	// Endpoint is the host and path that was asked, without the query. It is
	// empty if the [Refresher] did not say.
	Endpoint string

	// StatusCode is the status of the answer, 0 if there was no complete answer.
	StatusCode int

	// Code and Description are the "error" and "error_description" of the answer
	// (RFC 6749, section 5.2), or what the server has in their place, shortened. If
	// what was sent occurs in one, a token or a password, all of it is left out.
	Code, Description string

	// RetryAfter is how long the server asked to wait, 0 if it did not.
	RetryAfter time.Duration

	// Err is the cause: it is ErrLoginRequired if only a login helps, and
	// ErrNotPresented if nothing was sent. It may be nil.
	Err error
}

// Error names the endpoint, the status and the cause.
func (e *TokenError) Error() string {
	msg := "tokenclient: token endpoint"
	if e.Endpoint != "" {
		msg += " " + e.Endpoint
	}
	if e.StatusCode != 0 {
		msg += fmt.Sprintf(": status %d", e.StatusCode)
	}
	if e.Code != "" {
		msg += ": " + e.Code
	}
	if e.Description != "" {
		msg += fmt.Sprintf(" (%s)", e.Description)
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

// Unwrap returns Err.
func (e *TokenError) Unwrap() error { return e.Err }

// Temporary reports whether the same call may succeed later: there was no answer
// or an unusable one, or its status was 408, 425, 429 or 5xx. It is false for a
// refusal that needs a login, and for what only a change of configuration mends.
func (e *TokenError) Temporary() bool {
	if errors.Is(e.Err, ErrLoginRequired) {
		return false
	}
	switch s := e.StatusCode; {
	case s == 408, s == 425, s == 429:
		return true
	default:
		return s < 300 || s >= 500
	}
}

// Timeout reports whether there was no answer in time. It is here because
// [*url.Error] asks only the error that it holds.
func (e *TokenError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &t) && t.Timeout()
}

var _ net.Error = (*TokenError)(nil)

// A NotSavedError says that a refresh succeeded and its result is not stored.
// The old refresh token is spent: use Token, never the stored one. A Session
// that gets one uses the token, tries to save it again with backoff, and makes a
// last attempt in [Session.Close], which returns the error if that fails.
//
// It shows no secret when printed.
type NotSavedError struct {
	Key   string // whose token it is
	Token *Token // the token that is not stored
	Err   error  // why

	slot  chan struct{} // holds one element while a save runs; guards again and done
	again func(context.Context) error
	done  error
}

// NewNotSavedError is for implementations of [Store.Refresh]. again tries to save
// t once more; it is never called twice at the same time, nor after it returned
// nil or an error that is ErrReplaced or ErrOvertaken.
func NewNotSavedError(key string, t *Token, err error, again func(context.Context) error) *NotSavedError {
	return &NotSavedError{Key: key, Token: t, Err: err, slot: make(chan struct{}, 1), again: again}
}

// Save tries again to store Token. It returns nil once the token is stored, an
// error that is ErrReplaced or ErrOvertaken if it need not be stored any more,
// and otherwise why it could not be stored. It is safe for concurrent use.
func (e *NotSavedError) Save(ctx context.Context) error {
	if e.slot == nil {
		return e
	}
	select {
	case e.slot <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-e.slot }()
	if e.again == nil {
		return e.done
	}
	err := e.again(ctx)
	if err == nil || errors.Is(err, ErrReplaced) || errors.Is(err, ErrOvertaken) {
		e.again, e.done = nil, err
	}
	return err
}

// Error names the key and the cause.
func (e *NotSavedError) Error() string {
	return fmt.Sprintf("tokenclient: refreshed token of key %q not saved: %v", e.Key, e.Err)
}

// Unwrap returns Err.
func (e *NotSavedError) Unwrap() error { return e.Err }

// asTokenError makes what went wrong in a Refresher a *TokenError that is the
// outermost error, shows neither secret of the token that was presented, and is
// ErrRefused if only a login helps.
func asTokenError(err error, old *Token) *TokenError {
	te, ok := err.(*TokenError)
	if !ok {
		te = &TokenError{Err: err}
		var inner *TokenError
		if errors.As(err, &inner) { // its facts, without saying it all twice
			te = &TokenError{StatusCode: inner.StatusCode, RetryAfter: inner.RetryAfter, Err: err}
		}
	}
	te = showable(te, old)
	if errors.Is(te, ErrLoginRequired) && !errors.Is(te, ErrNotPresented) && !errors.Is(te, ErrRefused) {
		c := *te
		c.Err = &refusedError{c.Err}
		te = &c
	}
	return te
}

// showable returns te without the secrets of old, and without what may be keys in URLs.
func showable(te *TokenError, old *Token) *TokenError {
	secrets := redact.Secrets{old.AccessToken, old.RefreshToken, old.Binding}
	c := *te
	c.Endpoint, c.Code, c.Description = secrets.Replace(te.Endpoint), secrets.Replace(te.Code), secrets.Replace(te.Description)
	if te.Err != nil {
		was := te.Err.Error()
		if text := secrets.Replace(redact.URLs(was, te.Err)); text != was {
			c.Err = redact.Error(text, te.Err)
		}
	}
	return &c
}

// refused reports whether the token endpoint answered something that the same call will not
// mend, without a word that is known to be final.
func (e *TokenError) refused() bool {
	if e.Code == "use_dpop_nonce" { // RFC 9449, section 8: it has not looked at anything else
		return false
	}
	return e.StatusCode != 0 && (e.StatusCode < 300 || !e.Temporary()) && !errors.Is(e.Err, ErrLoginRequired)
}

// stillRefused returns e as the error of that many refusals in a row.
func (e *TokenError) stillRefused(refusals int) *TokenError {
	c := *e
	c.Err = &stillRefusedError{refusals, e.Err}
	return &c
}

// stillRefusedError is ErrStillRefused in addition to what it holds, which may be nil.
type stillRefusedError struct {
	refusals int
	err      error
}

func (e *stillRefusedError) Error() string {
	text := fmt.Sprintf("refused %d times in a row (is that final? see Terminal of the Refresher)", e.refusals)
	if e.err != nil {
		text += ": " + e.err.Error()
	}
	return text
}
func (e *stillRefusedError) Unwrap() error        { return e.err }
func (e *stillRefusedError) Is(target error) bool { return target == ErrStillRefused }

// refusedError is ErrRefused in addition to what it holds.
type refusedError struct{ err error }

func (e *refusedError) Error() string        { return e.err.Error() }
func (e *refusedError) Unwrap() error        { return e.err }
func (e *refusedError) Is(target error) bool { return target == ErrRefused }
