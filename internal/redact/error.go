package redact

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// Error returns an error that says text and that [errors.Is] and [errors.As] find all in
// that cause is. To unwrap it gives nothing: the cause may say more.
func Error(text string, cause error) error { return &hidden{text, cause} }

type hidden struct {
	text  string
	cause error
}

func (e *hidden) Error() string        { return e.text }
func (e *hidden) Is(target error) bool { return errors.Is(e.cause, target) }
func (e *hidden) As(target any) bool   { return errors.As(e.cause, target) }

// URLs returns text, which err or an error around it says, with no more than scheme, host
// and path of the URLs that a [*url.Error] inside of err shows. A query, a user and a
// fragment may be keys, and of a URL that cannot be parsed nothing stays.
func URLs(text string, err error) string {
	switch e := err.(type) {
	case nil:
		return text
	case *url.Error:
		short := ""
		if u, err := url.Parse(e.URL); err == nil && u.Opaque == "" {
			short = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
		}
		text = strings.ReplaceAll(text, strconv.Quote(e.URL), strconv.Quote(short)) // as e says it
		return URLs(strings.ReplaceAll(text, e.URL, short), e.Err)
	case interface{ Unwrap() error }:
		return URLs(text, e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			text = URLs(text, inner)
		}
	}
	return text
}
