package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/aside"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/connections"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/replay"
)

// lastSending is what came of the last sending of a request.
type lastSending struct {
	body    replay.Body // that it was sent with
	resp    *http.Response
	err     error
	refused bool // resp refuses the token
	last    bool // the body cannot be sent once more
	asking  bool // the Attacher asks for another sending, and there is none: resp says nothing of the token
	asked   int  // how often the request was sent again because the Attacher asked for it

	because *http.Response // the answer before resp; nil: there is none
}

// maxAsked bounds that.
const maxAsked = 3

// next returns what there is of x before the next sending, with body.
func (x lastSending) next(body replay.Body) lastSending {
	return lastSending{body: body, asked: x.asked, because: x.resp}
}

// over reports whether there is nothing to do but to hand the answer or the error over.
func (x lastSending) over() bool {
	return !x.refused || x.last || !challengeAllowsRefresh(x.resp)
}

// tryYoung goes on after x, by which the server refused h, the token of s, for as long as the
// server may not know h yet. It sends the request again with h, or waits for another
// request that does. It returns what came of that; or x, if there is no point in it.
func (t *Transport) tryYoung(req *http.Request, s *Session, h *held, x lastSending) lastSending {
	if !s.isYoung(h) || t.NoReplay != nil && t.NoReplay(req) {
		return x
	}
	server := origin.Of(req.URL).String()
	for {
		x.resp.Body = aside.Put(x.resp.Body) // the others may need this connection
		a, err := s.awaitLag(req.Context(), h, server, x.body.Repeats())
		if err != nil {
			x.body.HandOver()
			shut(x.resp)
			return lastSending{body: x.body, err: err}
		}
		if a == limit.LagOver {
			return x
		}
		again, ok := x.body.TakeBack(req.Context())
		if !ok {
			if a == limit.LagTry {
				s.triedLag(h, server, limit.LagFailed)
			}
			return x
		}
		drop(x.resp, again)
		x = t.sendAgain(req, s, h, x.next(again))
		if a == limit.LagTry {
			s.triedLag(h, server, x.lagResult())
		}
		if x.over() || a == limit.LagKnown { // in that case h is refused here, and taken elsewhere
			return x
		}
	}
}

// lagResult is what x says of the server.
func (x lastSending) lagResult() limit.LagResult {
	switch {
	case x.err != nil, x.asking:
		return limit.LagFailed
	case x.refused:
		return limit.LagRefused
	}
	return limit.LagAccepted
}

// takeBack returns the body of another sending of req, if there may be one.
func (t *Transport) takeBack(req *http.Request, body replay.Body) (again replay.Body, ok bool) {
	if t.NoReplay != nil && t.NoReplay(req) {
		return again, false
	}
	return body.TakeBack(req.Context())
}

// sendAgain sends req once more after x, with the token of h, which is s's.
func (t *Transport) sendAgain(req *http.Request, s *Session, h *held, x lastSending) lastSending {
	s.tellReplayed(req)
	at := s.config().sendTime()
	x = t.send(req, s, h, x)
	x.last = !x.body.Repeats()
	switch {
	case x.err != nil:
	case x.refused:
		s.tellRejected(req, h)
	default:
		s.answered(h, req.URL, x.resp)
		s.renewedBy(x.resp, h, at)
	}
	return x
}

// send sends req after x, with the token of h, which is s's, and x's body, and as often again
// as its Attacher asks for it and may.
func (t *Transport) send(req *http.Request, s *Session, h *held, x lastSending) lastSending {
	for {
		x.resp, x.asking, x.err = t.sendOnce(req, s, h, x.body, x.because)
		if !x.asking {
			x.refused = x.err == nil && s.config().rejectedBy(x.resp)
			return x
		}
		if x.asked == maxAsked {
			return x
		}
		body, ok := t.takeBack(req, x.body)
		if !ok {
			return x
		}
		drop(x.resp, body)
		x.because, x.body = x.resp, body
		x.asked++
	}
}

// sendOnce sends a copy of req with the token of h, which is s's, and body. because is the
// answer that it is sent again for, nil if there is none; again says whether the Attacher wants
// that for the new one.
func (t *Transport) sendOnce(req *http.Request, s *Session, h *held, body replay.Body, because *http.Response) (resp *http.Response, again bool, err error) {
	var r *http.Request
	ctx := body.Context(req.Context())
	if value := h.header(); value != nil {
		r = req.WithContext(ctx)
		r.Header = withHeader(req.Header, s.config().tokenHeader(), value)
		body.Attach(r)
	} else if r, err = s.attached(ctx, req, h, body, because); err != nil {
		return nil, false, notSent(r, err)
	}
	s.tellAttached(req.Context(), h.number())
	resp, err = t.pass(r)
	if a := s.config().answerer(); a != nil && err == nil {
		again = a.Answered(r, resp, h.token())
	}
	if resp != nil {
		resp.Request = req // the copy shows the token
	}
	if err != nil && r.URL != req.URL {
		err = hideToken(err, req.URL, h.token())
	}
	return resp, again, err
}

