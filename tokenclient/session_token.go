package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// errNoRefresher is why a session cannot do what only a Refresher can.
var errNoRefresher = errors.New("Config.Refresher is nil, and only the server renews the token")

var errStorm error = &kindError{"tokenclient: the server keeps refusing tokens that were just refreshed", ErrRejected}

// Token returns a copy of a token that is good to be sent now, after loading or
// refreshing it if necessary; for a token that a server has just refused it waits until
// that is refreshed. If only the server renews it (without a Config.Refresher, or with
// one that could present nothing but an expired token, see Config.Renewed) that is the
// token as it is, expired or not, after a look at the store if it has expired. Errors are
// those of a request: ErrLoginRequired, a [*TokenError], ErrStoreUnavailable,
// ErrStoreCorrupt, ErrClosed, ErrReentrant, or ctx's.
func (s *Session) Token(ctx context.Context) (*Token, error) {
	h, err := s.unrefused(ctx)
	for errors.Is(err, errOtherLogin) { // there is no request yet that began with the other one
		h, err = s.unrefused(ctx)
	}
	return s.copyOf(h, err)
}

// Peek returns a copy of the token as it is, expired or not, after loading it if
// necessary, and never refreshes it. Its AccessToken is empty if the login brought a refresh
// token alone and no request has come since. If there is none the error is
// ErrLoginRequired.
func (s *Session) Peek(ctx context.Context) (*Token, error) { return s.copyOf(s.asItIs(ctx)) }

// TokenFor is [Session.Token] for the [Audience] of that name. Its RefreshToken is the
// session's.
func (s *Session) TokenFor(ctx context.Context, audience string) (*Token, error) {
	if part := s.part(audience); part != nil {
		return part.Token(ctx)
	}
	return nil, fmt.Errorf("tokenclient: TokenFor: Config.Audiences has no %q", audience)
}

// copyOf returns a copy of h's token.
func (s *Session) copyOf(h *held, err error) (*Token, error) {
	if err != nil {
		return nil, s.whose(err)
	}
	return h.token().Clone(), nil
}

// Do is for protocols that have no RoundTripper. It calls f with a token that is good to be
// sent now: f dials, proves by t who it is, and does what there is to do. If the server
// refuses t, f returns an error that is [ErrRejected]. The token is then refreshed, together
// with everybody who was refused, and f is called a second time, to begin again with the new
// one. What it returns then is the result, whatever it is.
//
// There is no second call, and Do returns what f did, if a refresh is out of the question:
// refreshed tokens have been refused too often of late, as for requests of a [Transport], or
// there is no Config.Refresher. If the refresh fails, or there is no token to begin with, the
// error is that of a request: ErrLoginRequired, a [*TokenError], ErrStoreUnavailable,
// ErrStoreCorrupt, ErrReplaced, ErrClosed, ErrReentrant, or ctx's.
//
// f gets ctx, with which [PerRPCCredentials] send the same token for as long as f runs, and a copy
// of that: the login's own, if there are Config.Audiences. If it is about to expire meanwhile, or
// f has returned, they send what is good now; but with that ctx never the token of another
// login, which is ErrReplaced unless Config.StepUp vouched for it, nor any after a logout, which is
// ErrLoginRequired. The same goes for Do with it.
//
// With a ctx of [WithoutToken] f is called once, and the token is empty. It runs on the caller's
// goroutine; no lock is held. Where the token goes is for f to know: Config.Origins is not asked.
func (s *Session) Do(ctx context.Context, f func(ctx context.Context, t *Token) error) error {
	if withoutToken(ctx) {
		return f(ctx, new(Token))
	}
	outer := s.lent(ctx)
	h, err := s.unrefusedFor(ctx, outer)
	if err != nil {
		return s.whose(err)
	}
	h, rejected := s.lend(ctx, h, f)
	if v := outer.rejection(); v != nil { // RefreshRejected was between the two calls
		s.calledAgain(h, *v, rejected)
		return rejected
	}
	if !errors.Is(rejected, ErrRejected) {
		return rejected
	}
	v := s.rejected(h, nil)
	if !v.again {
		return rejected
	}
	if h, err = s.insteadOf(ctx, h); err != nil {
		return s.whose(err)
	}
	h, err = s.lend(ctx, h, f)
	s.calledAgain(h, v, err)
	return err
}

