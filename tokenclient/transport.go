package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/aside"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
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
// without a Refresher, nor a request that NoReplay is about. One whose body has no GetBody
// can be sent twice at most: it waits only if another request tries the token.
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
// An [Attacher] that is told of the answers may have a request sent again, at most three times,
// and a Config.StepUp once, beside all that.
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

	// sessions finds that of a request's context, in the place of Session; nil if it needs none.
	sessions func(context.Context) (*Session, error)
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
	refused := s.lastRefused()
	h, err := s.current(req.Context())
	if err == nil && h.isOf(refused) {
		h, err = s.afterRefusal(req.Context(), h, placeOf(req.URL), t.replayable(req))
	}
	if err != nil {
		return nil, notSent(req, s.whose(err))
	}
	var body replay.Body
	if req.Body != nil {
		o := t.replayOptions()
		// Beside the replay; and GetBody gives the body as often as a young token is tried.
		o.Often = s.config().answerer() != nil || s.config().steps() != nil || req.GetBody != nil
		body = replay.New(req, o)
	}
	sent := s.config().sendTime()
	x := t.send(req, s, h, lastSending{body: body})
	if d := s.demandIn(req, &x); d != nil {
		return t.stepUp(req, s, h, x, *d)
	}
	if !x.refused {
		x.body.HandOver()
		if x.err == nil {
			s.answered(h, req.URL, x.resp)
		}
		s.renewedBy(x.resp, h, sent)
		return x.resp, x.err
	}
	return t.rejected(req, s, h, x)
}

// replayable reports whether req can be sent again, whatever a server does that refuses it.
func (t *Transport) replayable(req *http.Request) bool {
	return replay.Certain(req, t.replayOptions()) && (t.NoReplay == nil || !t.NoReplay(req))
}

// inPlaceOf sends req with s's token in the place of the header that the caller has set.
func (t *Transport) inPlaceOf(req *http.Request, s *Session) (*http.Response, error) {
	r := req.WithContext(req.Context())
	r.Header = origin.Without(req.Header, s.config().tokenHeader())
	resp, err := t.RoundTrip(r)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// session returns the session whose token a request gets, nil if it needs none.
func (t *Transport) session(ctx context.Context) (*Session, error) {
	switch {
	case t.sessions == nil && t.Session == nil:
		return nil, errors.New("tokenclient: Transport.Session is nil; use Session.Transport or Session.Wrap")
	case t.sessions == nil:
		return t.Session, nil
	case t.Session != nil:
		return nil, errors.New("tokenclient: Transport.Session is set on a Transport of a Pool, whose requests name their session by WithKey")
	}
	return t.sessions(ctx)
}

// rejected goes on with a request whose token, h of s, the server refused with x.
func (t *Transport) rejected(req *http.Request, s *Session, h *held, x lastSending) (*http.Response, error) {
	s.tellRejected(req, h)
	if !challengeAllowsRefresh(x.resp) {
		x.body.HandOver()
		return x.resp, nil
	}
	if x = t.tryYoung(req, s, h, x); x.over() {
		x.body.HandOver()
		return x.resp, x.err
	}
	v := s.rejected(h, req.URL)
	if !v.again {
		x.body.HandOver()
		return x.resp, nil
	}
	again, ok := t.takeBack(req, x.body)
	if !ok {
		x.body.HandOver()
		s.refreshInBackground()
		return x.resp, nil
	}
	drop(x.resp, again) // before the refresh: it may need this connection
	h, err := s.insteadOf(req.Context(), h)
	if err != nil {
		again.Close()
		return nil, s.whose(err)
	}
	if x = t.sendAgain(req, s, h, x.next(again)); !x.over() {
		x = t.tryYoung(req, s, h, x)
	}
	d := s.demandIn(req, &x)
	if x.err == nil && !x.asking {
		s.replayed(h, v, x.refused && d == nil)
	}
	if d != nil {
		return t.stepUp(req, s, h, x, *d)
	}
	x.body.HandOver()
	return x.resp, x.err
}

// stepUp goes on with a request to which x, with h's token of s, is an answer that demands d.
func (t *Transport) stepUp(req *http.Request, s *Session, h *held, x lastSending, d Demand) (*http.Response, error) {
	defer func() { x.body.HandOver() }()
	x.resp.Body = aside.Put(x.resp.Body) // who steps up may need this connection
	next, err := s.stepUp(req.Context(), h, d)
	if err != nil {
		shut(x.resp)
		return nil, err
	}
	if next == nil {
		return x.resp, nil
	}
	again, ok := t.takeBack(req, x.body)
	if !ok {
		return x.resp, nil
	}
	drop(x.resp, again)
	x = t.sendAgain(req, s, next, x.next(again))
	return x.resp, x.err
}

// mayAttach reports whether req gets the token of s, and whether its caller has set the
// header of it. It is an error for a token to be wanted where somebody else could read it.
func (t *Transport) mayAttach(s *Session, req *http.Request) (attach, own bool, err error) {
	if withoutToken(req.Context()) {
		return false, false, nil
	}
	attach, own, err = s.config().judge(req, s.isOurs, t.last)
	switch {
	case attach:
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

type withoutTokenKey struct{}

// WithoutToken returns a context whose requests a [Transport] sends as they are,
// without a token and without looking at the answer: for login, public pages and
// other people's servers. It holds for the redirects of such a request too.
func WithoutToken(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutTokenKey{}, true)
}

// WantsToken reports whether ctx is none of [WithoutToken]. It is for protocols that have no
// [Transport].
func WantsToken(ctx context.Context) bool { return !withoutToken(ctx) }

func withoutToken(ctx context.Context) bool { return ctx.Value(withoutTokenKey{}) != nil }
