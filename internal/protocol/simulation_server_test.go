package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// An authority is a server that rotates refresh tokens and ends the family of one
// that is presented after it was exchanged. With grace it answers such a one with
// another new token for a while.
type authority struct {
	grace    time.Duration
	families []*family
	pairs    map[string]*pair // by refresh token
}

// A family is what came of one login.
type family struct {
	id       int
	revoked  bool
	logout   bool   // it was revoked by a logout
	excuse   string // why a loss was not to be prevented; "": no such reason
	lastPair int
}

// A pair is an access and refresh token.
type pair struct {
	family    *family
	n         int
	text      string
	from      *presentation   // nil: a login
	rotated   *presentation   // the first that exchanged it
	rotatedAt time.Duration   // when that was
	shown     []*presentation // those that may have had an effect
	refused   bool            // the server said so to somebody
	committed bool            // it was in the engine
}

// A presentation is one request with a refresh token.
type presentation struct {
	call      *call
	pair      *pair
	sent      time.Duration
	stood     time.Duration // between the last look at the clock and that
	result    *pair
	answered  time.Duration // when the answer reached the process; 0: not yet
	arrives   time.Duration // when it arrives, if that is after its client has left; 0: never
	gaveUp    time.Duration // when its client left; 0: it did not
	over      bool          // the process knows what there is to know
	ambiguous bool          // and that is nothing
	refused   bool
	late      bool   // it went out though the hold could run out before the server was done
	before    int    // how many there were when it was about to be sent
	why       string // what was wrong with those before; "": nothing
}

func (f *family) mint(s *authority, from *presentation) *pair {
	f.lastPair++
	t := &pair{family: f, n: f.lastPair, from: from, text: fmt.Sprintf("refresh-%d-%d", f.id, f.lastPair)}
	s.pairs[t.text] = t
	return t
}

// renewal is a token with the refresh token of old that the server sends by itself.
func renewal(old *tokenclient.Token, n int) *tokenclient.Token {
	t := old.Clone()
	t.AccessToken = fmt.Sprintf("renewed-%d-%s", n, old.AccessToken)
	return t
}

func isRenewal(t *tokenclient.Token) bool { return strings.HasPrefix(t.AccessToken, "renewed-") }

func (t *pair) token() *tokenclient.Token {
	return &tokenclient.Token{AccessToken: fmt.Sprintf("access-%d-%d", t.family.id, t.n), RefreshToken: t.text, TokenType: "Bearer"}
}

// login begins a family.
func (s *authority) login() *pair {
	f := &family{id: len(s.families) + 1}
	s.families = append(s.families, f)
	return f.mint(s, nil)
}

// take is the server at work on q.
func (w *world) take(q *presentation) {
	t := q.pair
	who := q.call.who
	switch {
	case t.family.revoked:
		q.refused = true
		w.note(who, "server: %d-%d REFUSED, family is revoked", t.family.id, t.n)
	case t.rotated == nil || w.now()-t.rotatedAt < w.server.grace:
		if t.rotated == nil {
			t.rotated, t.rotatedAt = q, w.now()
		} else {
			w.count(graced)
		}
		q.result = t.family.mint(&w.server, q)
		w.note(who, "server: %d-%d exchanged", t.family.id, t.n)
	default:
		q.refused, t.family.revoked = true, true
		w.note(who, "server: %d-%d presented again, family REVOKED", t.family.id, t.n)
		w.judge.revoked(t, q)
	}
	if q.refused {
		t.refused = true
	}
}

// What a request to the server comes to.
const (
	asAsked     = iota
	notSent     // no connection
	declined    // 429, and nothing happened
	brokeBefore // the connection broke, and nothing happened
	brokeAfter  // the connection broke, and the token was exchanged
	down        // 503, and nothing happened
	failedAfter // 500 after the exchange
	tooSlow     // the answer comes after the client has left
	swallowed   // the request never arrives
)

var serverFaults = map[int]int{
	notSent: serverNotSent, declined: server429, brokeBefore: serverLostRequest, brokeAfter: serverLostAnswer,
	down: server5xxBefore, failedAfter: server5xxAfter, tooSlow: serverTooSlow, swallowed: serverSwallowed,
}

var (
	errBroke  = errors.New("connection reset")
	errNoDial = fmt.Errorf("%w: connection refused", tokenclient.ErrNotPresented)
)