// calledAgain notes what came of the second call, with h after v. Whether the server takes the token
// an error does not tell: it may come from before anybody looked at that.
func (s *Session) calledAgain(h *held, v rejection, err error) {
	if refused := errors.Is(err, ErrRejected); refused || err == nil {
		s.replayed(h, v, refused)
	}
}

// A loan is a token that Do lends to one call of its function.
type loan struct {
	given   *held
	sent    atomic.Pointer[held]      // what went out last: it, or its successor
	over    atomic.Bool               // the call has returned
	refused atomic.Pointer[rejection] // why RefreshRejected has replaced it; nil: it has not
}

// is reports whether t is what l was given. l may be nil.
func (l *loan) is(t *Token) bool {
	return l != nil && t != nil && l.given.token().AccessToken == t.AccessToken
}

// rejection is why RefreshRejected has replaced what was given; nil: it has not. l may be nil.
func (l *loan) rejection() *rejection {
	if l == nil {
		return nil
	}
	return l.refused.Load()
}

// lend calls f with h's token, and returns which one went out last.
func (s *Session) lend(ctx context.Context, h *held, f func(context.Context, *Token) error) (*held, error) {
	l := &loan{given: h}
	l.sent.Store(h)
	defer l.over.Store(true)
	s.tellAttached(ctx, h.number())
	err := f(context.WithValue(ctx, lentKey{s}, l), h.token().Clone())
	return l.sent.Load(), err
}

// lentKey marks the contexts of Do, which have the loan that f got.
type lentKey struct{ session *Session }

// lent is what Do lent to whom ctx belongs; nil: nothing.
func (s *Session) lent(ctx context.Context) *loan {
	l, _ := ctx.Value(lentKey{s}).(*loan)
	return l
}

// unrefusedFor is unrefused for whom l was lent to; nil: nobody.
func (s *Session) unrefusedFor(ctx context.Context, l *loan) (*held, error) {
	h, err := s.unrefused(ctx)
	if err != nil || l == nil {
		return h, err
	}
	sent := l.sent.Load()
	return s.orVouched(ctx, sent, h, h.follows(sent, true))
}

// toSend returns what goes out with ctx, and tells that it does.
func (s *Session) toSend(ctx context.Context) (*held, error) {
	l := s.lent(ctx)
	if l != nil && !l.over.Load() {
		h, now := l.sent.Load(), s.holds()
		if now.usable() && now.follows(h, true) == nil && !h.overdue(time.Now()) {
			return h, nil // lend has told
		}
	}
	h, err := s.unrefusedFor(ctx, l)
	if err != nil {
		return nil, s.whose(err)
	}
	if l != nil {
		l.sent.Store(h)
	}
	s.tellAttached(ctx, h.number())
	return h, nil
}

// Refresh exchanges the refresh token now, whether or not the access token is
// still good, or takes part in a refresh that is under way. It returns a copy of
// the new token. Neither the wait after a failure nor the bound on refreshes that
// a 401 asked for holds it back. Errors are those of [Session.Token]. Without a
// Config.Refresher there is nothing to refresh with, which is an error at once.
func (s *Session) Refresh(ctx context.Context) (*Token, error) {
	if !s.config().hasRefresher() {
		return nil, fmt.Errorf("tokenclient: Refresh: %w", errNoRefresher)
	}
	h, err := s.asItIs(ctx)
	for inAnswer := true; err == nil && inAnswer; { // a token that an answer brought meanwhile is not what was asked for
		if h, err = s.refreshed(ctx, h, CauseForced); err == nil {
			s.ask(func(st *state, _ time.Time) { inAnswer = st.cameInAnswer(h) })
		}
	}
	if errors.Is(err, errOtherLogin) {
		h, err = s.asItIs(ctx)
	}
	return s.copyOf(h, err)
}

