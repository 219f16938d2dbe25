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
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/replay"
)

// A Transport is an [http.RoundTripper] that sends requests with the current
// token of its Session. If a server refuses the token, the Transport has the
// Session refresh it and sends the request again, once. [Session.Wrap] is the
// usual way to one; make one by hand to set its fields.
//
// Requests to origins that are not allowed, requests on which the caller has set
// the token's header already to something else than a token of the Session, and those
// with [WithoutToken] go to Base as they are.
//
// A request waits for a refresh only if its token has expired or was refused, and
// only as long as its context lasts. A token that was refused is remembered until its
// refresh has ended: what goes to the same origin and path meanwhile waits for that, and
// so does what cannot be sent again for certain, wherever it goes. Everything else is sent:
// the token may be good there. If the refresh fails, so is what waited. What a request
// gets whose own token was refused:
//
//   - the second answer, whatever that is, after a refresh that succeeded;
//   - the first answer, a 401, untouched, if a new token would not help
//     (insufficient scope, step-up authentication), if the body cannot be sent
//     again, if NoReplay says so, or if refreshed tokens have been refused too
//     often of late (refreshes that helped do not count); unless a new token
//     would not help, the token is refreshed in the background for the requests
//     that follow;
//   - otherwise an error and not the 401, which programs take for a logout:
//     ErrLoginRequired if only a login helps, a [*TokenError], ErrStoreUnavailable
//     or ErrStoreCorrupt if trying later may, ErrReplaced if somebody else may have
//     logged in meanwhile, and the context's error if it ended.
//
// A server may not know yet a token that was made a moment ago. So before a token is refreshed
// that is not 5 seconds old, the request waits and is sent again with it: 0.1, 0.3, 0.7 and
// 1.5 seconds after the first refusal. Of all requests that the origin refused, one does so
// for the others, and none waits for longer than 2 seconds, nor for more than half of the
// time that is left to its context. The age counts from when the token came, or from its
// Issued if another process got it. Nothing waits for a token that the origin has accepted,
// nor, as it can be exchanged at once, for that of a login, if it has a refresh token; nor
// without a Refresher, nor a request that NoReplay is about. One whose body is not among
// those that [http.NewRequest] knows can be sent twice at most: it waits only if another
// request tries the token.
//
// A RoundTripper should not interpret responses, nor return an error once it has
// one. This one does both, knowingly, because only here is the request still at
// hand. It keeps the rest of the contract: the request is not changed, its body
// is always closed, and the response's Request is the caller's.
//
// A body is sent again only if it is the same to the byte: as its GetBody gives it, which
// is called when the first sending reads no more (there are bodies that GetBody rewinds),
// from where it stood if it can seek, or as it was kept (see MaxReplayBody and SpoolDir). A
// stream whose first sending waits for more goes on in the second one.
//
// Cookies that come with the refused answer are lost.
//
// A Transport is safe for concurrent use. Its fields must not change after the
// first request.
type Transport struct {
	// Base makes the requests. Nil: [http.DefaultTransport], as it is when it is used. Better
	// is one with HTTP/2 pings; see "Connections" in the package documentation. To put a
	// Transport into the place of http.DefaultTransport, give it what was there as its Base;
	// one that leads back to itself is an error.
	Base http.RoundTripper

	// Session has the token. Without one every request is an error, unless
	// [Pool.Transport] made the Transport, in which case this stays nil.
	Session *Session

	// MaxReplayBody is how many bytes of a request body are kept in memory while
	// it is sent, in case it must be sent again, if the request has no GetBody. 0: 1
	// MiB. Negative: none. What a server did not take before it refused the
	// token need not be kept; with ExpectContinue that is often all of it.
	//
	// A body that can seek is sent again from where it stood, however long it is: an
	// [os.File], an [io.SectionReader], and any body with a method Seek, also within an
	// [io.NopCloser], or with ReadAt if the request has a ContentLength. Its Close comes
	// when that is decided. If it is not the same any more (a file that was written to)
	// the caller gets the 401, or an error if that shows only while it is sent again: no
	// server gets the whole of another body. Nothing is kept of a file or section; of
	// other bodies MaxReplayBody bytes are, before Seek is called.
	MaxReplayBody int64

	// SpoolDir is a directory for bodies that have no GetBody, cannot seek, and are
	// longer than MaxReplayBody: what is read of one is kept in a temporary file there,
	// up to MaxSpoolBody bytes. The file is readable by this user alone, and removed
	// when the body is not needed any more, whatever becomes of the request; where an
	// open file can be removed (not on Windows) that is done at once, and nothing is
	// left if the process dies. If it cannot be written, the request goes on, and a
	// 401 comes back untouched. "": such a body is not sent again, unless the server had
	// not taken more than MaxReplayBody bytes of it.
	SpoolDir string

	// MaxSpoolBody bounds one such file. 0: 256 MiB. How many there are at a time
	// depends on how many requests the program makes. Negative: none is made.
	MaxSpoolBody int64

	// ExpectContinue adds "Expect: 100-continue" to requests whose body could not
	// be sent again otherwise: it has no GetBody, and is longer than what is kept
	// or of unknown length. A server that refuses the token without asking for the
	// body gets it whole with the next token, however long it is, and no copy is
	// made. A body that the server, or the base transport on its behalf, has begun
	// to take is sent again only if all that was taken is kept.
	//
	// It does nothing unless Base is an [http.Transport] whose
	// ExpectContinueTimeout is more than 0, as that of http.DefaultTransport is,
	// nor for a request on which the caller set Expect. A server that does not know
	// the question costs that timeout; one that answers it with 417 is not asked
	// again without, and the caller gets the 417. Over HTTP/1.1 the connection of
	// the refused request is lost.
	ExpectContinue bool

	// ExpectContinueAbove adds "Expect: 100-continue" to all requests with a body of
	// more bytes than this, or of unknown length, whether or not it could be sent again
	// otherwise; the rest is as with ExpectContinue, which may be set beside it. A server
	// that refuses a token early, and closes the connection while the body is still on
	// its way, often makes the refusal itself unreadable: the caller gets the error of a
	// connection that was reset, and nothing is refreshed. It cannot, if the body waits
	// for its answer. The price is one round trip for each such request. 0: none asks
	// for its length. Negative: each with a body asks.
	ExpectContinueAbove int64

	// NoReplay reports whether a request must not be sent twice. For such a
	// request the token is refreshed and the 401 returned. Nil: every request
	// may be; a server that refuses the token has done nothing.
	NoReplay func(*http.Request) bool

	pool *Pool // has the sessions, in the place of Session
}

