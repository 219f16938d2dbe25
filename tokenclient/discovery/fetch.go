package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/connections"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const (
	maxDocument  = 256 << 10
	maxRedirects = 5
	fetchTimeout = 10 * time.Second
	maxShown     = 200 // of what a server wrote, in an error
)

// A document is a JSON object that a server answered.
type document struct {
	members  members
	lifetime time.Duration // how long it may be kept
}

// members are those of an object, by their exact names.
type members map[string]json.RawMessage

// fetch asks for a document. If there was an answer, but it is none, there is an empty one
// beside the error.
func (c *Client) fetch(ctx context.Context, at string) (*document, error) {
	use := connections.For(c.HTTPClient)
	use.Client.CheckRedirect = withinOrigin
	ctx, cancel := context.WithTimeout(tokenclient.WithoutToken(ctx), fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	req.Header.Set("Accept", "application/json")
	req.Close = use.Close
	resp, err := use.Client.Do(req)
	var refused *redirectError
	switch {
	case errors.As(err, &refused):
		return new(document), refused
	case err != nil:
		use.Over(err)
		return nil, cause(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return new(document), fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		use.Over(err)
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	m, err := parse(body)
	return &document{m, lifetime(resp.Header)}, err
}

// redirectError says that a redirect was not followed.
type redirectError struct{ why string }

func (e *redirectError) Error() string { return e.why }

// withinOrigin is a CheckRedirect.
func withinOrigin(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return &redirectError{fmt.Sprintf("redirected more than %d times", maxRedirects)}
	case !origin.Of(req.URL).Equal(origin.Of(via[0].URL)):
		return &redirectError{"redirected to another origin: " + redact.Clean(origin.Of(req.URL).String(), maxShown)}
	}
	return nil
}

// cause is what a [*url.Error] holds: the URL is named already, and what it was
// redirected to may hold keys.
func cause(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// parse reads a JSON object and nothing after it.
func parse(body []byte) (members, error) {
	if len(body) > maxDocument {
		return nil, fmt.Errorf("the answer is longer than %d bytes", maxDocument)
	}
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	switch {
	case len(body) == 0:
		return nil, errors.New("the answer is empty")
	case body[0] == '<':
		return nil, errors.New("the answer is HTML, not JSON")
	case body[0] != '{':
		return nil, errors.New("the answer is not a JSON object")
	}
	var m members
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, errors.New("the answer is not valid JSON")
	}
	return m, nil
}

// take removes the member and returns it if it is a string; otherwise it is as good as
// absent.
func (m members) take(name string) string {
	var s string
	_ = json.Unmarshal(m[name], &s)
	delete(m, name)
	return s
}

// takeList removes the member and returns the strings in it: a list of them, or words.
func (m members) takeList(name string) []string {
	raw := m[name]
	delete(m, name)
	var words string
	if json.Unmarshal(raw, &words) == nil {
		return strings.Fields(words)
	}
	var values []any
	_ = json.Unmarshal(raw, &values)
	var list []string
	for _, v := range values {
		if s, ok := v.(string); ok && s != "" {
			list = append(list, s)
		}
	}
	return list
}

// Bounds of how long a document is kept.
const (
	minLifetime     = time.Minute
	defaultLifetime = time.Hour
	maxLifetime     = 24 * time.Hour
)

// lifetime reads the Cache-Control field.
func lifetime(h http.Header) time.Duration {
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return minLifetime
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return minLifetime // RFC 9111, section 4.2.1
			}
			return min(max(time.Duration(seconds)*time.Second, minLifetime), maxLifetime)
		}
	}
	return defaultLifetime
}

// A try is a URL, and what was wrong with the answer from there.
type try struct {
	at  string
	err error
}

// tries are an error.
type tries []try

func (t tries) Error() string {
	var b strings.Builder
	for i, one := range t {
		if i > 0 {
			b.WriteString("; ")
		}
		at, _, _ := strings.Cut(one.at, "?")
		fmt.Fprintf(&b, "%s: %v", redact.Clean(at, maxShown), one.err)
	}
	return b.String()
}

// Unwrap is for errors.Is and errors.As.
func (t tries) Unwrap() []error {
	errs := make([]error, len(t))
	for i, one := range t {
		errs[i] = one.err
	}
	return errs
}