// RefreshRejected is for protocols other than HTTP, where [Session.Do] does not fit: it
// reports that the server refused t, which [Session.Token] returned, and returns a copy of a
// token to try instead. If the session has another token by now, that is returned at once;
// else it is refreshed, together with everybody who was refused, at most three
// times at once and then once in 30 seconds; beyond that the error is a
// [*TokenError] that says when, and ErrRejected. Try once with the result, and then give up.
//
// Without a Config.Refresher the token can only come from the Store, where another
// process may have put it; if it does not, the error is ErrLoginRequired and ErrRejected, and
// the session goes on with the token that it has.
//
// With the ctx that the function of [Session.Do] got with t, also after Do has returned, it is
// known which login t is of: if another one took its place, the error is ErrReplaced. Do with
// that ctx then makes the second call: no further one follows, and a refresh that helped does not
// count among those three.
func (s *Session) RefreshRejected(ctx context.Context, t *Token) (*Token, error) {
	h, err := s.current(ctx)
	if err != nil {
		return nil, s.whose(err)
	}
	l, v, successor := s.lent(ctx), rejection{again: true}, s.insteadOf
	switch held := h.token(); {
	case l.is(t) && (l.rejection() != nil || !h.same(l.sent.Load())): // t was replaced by now
		h = l.given
	case !l.is(t) && (t == nil || held.AccessToken != t.AccessToken || !held.Issued.Equal(t.Issued)):
		return held.Clone(), nil // the text alone does not tell: a server may issue the same one again
	case !s.config().hasRefresher():
		successor = s.foundNewer
	default:
		if v = s.rejected(h, nil); !v.again {
			if v.next.IsZero() {
				return nil, ErrClosed
			}
			return nil, &TokenError{RetryAfter: time.Until(v.next), Err: errStorm}
		}
	}
	next, err := successor(ctx, h)
	if err == nil && l.is(t) && l.refused.CompareAndSwap(nil, &v) {
		l.sent.Store(next)
	}
	return s.copyOf(next, err)
}

// foundNewer returns what the store has in the place of h, which the server refused, of a
// session that cannot refresh it.
func (s *Session) foundNewer(ctx context.Context, h *held) (*held, error) {
	s.lookForNewer(ctx)
	now, err := s.asItIs(ctx)
	switch {
	case err != nil:
		return nil, err
	case now.same(h):
		return nil, fmt.Errorf("%w: the server refused the token; %w", ErrLoginRequired, &kindError{errNoRefresher.Error(), ErrRejected})
	}
	return now, now.follows(h, true)
}

// keepFreshStep is the longest that KeepFresh sleeps without a look at the clock.
// Timers stand still while a machine is suspended, and expiry does not.
const keepFreshStep = 30 * time.Second

// keepFreshPause is the shortest time between two refreshes by KeepFresh, unless the program
// wants a faster heartbeat. It is in time for a token of a second, the shortest life that
// expires_in can state, and keeps to no more than 12 presentations in 10 seconds. A Pool's step
// is longer.
func (s *Session) keepFreshPause() time.Duration {
	const pause = 850 * time.Millisecond
	if beat := s.config().beat(); beat > 0 {
		return min(beat, pause)
	}
	return pause
}

