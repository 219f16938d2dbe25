package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

// The exit codes. Those up to 101 are curl's, for the same; curl has none for the last two.
const (
	exitOther       = 1
	exitUsage       = 2
	exitURL         = 3
	exitResolve     = 6
	exitConnect     = 7
	exitPartial     = 18
	exitStatus      = 22 // -f, and the status is 400 or above
	exitWrite       = 23
	exitRead        = 26
	exitTimeout     = 28
	exitTLS         = 35
	exitRedirects   = 47
	exitEmpty       = 52
	exitReceive     = 56
	exitCertificate = 60
	exitRewind      = 65 // a body that cannot be sent again was to be
	exitLogin       = 67 // only a login helps, or the login was refused
	exitEndpoint    = 94 // the token endpoint failed; try again later
	exitStore       = 110
	exitOrigin      = 111
	exitInterrupted = 130 // by SIGINT; other signals have codes of their own
)

// errLogin is what only a login helps against.
var errLogin = tokenclient.ErrLoginRequired

// An exitError has a code of its own. With a nil err nothing is said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(err error) error { return &exitError{exitUsage, err} }

// codeOf is the exit code for err. The order counts: what failed at the token endpoint is
// that, whether it was a name that did not resolve or a timeout.
func codeOf(ctx context.Context, err error) int {
	var e *exitError
	var at *tokenclient.TokenError
	var by signalled
	ended := errors.As(context.Cause(ctx), &by)
	switch {
	case err == nil:
		return 0
	case ended && errors.Is(err, context.Canceled): // in an exitError too
		return by.code()
	case errors.As(err, &e):
		return e.code
	case ended:
		return by.code()
	case errors.Is(err, errLogin), errors.Is(err, login.ErrDenied), errors.Is(err, login.ErrNotFinished):
		return exitLogin
	case errors.Is(err, tokenclient.ErrStoreUnavailable), errors.Is(err, tokenclient.ErrStoreCorrupt):
		return exitStore
	case errors.As(err, &at):
		return exitEndpoint
	}
	return networkCode(err)
}

func networkCode(err error) int {
	var name *net.DNSError
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &name):
		return exitResolve
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return exitTimeout
	case errors.As(err, &certificate), errors.As(err, &unknown):
		return exitCertificate
	case errors.As(err, &record), errors.As(err, &alert), errors.Is(err, http.ErrSchemeMismatch):
		return exitTLS
	case errors.As(err, &op) && op.Op == "dial":
		return exitConnect
	case errors.Is(err, io.EOF):
		return exitEmpty
	case errors.As(err, &op):
		return exitReceive
	}
	return exitOther
}
