package tokenclient

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/aside"
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
	if s.refresher == nil || !s.isYoung(h) || t.NoReplay != nil && t.NoReplay(req) {
		return x
	}
	server := origin.Of(req.URL).String()
	for {
		x.resp.Body = aside.Put(x.resp.Body) // the others may need this connection
		a, err := s.awaitLag(req.Context(), h, server, x.body.Repeats())
		if err != nil {
			x.body.HandOver()
			_ = x.resp.Body.Close()
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
	at := s.sendTime()
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
			x.refused = x.err == nil && s.rejectedBy(x.resp)
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
	if ready := h.value[0] != ""; ready {
		r = req.WithContext(ctx)
		r.Header = withHeader(req.Header, s.header, h.value[:])
		body.Attach(r)
	} else if r, err = s.attached(ctx, req, h, body, because); err != nil {
		return nil, false, notSent(r, err)
	}
	if s.hooks.Attached != nil {
		s.hooks.Attached(req.Context(), h.generation)
	}
	resp, err = t.pass(r)
	if a, ok := s.attacher.(answerer); ok && err == nil {
		again = a.Answered(r, resp, h.record.Token)
	}
	if resp != nil {
		resp.Request = req // the copy shows the token
	}
	if err != nil && r.URL != req.URL {
		err = hideToken(err, req.URL, h.record.Token)
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
	if err := s.attacher.Attach(r, h.record.Token); err != nil {
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
