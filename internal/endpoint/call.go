package endpoint

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/connections"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// A Call is one POST to a token endpoint.
type Call struct {
	Field        string // what the user calls the URL, for errors
	URL          string
	Client       *http.Client // as package connections has it; nil: http.DefaultClient
	InsecureHTTP bool         // allows plain http to other machines

	Params   []Param
	Encoding Encoding

	// Authenticate adds to form, which is the params, or to header what identifies the
	// client at the endpoint. What it adds is secret. Nil: nothing does.
	Authenticate func(ctx context.Context, endpoint string, form url.Values, header http.Header) error

	// Attach puts more on the request when it is otherwise complete. Nil: nothing does.
	Attach func(*http.Request) error

	// Prove puts on each sending what is of no use by itself, such as a proof of a key, and
	// Answered is told of the answer, whose body it may read. again says that the server has
	// refused nothing but that, and the call is made again, the client's authentication
	// included: at most maxAgain times, with the answer as Response of the request that Prove
	// gets, and never after a success. Nil: neither.
	Prove    func(*http.Request) error
	Answered func(*http.Request, *http.Response) (again bool)

	// Secrets must not be shown, beside those in Params and what Authenticate adds.
	Secrets []string

	provenByToken bool // Authenticate has added a token or an assertion
}

// A Param is a part of what is sent.
type Param struct {
	Name, Value string
	Public      bool // may be shown; others are secret, but for those that RFCs name
}

// maxAgain bounds how often a call is made again because Answered asks for it.
const maxAgain = 2

// Name is what an error may show of a URL: no query, in which keys travel.
func Name(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return u.Host + u.EscapedPath()
}

// Check reports why nothing may be sent to the URL: it is none, or would show the body to
// others.
func (c *Call) Check() error {
	// The messages leave the URL out: it may have a key in it.
	bad := func(why string) error {
		return fmt.Errorf("%s %s; write it like \"https://auth.example.com/token\"", c.Field, why)
	}
	u, err := url.Parse(c.URL)
	beforeQuery, _, _ := strings.Cut(c.URL, "?")
	switch {
	case c.URL == "":
		return bad("is empty")
	case strings.ContainsAny(beforeQuery, "<>{}"): // legal nowhere in a URL (RFC 3986, section 2)
		return bad("has a placeholder in it, in angle brackets or braces")
	case strings.Contains(beforeQuery, " "):
		return bad("has a space in it")
	case err != nil:
		return bad("is not a URL")
	case u.User != nil:
		return bad("has user information in it")
	case u.Scheme != "https" && u.Scheme != "http":
		return bad("does not begin with https:// or http://")
	case u.Hostname() == "" || u.Opaque != "":
		return bad("has no host")
	case strings.Contains(u.Host, "*"):
		return bad("has a wildcard for its host")
	case !origin.Of(u).HasPort():
		return bad("has a port that is not one of 1 to 65535")
	case u.Fragment != "":
		return bad("has a fragment")
	case !origin.Of(u).Secure() && !c.InsecureHTTP:
		return bad("is plain http beyond this machine, where everybody on the way can read the tokens (InsecureHTTP allows it)")
	}
	return nil
}

// Do sends the request and reads the answer; again, if Answered asks for that. One of the
// results is nil. It does not change c.
func (c *Call) Do(ctx context.Context) (*Answer, *Failure) {
	var because *http.Response
	for n := 0; ; n++ {
		made := *c
		made.Params, made.Secrets = slices.Clone(c.Params), slices.Clone(c.Secrets)
		a, f := made.do(ctx, because)
		if f != nil || !a.again || n == maxAgain {
			return a, f
		}
		because = a.shown
	}
}

// do sends the request because of an answer, if that is not nil, and returns the new one. It
// changes c: it adds what Authenticate does, and what is secret of it.
func (c *Call) do(ctx context.Context, because *http.Response) (*Answer, *Failure) {
	body, header, f := c.prepare(ctx)
	if f != nil {
		return nil, f
	}
	var connected atomic.Bool
	if c.Attach != nil { // headers are sent before the body is read
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
		})
	}
	sent := &onceBody{r: bytes.NewReader(body)}
	req, f := c.request(ctx, sent, header, because)
	if f != nil {
		return nil, f
	}

	use := connections.For(c.Client)
	// The client is a copy. Its Jar and Timeout stay: some servers keep a client on one
	// machine by a cookie.
	use.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	use.Client.Transport = unfollowed{cmp.Or(use.Client.Transport, http.DefaultTransport)}
	req.Close = use.Close
	a := &Answer{call: c, Sent: time.Now()}
	resp, err := use.Client.Do(req)
	if err != nil {
		use.Over(err)
		f := c.failure(0, c.safe(err))
		// Every way of sending begins with a Read of the body, whatever the
		// transport. Forbidding further ones first makes the verdict final: a
		// goroutine of net/http may outlive Do.
		f.NotPresented = !sent.detach() && !connected.Load()
		return nil, f
	}
	defer func() { _ = resp.Body.Close() }()

	a.Status, a.Header = resp.StatusCode, resp.Header
	if a.Status < 200 || a.Status >= 300 && a.Status < 400 {
		return nil, a.redirected()
	}
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		use.Over(err)
	}
	a.Body = unpack(a.Body)
	if err != nil && !(a.OK() && isWhole(a.Body)) {
		// No status: an answer that was cut is as good as none, and says
		// nothing certain about what the server did.
		return nil, c.failure(0, fmt.Errorf("the answer broke off: %w", c.safe(err)))
	}
	c.tell(req, resp, a)
	return a, nil
}