// attached returns a copy of req that s's Attacher has put h's token on, because of an answer
// if that is not nil. All that the Attacher can reach of it is its own, and nothing of the caller's.
func (s *Session) attached(ctx context.Context, req *http.Request, h *held, body replay.Body, because *http.Response) (*http.Request, error) {
	r := req.Clone(ctx)
	if because != nil {
		r.Response = because
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	body.Attach(r) // before the Attacher, which may sign the headers
	if err := s.config().attach(r, h.token()); err != nil {
		if errors.Is(err, ErrLoginRequired) { // another process may have made the login
			s.lookForNewerSoon()
		}
		return r, err
	}
	r.Trailer = req.Trailer // the caller may fill it in while the body is read
	r.Response = req.Response
	return r, nil
}

// hideToken returns err, which the base transport made of a request with t, without the
// token: an Attacher may have put it into the URL, and errors like to show that. u is the
// caller's URL.
func hideToken(err error, u *url.URL, t *Token) error {
	secrets := redact.Secrets{t.AccessToken, t.Binding}
	if !secrets.In(err.Error()) {
		return err
	}
	if ue := (*url.Error)(nil); errors.As(err, &ue) {
		err = &url.Error{Op: ue.Op, URL: u.Redacted(), Err: ue.Err}
		if !secrets.In(err.Error()) {
			return err
		}
	}
	const text = "tokenclient: the request failed; why is left out, because it shows the token"
	for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, cause) {
			return redact.Error(text, cause)
		}
	}
	return errors.New(text)
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// maxPasses is how often a request may come by the same Transport, by way of
// http.DefaultTransport, or go through Transports that wrap each other.
const maxPasses = 8

var errLeadsBack = errors.New("tokenclient: Transport.Base leads back to the Transport itself (nil means http.DefaultTransport when it is used);" +
	" write http.DefaultTransport = session.Transport(http.DefaultTransport), with what was there before in it")

// last follows Base through further Transports, and returns what comes after them; nil if
// they lead back to t.
func (t *Transport) last() http.RoundTripper {
	base := t.base()
	for range maxPasses {
		next, ok := base.(*Transport)
		if !ok || next == nil {
			return base
		}
		if next == t {
			break
		}
		base = next.base()
	}
	return nil
}

type passesKey struct{ t *Transport }

// pass hands req to Base, unless that leads back to t.
func (t *Transport) pass(req *http.Request) (*http.Response, error) {
	base, given := t.base(), req
	if _, ok := base.(*http.Transport); !ok {
		last := t.last()
		if last == nil {
			return nil, notSent(req, errLeadsBack)
		}
		// Wrappers of other people look http.DefaultTransport up when they are used, too.
		_, network := last.(*http.Transport)
		if _, ok := http.DefaultTransport.(*http.Transport); !ok && !network {
			passes, _ := req.Context().Value(passesKey{t}).(int)
			if passes == maxPasses {
				return nil, notSent(req, errLeadsBack)
			}
			req = req.WithContext(context.WithValue(req.Context(), passesKey{t}, passes+1))
		}
	}
	resp, err := base.RoundTrip(req)
	switch {
	case resp == nil && err == nil:
		err = fmt.Errorf("tokenclient: Transport.Base, a %T, returned neither a response nor an error", base)
	case resp != nil && resp.Request == req:
		resp.Request = given
	}
	return resp, err
}

// CloseIdleConnections closes those of Base, as [http.Client.CloseIdleConnections]
// asks for, and all to token endpoints for which the program gave no Transport, whichever
// session made them.
func (t *Transport) CloseIdleConnections() {
	connections.CloseIdle()
	if t.last() == nil {
		return
	}
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// wrap returns a copy of c, which may be nil, whose requests go by what over makes of its Transport.
func wrap(c *http.Client, over func(base http.RoundTripper) *Transport) *http.Client {
	wrapped := new(http.Client)
	if c != nil {
		*wrapped = *c
	}
	wrapped.Transport = over(wrapped.Transport)
	return wrapped
}

// notSent closes the body of a request that is not sent and returns err.
func notSent(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}

const (
	discardBytes = 64 << 10
	discardTime  = 250 * time.Millisecond
)

// drop is for an answer that nobody wants, before the body of its request is sent again.
func drop(resp *http.Response, again replay.Body) {
	if again.Busy() {
		// It ends with the Read, and that with the second sending. A panic there is nobody's.
		contain.Go("the Read of a refused answer", nil, func() (struct{}, error) { discard(resp.Body); return struct{}{}, nil })
	} else {
		discard(resp.Body)
	}
}

// shut closes an answer that nobody reads any more. Fakes of tests answer without a Body, and
// net/http bears with that too.
func shut(resp *http.Response) {
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
}

// discard reads what is left of a refused answer, so that its connection can be
// used again, unless that is much or takes long.
func discard(body io.ReadCloser) {
	if body == nil {
		return
	}
	stop := time.AfterFunc(discardTime, func() { _ = body.Close() })
	defer stop.Stop()
	defer func() { _ = body.Close() }()
	_, _ = io.CopyN(io.Discard, body, discardBytes)
}
