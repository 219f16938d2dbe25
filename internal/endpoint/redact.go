package endpoint

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
)

const (
	maxCode        = 64      // bytes of Failure.Code
	maxDescription = 200     // bytes of Failure.Description
	maxSearched    = 4 << 10 // bytes that are searched for secrets
)

// publicParams are the params that everybody may see. It is useful if an error names the
// scope, or the type of token, that a server does not know.
var publicParams = []string{
	"grant_type", "client_id", "scope", "audience", "resource", "token_type_hint", "client_assertion_type",
	"subject_token_type", "actor_token_type", "requested_token_type",
}

// secretsOf returns what must not be shown of what is sent.
func secretsOf(list []Param, header http.Header) []string {
	var secrets []string
	for _, p := range list {
		if !p.Public && !slices.Contains(publicParams, p.Name) {
			secrets = append(secrets, p.Value)
		}
	}
	for _, values := range header {
		for _, v := range values {
			_, credentials, _ := strings.Cut(v, " ") // after the scheme
			secrets = append(secrets, v, credentials)
			if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
				_, secret, _ := strings.Cut(string(pair), ":")
				plain, _ := url.QueryUnescape(secret)
				secrets = append(secrets, secret, plain)
			}
		}
	}
	return secrets
}

// leaks reports whether text shows a secret of c, or a piece of one.
func (c *Call) leaks(text string) bool { return redact.Secrets(c.Secrets).In(text) }

// show makes what a server wrote fit for a log: without control characters, short,
// and nothing at all if the server echoes a secret that it was sent.
func (c *Call) show(s string, limit int) string {
	// Searched before it is cut: the cut may leave a piece that is not recognized.
	s = redact.Clean(s, maxSearched)
	if c.leaks(s) {
		return redact.Mark
	}
	return redact.Clean(s, limit)
}

// safe returns err, which came from outside, without secrets. A [*url.Error] shows the
// query of the URL; others may quote what a broken server sent.
func (c *Call) safe(err error) error {
	for u := (*url.Error)(nil); errors.As(err, &u) && u.Err != nil; {
		err = u.Err
	}
	switch err.(type) {
	case *net.OpError, *net.DNSError: // they quote nothing that came from outside
		return err
	}
	if text := err.Error(); len(text) <= maxSearched && !c.leaks(text) {
		return err
	}
	const text = "the call failed; why is left out, because it may hold a secret"
	for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, cause) {
			return redact.Error(text, cause)
		}
	}
	return errors.New(text)
}
