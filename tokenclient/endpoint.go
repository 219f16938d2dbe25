package tokenclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// An endpointCall is one POST to a token endpoint: a refresh, a login or a
// revocation. All of them share the same dangers. The body holds a credential,
// which must not go anywhere else and, if it is a refresh token, must not be sent
// twice; and whoever gets an error must know whether it was sent at all.
type endpointCall struct {
	field        string // what the user calls the URL, for errors
	url          string
	client       *http.Client // nil: http.DefaultClient
	insecureHTTP bool
	header       http.Header // of the request, with its Content-Type
	body         []byte
	attach       func(*http.Request) error // puts an access token on the request; nil: nothing does
	secrets      []string                  // what was put in header and body and must not be shown
}

// An endpointAnswer is a complete answer that is not a redirect.
type endpointAnswer struct {
	call   *endpointCall
	status int
	header http.Header
	body   []byte    // one byte over maxAnswer if it was longer than that
	sent   time.Time // when the request began
}

// check parses the URL and refuses one that would show the body to others.
func (c *endpointCall) check() (*url.URL, error) {
	// The messages leave the URL out: it may have a key in it.
	bad := func(why string) error {
		return fmt.Errorf("%s %s; write it like \"https://auth.example.com/token\"", c.field, why)
	}
	u, err := url.Parse(c.url)
	switch {
	case c.url == "":
		return nil, bad("is empty")
	case err != nil:
		return nil, bad("is not a URL")
	case u.User != nil:
		return nil, bad("has user information in it")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, bad("does not begin with https:// or http://")
	case u.Hostname() == "" || u.Opaque != "":
		return nil, bad("has no host")
	case u.Fragment != "":
		return nil, bad("has a fragment")
	case !origin.Of(u).Secure() && !c.insecureHTTP:
		return nil, bad("is plain http beyond this machine, where everybody on the way can read the tokens (InsecureHTTP allows it)")
	}
	return u, nil
}

// do sends the request and reads the answer. Its error is always a *TokenError.
// It is ErrNotPresented if it is certain that no byte of the body was sent, nor a
// header with a token in it.
func (c *endpointCall) do(ctx context.Context) (*endpointAnswer, error) {
	u, err := c.check()
	if err != nil {
		return nil, c.fail(0, &notPresented{err})
	}
	if err := ctx.Err(); err != nil {
		return nil, c.fail(0, &notPresented{err})
	}
	body := &onceBody{r: bytes.NewReader(c.body)}
	var connected atomic.Bool
	if c.attach != nil { // headers are sent before the body is read
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
		})
	}
	// net/http repeats a POST by itself, on a connection that broke, if it has
	// GetBody or an Idempotency-Key. NewRequest sets no GetBody for a type of ours.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
	if err != nil {
		return nil, c.fail(0, &notPresented{errors.New("the request cannot be made")})
	}
	req.ContentLength = int64(len(c.body))
	req.Header = c.header
	req.Header.Set("Accept", "application/json")
	if c.attach != nil {
		if err := c.attach(req); err != nil {
			return nil, c.fail(0, &notPresented{c.safe(err)})
		}
	}
	req.Header.Del("Idempotency-Key")
	req.Header.Del("X-Idempotency-Key")

	a := &endpointAnswer{call: c, sent: time.Now()}
	resp, err := c.httpClient().Do(req)
	if err != nil {
		// Every way of sending begins with a Read of the body, whatever the
		// transport. Forbidding further ones first makes the verdict final: a
		// goroutine of net/http may outlive Do.
		if body.detach() || connected.Load() {
			return nil, c.fail(0, c.safe(err))
		}
		return nil, c.fail(0, &notPresented{c.safe(err)})
	}
	defer func() { _ = resp.Body.Close() }()

	a.status, a.header = resp.StatusCode, resp.Header
	if a.status < 200 || a.status >= 300 && a.status < 400 {
		return nil, a.redirected()
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		// No StatusCode: an answer that was cut is as good as none, and says
		// nothing certain about what the server did.
		return nil, c.fail(0, fmt.Errorf("the answer broke off: %w", c.safe(err)))
	}
	return a, nil
}

// httpClient returns a copy of the caller's client that follows no redirect. Its
// Jar and Timeout stay: some servers keep a client on one machine by a cookie.
func (c *endpointCall) httpClient() *http.Client {
	client := http.DefaultClient
	if c.client != nil {
		client = c.client
	}
	copied := *client
	copied.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &copied
}

// redirected is the error for an answer that is no answer. Only the host of the
// Location is named: the rest is for the server's own use.
func (a *endpointAnswer) redirected() error {
	if a.status < 200 {
		return a.fail(errors.New("the answer is not HTTP any more"))
	}
	to := "redirected"
	if u, err := url.Parse(a.header.Get("Location")); err == nil && u.Host != "" && !a.call.leaks(u.Host) {
		to += " to " + clean(u.Host, maxDescription)
	}
	return a.fail(errors.New(to + "; refusing to follow: the body holds a credential"))
}

// ok reports whether the answer is a success.
func (a *endpointAnswer) ok() bool { return a.status < 300 }

// token returns the token of a successful answer. terminal is asked about any
// other, whether only a login helps.
func (a *endpointAnswer) token(f *JSONFields, terminal func() bool) (*Token, error) {
	var err error
	if a.ok() {
		var t *Token
		if t, err = ParseToken(a.body, a.sent, f); err == nil {
			return t, nil
		}
	}
	if terminal() {
		err = ErrLoginRequired
	}
	return nil, a.fail(err)
}

// notPresented is an error that is ErrNotPresented too, in addition to its own
// chain.
type notPresented struct{ error }

func (e *notPresented) Is(target error) bool { return target == ErrNotPresented }
func (e *notPresented) Unwrap() error        { return e.error }

// onceBody is a request body that knows whether any of it was taken.
type onceBody struct {
	mu             sync.Mutex // guards all below
	r              *bytes.Reader
	taken, refused bool
}

// Read implements io.Reader.
func (b *onceBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused {
		return 0, http.ErrBodyReadAfterClose
	}
	if len(p) > 0 {
		b.taken = true
	}
	return b.r.Read(p)
}

// Close implements io.Closer.
func (b *onceBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = true
	return nil
}

// detach makes further Reads fail and reports whether there was one before.
func (b *onceBody) detach() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = true
	return b.taken
}