var _ http.RoundTripper = (*Transport)(nil)

const (
	defaultMaxReplayBody = 1 << 20
	defaultMaxSpoolBody  = 1 << 28
)

// replayOptions say how bodies of t may be sent again. A base transport that does not wait
// for "100 Continue" is not asked to: it would send the body at once, and the refusal is
// then lost to a connection reset more often than without asking.
func (t *Transport) replayOptions() replay.Options {
	o := replay.Options{
		Limit: t.MaxReplayBody, SpoolDir: t.SpoolDir, MaxSpool: t.MaxSpoolBody,
		ExpectUnkept: t.ExpectContinue, ExpectAbove: t.ExpectContinueAbove,
	}
	if o.Limit == 0 {
		o.Limit = defaultMaxReplayBody
	}
	if o.MaxSpool == 0 {
		o.MaxSpool = defaultMaxSpoolBody
	}
	if base, ok := t.base().(*http.Transport); ok && (t.ExpectContinue || t.ExpectContinueAbove != 0) {
		o.ExpectTimeout = base.ExpectContinueTimeout
	}
	return o
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	s, err := t.session(req.Context())
	attach, own := s != nil, false
	if attach {
		s = s.partFor(req.URL)
		attach, own, err = t.mayAttach(s, req)
	}
	switch {
	case err != nil:
		return nil, notSent(req, err)
	case !attach:
		return t.pass(req)
	case own:
		return t.inPlaceOf(req, s)
	}
	refused := s.refused.Load()
	h, err := s.current(req.Context())
	if err == nil && uint32(h.generation) == refused {
		h, err = s.afterRefusal(req.Context(), h, placeOf(req.URL), t.replayable(req))
	}
	if err != nil {
		return nil, notSent(req, s.whose(err))
	}
	body, sent := replay.New(req, t.replayOptions()), s.sendTime()
	resp, err := t.send(req, s, h, body)
	if err != nil || !s.rejectedBy(resp) {
		body.HandOver()
		if err == nil {
			s.answered(h, req.URL, resp)
		}
		s.renewedBy(resp, h, sent)
		return resp, err
	}
	return t.rejected(req, s, h, body, resp)
}