// refresh presents old to the server. It is what a tokenclient.Refresher does.
func (p *process) refresh(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	w := p.w
	c := callOf(ctx)
	q := &presentation{call: c}
	o := &operation{call: c, what: "exchange", ctx: ctx}
	o.start = func() {
		if q.pair == nil {
			q.pair = w.server.pairs[old.RefreshToken]
			w.judge.checked(q)
		}
		if w.struck(o, o.start) {
			return
		}
		w.send(o, q)
	}
	p.perform(o)
	if o.err != nil {
		return nil, o.err
	}
	return q.result.token(), nil
}

// send lets the request go out. From here on it has its effect without its process.
func (w *world) send(o *operation, q *presentation) {
	c, t, limit := q.call, q.pair, w.set.timeout
	q.sent, q.stood = w.now(), w.now()-o.started
	c.sent = q
	o.abandoned = func() {
		q.over, q.ambiguous, q.gaveUp = true, true, w.now()
		w.judge.abandoned(o)
	}
	kind := asAsked
	if !w.quiet && w.chance(w.set.serverTrouble) {
		kind = 1 + w.rng.IntN(swallowed)
		if kind == swallowed && w.set.latePairs {
			kind = tooSlow
		}
		w.count(serverFaults[kind])
	}
	spent := kind != notSent && kind != declined
	w.note(c.who, "sends %d-%d", t.family.id, t.n)
	w.judge.presented(q, spent)
	if spent {
		t.shown = append(t.shown, q)
	}
	// The server has finished a request by the time at which its client leaves.
	work := w.between(time.Millisecond, 200*time.Millisecond)
	if w.chance(w.set.slowServer) {
		work = w.between(0, limit-5*time.Millisecond)
	}
	if w.set.lingerGone && w.chance(0.3) {
		work = w.between(limit, 2*limit)
	}
	back := min(w.between(time.Millisecond, 50*time.Millisecond), limit-work)
	if kind == tooSlow {
		back = limit
		if w.set.latePairs {
			q.arrives = w.now() + work + back
		}
	}
	answer := func(err error, ambiguous bool) {
		w.forProcess(o, back, func() {
			q.over, q.ambiguous, q.answered = true, ambiguous, w.now()
			if err == nil && q.result != nil {
				c.made = q.result
			}
			w.note(c.who, "hears of %d-%d", t.family.id, t.n)
			w.end(o, err)
		})
	}
	switch kind {
	case notSent:
		answer(&tokenclient.TokenError{Err: errNoDial}, false)
	case declined:
		answer(&tokenclient.TokenError{StatusCode: 429}, false)
	case swallowed:
	case brokeBefore:
		answer(&tokenclient.TokenError{Err: errBroke}, true)
	case down:
		answer(&tokenclient.TokenError{StatusCode: 503}, true)
	default:
		handle := func() {
			if o.p.dead {
				w.count(lateRequest)
			}
			w.take(q)
			switch {
			case kind == brokeAfter:
				answer(&tokenclient.TokenError{Err: errBroke}, true)
			case kind == failedAfter:
				answer(&tokenclient.TokenError{StatusCode: 500}, true)
			case q.refused:
				answer(&tokenclient.TokenError{StatusCode: 400, Code: "invalid_grant", Err: tokenclient.ErrRefused}, false)
			default:
				answer(nil, false)
			}
		}
		w.after(work, func() {
			if w.set.lingerDead && o.p.dead {
				w.after(w.between(w.set.lease(), 3*w.set.lease()), handle)
				return
			}
			if w.ended(o.p) && !w.set.promiseBroken {
				w.count(deadDropped)
				w.note(c.who, "server: drops %d-%d of the dead", t.family.id, t.n)
				return
			}
			handle()
		})
	}
	w.strikeLater(o, work+back)
}

// revoke tells the server to forget t. The server ends the whole family.
func (p *process) revoke(ctx context.Context, t *tokenclient.Token) error {
	w := p.w
	c := &call{p: p, name: "revoke " + t.RefreshToken, who: p.name() + " revoke"}
	o := &operation{call: c, what: "revoke"}
	o.start = func() {
		q := w.server.pairs[t.RefreshToken]
		w.note(c.who, "revokes %d-%d", q.family.id, q.n)
		w.judge.revokes(p, q)
		if !q.family.revoked {
			q.family.revoked, q.family.logout = true, true
		}
		w.end(o, nil)
	}
	p.perform(o)
	return nil
}