// tell tells Answered of the answer, and notes in it what that says.
func (c *Call) tell(req *http.Request, resp *http.Response, a *Answer) {
	if c.Answered == nil {
		return
	}
	a.shown = new(http.Response)
	*a.shown = *resp
	a.shown.Body, a.shown.Request = io.NopCloser(bytes.NewReader(a.Body)), req
	a.again = c.Answered(req, a.shown) && !a.OK() // else what was sent is spent
}

// prepare makes the body and the header of the request, and notes what is secret in them.
func (c *Call) prepare(ctx context.Context) (body []byte, header http.Header, f *Failure) {
	if err := c.Check(); err != nil { // before Authenticate gets to sign for it
		return nil, nil, c.NotPresented(err)
	}
	header = make(http.Header)
	var err error
	if c.Authenticate != nil {
		form := values(c.Params)
		err = c.Authenticate(ctx, c.URL, form, header)
		scheme, _, _ := strings.Cut(header.Get("Authorization"), " ")
		c.provenByToken = scheme != "" && !strings.EqualFold(scheme, "Basic") || form.Has("client_assertion")
		c.Params = params(form, c.Params)
	}
	c.Secrets = append(c.Secrets, secretsOf(c.Params, header)...)
	if err != nil {
		return nil, nil, c.NotPresented(fmt.Errorf("client authentication: %w", c.safe(err)))
	}
	contentType, body, err := c.Encoding(c.Params)
	if err != nil {
		return nil, nil, c.NotPresented(err)
	}
	header.Set("Content-Type", contentType)
	header.Set("Accept", "application/json")
	// net/http asks for it anyway, and then fails over answers that say that they are gzip
	// and are not. If it is asked for here, what comes is undone here, by what it is.
	header.Set("Accept-Encoding", "gzip")
	return body, header, nil
}

// request makes the request, which net/http has no way to repeat.
func (c *Call) request(ctx context.Context, body *onceBody, header http.Header, because *http.Response) (*http.Request, *Failure) {
	if err := ctx.Err(); err != nil {
		return nil, c.NotPresented(err)
	}
	// net/http repeats a POST by itself, on a connection that broke, if it has
	// GetBody or an Idempotency-Key. NewRequest sets no GetBody for a type of ours.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, body)
	if err != nil {
		return nil, c.NotPresented(errors.New("the request cannot be made"))
	}
	req.ContentLength = int64(body.r.Len())
	req.Header = header
	if c.Attach != nil {
		if err := c.Attach(req); err != nil {
			return nil, c.NotPresented(c.safe(err))
		}
	}
	if c.Prove != nil {
		req.Response = because
		if err := c.Prove(req); err != nil {
			return nil, c.NotPresented(c.safe(err))
		}
		req.Response = nil
	}
	req.Header.Del("Idempotency-Key")
	req.Header.Del("X-Idempotency-Key")
	return req, nil
}

// unfollowed is the Transport of a client that follows no redirect. net/http reads the Location
// all the same, and if that is no URL, as when a proxy has not filled in its template, there is
// an error in the place of the answer: as if nobody knew what became of the refresh token.
type unfollowed struct{ http.RoundTripper }

func (u unfollowed) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := u.RoundTripper.RoundTrip(req)
	switch {
	case err != nil:
		return resp, err
	case resp == nil:
		return nil, fmt.Errorf("the client's Transport, a %T, returned neither a response nor an error", u.RoundTripper)
	case resp.StatusCode < 300 || resp.StatusCode > 399:
		return resp, nil
	}
	if _, err := req.URL.Parse(resp.Header.Get("Location")); err != nil {
		resp.Header = resp.Header.Clone()
		resp.Header.Del("Location")
	}
	return resp, nil
}