// replayable reports whether req can be sent again, whatever a server does that refuses it.
func (t *Transport) replayable(req *http.Request) bool {
	return replay.Certain(req, t.replayOptions()) && (t.NoReplay == nil || !t.NoReplay(req))
}

// inPlaceOf sends req with s's token in the place of the header that the caller has set.
func (t *Transport) inPlaceOf(req *http.Request, s *Session) (*http.Response, error) {
	r := req.WithContext(req.Context())
	r.Header = origin.Without(req.Header, s.header)
	resp, err := t.RoundTrip(r)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// session returns the session whose token a request gets, nil if it needs none.
func (t *Transport) session(ctx context.Context) (*Session, error) {
	switch {
	case t.pool == nil && t.Session == nil:
		return nil, errors.New("tokenclient: Transport.Session is nil; use Session.Transport or Session.Wrap")
	case t.pool == nil:
		return t.Session, nil
	case t.Session != nil:
		return nil, errors.New("tokenclient: Transport.Session is set on a Transport of a Pool, whose requests name their session by WithKey")
	}
	return t.pool.sessionFor(ctx)
}

// rejected goes on with a request whose token, h of s, the server refused with resp.
func (t *Transport) rejected(req *http.Request, s *Session, h *held, body replay.Body, resp *http.Response) (*http.Response, error) {
	s.tellRejected(req, h)
	if !challengeAllowsRefresh(resp) {
		body.HandOver()
		return resp, nil
	}
	now := t.tryYoung(req, s, h, lastSending{body: body, resp: resp, refused: true})
	if now.over() {
		return now.resp, now.err
	}
	body, resp = now.body, now.resp
	v := s.rejected(h, req.URL)
	if !v.again {
		body.HandOver()
		return resp, nil
	}
	again, ok := t.takeBack(req, body)
	if !ok {
		body.HandOver()
		s.refreshInBackground()
		return resp, nil
	}
	drop(resp, again) // before the refresh: it may need this connection
	h, err := s.insteadOf(req.Context(), h)
	if err != nil {
		again.Close()
		return nil, s.whose(err)
	}
	if now = t.sendAgain(req, s, h, again); !now.over() {
		now = t.tryYoung(req, s, h, now)
	}
	if now.err == nil {
		s.replayed(h, v, now.refused)
	}
	return now.resp, now.err
}

// lastSending is what came of the last sending of a request.
type lastSending struct {
	body    replay.Body // that it was sent with
	resp    *http.Response
	err     error
	refused bool // resp refuses the token
	last    bool // the body cannot be sent once more
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
		x = t.sendAgain(req, s, h, again)
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
	case x.err != nil:
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

// sendAgain sends req once more, with the token of h, which is s's.
func (t *Transport) sendAgain(req *http.Request, s *Session, h *held, again replay.Body) lastSending {
	s.tellReplayed(req)
	x, at := lastSending{body: again, last: !again.Repeats()}, s.sendTime()
	x.resp, x.err = t.send(req, s, h, again)
	switch {
	case x.err != nil:
	case s.rejectedBy(x.resp):
		x.refused = true
		s.tellRejected(req, h)
	default:
		s.answered(h, req.URL, x.resp)
		s.renewedBy(x.resp, h, at)
	}
	return x
}

// send sends a copy of req with the token of h, which is s's, and body.
func (t *Transport) send(req *http.Request, s *Session, h *held, body replay.Body) (*http.Response, error) {
	var r *http.Request
	var err error
	ctx := body.Context(req.Context())
	if ready := h.value[0] != ""; ready {
		r = req.WithContext(ctx)
		r.Header = withHeader(req.Header, s.header, h.value[:])
		body.Attach(r)
	} else if r, err = s.attached(ctx, req, h, body); err != nil {
		return nil, notSent(r, err)
	}
	if s.hooks.Attached != nil {
		s.hooks.Attached(req.Context(), h.generation)
	}
	resp, err := t.pass(r)
	if resp != nil {
		resp.Request = req // the copy shows the token
	}
	if err != nil && r.URL != req.URL {
		err = hideToken(err, req.URL, h.record.Token)
	}
	return resp, err
}

// attached returns a copy of req that s's Attacher has put h's token on. All that the
// Attacher can reach of it is its own, and nothing of the caller's.
func (s *Session) attached(ctx context.Context, req *http.Request, h *held, body replay.Body) (*http.Request, error) {
	r := req.Clone(ctx)
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	body.Attach(r) // before the Attacher, which may sign the headers
	if err := s.attacher.Attach(r, h.record.Token); err != nil {
		return r, err
	}
	r.Trailer = req.Trailer // the caller may fill it in while the body is read
	return r, nil
}

// hideToken returns err, which the base transport made of a request with t, without the
// token: an Attacher may have put it into the URL, and errors like to show that. u is the
// caller's URL.
func hideToken(err error, u *url.URL, t *Token) error {
	secrets := redact.Secrets{t.AccessToken}
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
		go discard(resp.Body) // it ends with the Read, and that with the second sending
	} else {
		discard(resp.Body)
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
	_, _ = io.CopyN(io.Discard, body, discardBytes)
	_ = body.Close()
}

// mayAttach reports whether req gets the token of s, and whether its caller has set the
// header of it. It is an error for a token to be wanted where somebody else could read it.
func (t *Transport) mayAttach(s *Session, req *http.Request) (attach, own bool, err error) {
	if withoutToken(req.Context()) {
		return false, false, nil
	}
	attach, own, err = s.rules.Judge(req, s.header, s.isOurs)
	switch {
	case attach:
		err = s.rules.JudgeProxy(req, t.last())
	case own:
		s.tellHeaderKept(req.URL)
	case err == nil:
		s.tellOutside(req.URL)
	}
	if err != nil {
		return false, false, fmt.Errorf("tokenclient: %w", err)
	}
	return attach, own, nil
}

// newRules makes what c says about where the token may go.
func newRules(c *Config) (origin.Rules, error) {
	rules, err := origin.New(origin.Settings{
		Origins: c.Origins, Hosts: c.Hosts, AnyOrigin: c.AnyOrigin, InsecureHTTP: c.InsecureHTTP,
		Endpoints: endpointsOf(c.Refresher), ReplaceHeader: c.ReplaceHeader,
	})
	if err != nil {
		return origin.Rules{}, fmt.Errorf("tokenclient: %w", err)
	}
	return rules, nil
}

type withoutTokenKey struct{}

// WithoutToken returns a context whose requests a [Transport] sends as they are,
// without a token and without looking at the answer: for login, public pages and
// other people's servers. It holds for the redirects of such a request too.
func WithoutToken(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutTokenKey{}, true)
}

func withoutToken(ctx context.Context) bool { return ctx.Value(withoutTokenKey{}) != nil }
