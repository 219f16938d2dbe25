package tokenclient

import (
	"context"
	"errors"
	"slices"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

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
		t, err := ParseToken(a.Body, a.Sent, f)
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