// KeepFresh refreshes the token in time, before requests have to ask for it, and
// every Config.Heartbeat at least if that is set. It runs until ctx ends, and then
// returns nil, or until the session ends, and then returns an error that is
// ErrLoginRequired (ErrClosed after Close). Refreshes that fail are tried again. With
// Config.Renewed, an expired token that only a heartbeat could exchange is left to the next
// request.
//
// There are 0.85 seconds at least between two refreshes, or Config.Heartbeat if that is less. A
// token that lives for less is not kept fresh all the time: a request that finds it expired
// refreshes it, as without KeepFresh.
//
// A token whose expiry is unknown cannot be kept fresh without a Heartbeat: that
// is an error at once. So is a session without a Config.Refresher, since there is
// nothing to call, and the context of one of the session's own refreshes: ErrReentrant.
func (s *Session) KeepFresh(ctx context.Context) error {
	if !s.config().hasRefresher() {
		return fmt.Errorf("tokenclient: KeepFresh: %w", errNoRefresher)
	}
	if s.inside(ctx) {
		return fmt.Errorf("tokenclient: KeepFresh would wait for its own caller: %w", ErrReentrant)
	}
	defer s.watch()()
	for {
		released := s.release()
		h, err := s.asItIs(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLoginRequired), errors.Is(err, ErrClosed), errors.Is(err, ErrReentrant):
			return s.whose(err)
		case err == nil && !h.expires() && s.config().beat() == 0:
			return errors.New("tokenclient: KeepFresh needs a token whose expiry is known, or Config.Heartbeat")
		}
		wait := lookInterval // if the store could not be read
		if err == nil {
			if wait, err = s.keepFreshOnce(ctx, h); err != nil {
				return err
			}
		}
		if wait <= 0 {
			continue // a new token
		}
		timer := time.NewTimer(min(wait, keepFreshStep))
		select {
		case <-timer.C:
		case <-released: // a login or the end
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// keepFreshOnce refreshes h if that is due, and returns how long to wait before the next
// look. The error is ErrClosed if the session is about to be closed with its host.
func (s *Session) keepFreshOnce(ctx context.Context, h *held) (wait time.Duration, err error) {
	now := time.Now()
	if wait := s.untilDue(h, now); wait > 0 {
		return wait, nil
	}
	if h.expired(now) && s.serverRenews(h) {
		s.lookForNewer(ctx)
		return keepFreshStep, nil // the next request asks the server
	}
	// As long as it need not be, do not refresh what somebody else may be refreshing.
	if h.overdue(now) || s.worthPresenting(h) {
		switch _, err := s.refreshed(ctx, h, CauseTimer); {
		case err == nil:
			return s.keepFreshPause() - time.Since(now), nil
		case err == ErrClosed: //nolint:errorlint // one that is wrapped is about another session
			return 0, err
		}
	}
	s.ask(func(st *state, _ time.Time) { wait = st.untilRefresh(h, now) })
	return wait, nil
}

// untilDue returns how long it is until h is to be refreshed; not more than 0 if it is.
func (s *Session) untilDue(h *held, now time.Time) time.Duration {
	return h.untilDue(s.config().beat(), s.config().canRefresh(h.token()), now)
}

// PerRPCCredentials puts a session's token on gRPC calls. It implements
// credentials.PerRPCCredentials of google.golang.org/grpc, which this package
// does not import:
//
//	grpc.NewClient(target, grpc.WithPerRPCCredentials(session.PerRPCCredentials()), …)
//
// A connection without TLS gRPC refuses, also to this machine: see
// [PerRPCCredentials.Loopback].
//
// It does not see the answers: make the call in [Session.Do], and return ErrRejected on
// codes.Unauthenticated. It is safe for concurrent use.
type PerRPCCredentials struct {
	s        *Session
	loopback bool // see Loopback
}

// PerRPCCredentials returns s's token as credentials for gRPC.
func (s *Session) PerRPCCredentials() *PerRPCCredentials { return &PerRPCCredentials{s: s} }

// Loopback returns credentials for connections within this machine, with or without TLS:
//
//	grpc.NewClient("localhost:50051", grpc.WithTransportCredentials(insecure.NewCredentials()),
//		grpc.WithPerRPCCredentials(session.PerRPCCredentials().Loopback()))
//
// Their token goes to localhost and other loopback addresses alone, and only to those that
// Config.Origins lists with http, like "http://localhost:50051"; the default port is 80, and
// gRPC calls a Unix socket "http://localhost". gRPC says what the call's authority is, which
// is the name that was dialed unless the program has set another one.
func (c *PerRPCCredentials) Loopback() *PerRPCCredentials { return &PerRPCCredentials{c.s, true} }

// GetRequestMetadata returns the header that carries the token, with its name in
// lower case. It is an error if uri is not of an allowed origin; other errors are
// those of [Session.Token], and ErrReplaced. Within [Session.Do] the token is the one that Do
// has handed out, unless that is about to expire.
func (c *PerRPCCredentials) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	if withoutToken(ctx) {
		return nil, nil
	}
	for _, raw := range uri {
		u, err := url.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("tokenclient: gRPC target is not a URL")
		}
		if c.loopback {
			u.Scheme = "http" // gRPC says https whatever the connection is
		}
		switch o := origin.Of(u); {
		case c.loopback && !o.IsLoopback():
			return nil, fmt.Errorf("tokenclient: no token is sent to %s: Loopback credentials are for this machine; use Session.PerRPCCredentials as it is", o)
		case !c.s.config().allows(u):
			return nil, fmt.Errorf("tokenclient: no token is sent to %s: it is not in Config.Origins, or plain http", o)
		}
	}
	if c.loopback && len(uri) == 0 {
		return nil, errors.New("tokenclient: no token is sent: Loopback credentials have to be told where to")
	}
	h, err := c.s.toSend(ctx)
	if err != nil {
		return nil, err
	}
	req := &http.Request{Method: http.MethodPost, URL: new(url.URL), Header: make(http.Header)}
	if err := c.s.config().attach(req.WithContext(ctx), h.token()); err != nil {
		return nil, err
	}
	metadata := make(map[string]string, len(req.Header))
	for name, values := range req.Header {
		metadata[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return metadata, nil
}

// RequireTransportSecurity reports whether gRPC must refuse connections without
// TLS: unless Config.InsecureHTTP is set, or these are those of [PerRPCCredentials.Loopback].
func (c *PerRPCCredentials) RequireTransportSecurity() bool {
	return !c.loopback && !c.s.config().insecure()
}
