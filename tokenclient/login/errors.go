package login

import (
	"errors"
	"fmt"
)

// What callers branch on, by [errors.Is]. After both the login can be begun again.
var (
	// ErrDenied says that the person refused, or the server did in their place:
	// access_denied in RFC 6749, section 4.1.2.1, and RFC 8628, section 3.5.
	ErrDenied = errors.New("login: access denied")

	// ErrNotFinished says that nobody has logged in: Config.Timeout is over, or the code that
	// [Device] showed has expired.
	ErrNotFinished = errors.New("login: not finished in time")
)

// A ResponseError is an answer by which [Browser] got no code (RFC 6749, section 4.1.2.1). It
// is for this login: answers with another state are no errors, and are not waited for. It
// shows no secret.
type ResponseError struct {
	// Code and Description are the "error" and "error_description" of the answer, shortened.
	// Both are empty if the answer itself was wrong.
	Code, Description string

	// Err is what was wrong with the answer, or nil.
	Err error
}

// Error says what the server answered, or what was wrong with the answer.
func (e *ResponseError) Error() string {
	if e.Err != nil {
		return "login: the answer of the authorization server " + e.Err.Error()
	}
	msg := "login: the authorization server answered " + e.Code
	if e.Description != "" {
		msg += fmt.Sprintf(" (%s)", e.Description)
	}
	return msg
}

// Unwrap returns Err.
func (e *ResponseError) Unwrap() error { return e.Err }

// Is reports whether target is ErrDenied and the server said access_denied.
func (e *ResponseError) Is(target error) bool {
	return target == ErrDenied && e.Code == "access_denied"
}
