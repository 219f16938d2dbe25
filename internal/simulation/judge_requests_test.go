package simulation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

func containsSecret(text string) bool { return strings.Contains(text, secret) }

// young is how old a token may be that a server may not know yet, and youngTries how often a
// request is sent again with it for that.
const (
	young      = 5*time.Second + 2*time.Second + 100*time.Millisecond
	youngTries = 4

	patience = 6 * time.Second // of the library with a store that fails
)

// sent judges a request that leaves its process.
func (j *judge) sent(x *sending, body sentBody) {
	w, c, now := j.w, x.call, j.w.now()
	x.at = now
	if x.token != "" {
		x.access = w.server.access[x.token]
	}
	w.note(c.who(), "sends %s", x)
	same, first, tokens := 0, true, map[string]bool{x.token: true}
	most := 2
	asked := false // it is because of the nonce in its proof
	for _, y := range c.seen {
		if y.host == x.host && y.path == x.path {
			tokens[y.token] = true
			asked = y.wanted != ""
			if y.demand != "" {
				most = 3
			}
			first = first && y.token != x.token
			if y.token == x.token && !asked {
				same++
			}
		}
	}
	c.seen = append(c.seen, x)
	w.server.proofs.sent(x)
	j.follows(x)
	a := x.access
	age := young + max(0, c.p.later(a))
	if a != nil && a.renewed { // it may have been on its way for long
		age += 10 * time.Second
	}
	if c.p.storeFault { // the age counts from when the token came, and the store may have kept it
		age += patience
	}
	if len(tokens) > most || same > 0 && (a == nil || c.p.ran(a.made) > age && !asked || same > youngTries) {
		w.violated("nothing too often", "%s is sent for the %dth time with one token, and with %d tokens", x, same+1, len(tokens))
	}
	if a == nil {
		return
	}
	f := a.family
	if w.plan.set.tellsExpiry && !a.renewed && first && x.decided > a.told+c.p.later(a)+150*time.Millisecond && c.p.stoodTimes(c.began) < 2 &&
		(w.plan.set.skew == 0 || !c.wasClosed()) { // it has another clock by now
		w.violated("own tokens", "%s carries a token that has expired %v ago", x, now-a.told)
	}
	if !a.saved && !a.unsaved && !a.renewed && w.plan.set.store != storeNone {
		w.violated("saved is used", "%s carries a token that is not in the store", x)
	}
	if f.forgotten {
		w.violated("logged out", "%s carries a token that was in the memory of a process that was killed", x)
	}
	if at, ok := c.p.left[f]; ok && c.began > at {
		w.violated("logged out", "%s began %v after the logout", x, c.began-at)
	}
	if at, ok := f.heard[c.p.id]; ok && c.began > at+20*time.Millisecond && at > c.p.closed && c.p.storeTrouble < at && f.exchanged < at && w.plan.set.processes == 1 {
		w.violated("final answers", "%s began %v after the server had refused the refresh token for good", x, c.began-at)
	}
	if c.p.sent[f] == 0 {
		c.p.sent[f] = now
	}
}

// arrived judges a request that reaches a server.
func (j *judge) arrived(x *sending, body sentBody) {
	w, c := j.w, x.call
	want := c.step.content()
	switch {
	case body.whole && !bytes.Equal(body.data, want):
		w.violated("same body", "%s has %d bytes of %d, or others", x, len(body.data), len(want))
	case !bytes.HasPrefix(want, body.data):
		w.violated("same body", "%s begins with other bytes", x)
	}
	if x.host == otherHost || x.path == "/back" || x.ledAcross() {
		if x.token != "" {
			w.violated("own origin", "%s", x)
		}
		if x.proof != nil {
			w.violated("own proofs", "%s has a proof, and no token", x)
		}
		return
	}
	j.ownAudience(x)
	switch a := x.access; {
	case x.token == "":
		w.violated("own tokens", "%s carries no token", x)
	case a == nil:
		w.violated("own tokens", "%s", x)
	case a.family.user != c.user || x.path != "/"+c.user:
		w.violated("own tokens", "%s is of %s, and carries a token of %s", x, c.user, a.family.user)
	}
}

// refuses notes a 401.
func (j *judge) refuses(x *sending, a *access, lags bool) {
	x.refused = true
	if a != nil && a.refused == 0 {
		a.refused = j.w.now()
	}
}

// answered notes that an answer has reached the process.
func (j *judge) answered(x *sending, a answer) {
	x.heard, x.heardAt = true, j.w.now()
	for _, nv := range a.header {
		if nv[0] == "X-Renewed" {
			renewed := j.w.server.access[nv[1]]
			renewed.unsaved, renewed.ahead = true, x.call.p.clock() // it is in use before it is stored
		}
	}
}

// mayBe401 reports whether there is a reason for the caller to get one.
func (j *judge) mayBe401(c *call) bool {
	tokens, last, asked := map[string]bool{}, c.seen[len(c.seen)-1], 0
	for _, x := range c.seen {
		if x.wanted != "" {
			asked++
		}
		if x.host == last.host {
			tokens[x.token] = true
		}
	}
	switch {
	case c.stepUp, c.wasClosed(), c.step.body == tooLong, c.step.body == keptCopy && c.sendings > 1, len(tokens) > 1 && last.refused, last.wanted != "" && asked > maxAsked:
		return true
	}
	refused := 0 // the storm guard is closed
	for _, a := range j.w.server.access {
		if a.family.user == c.user && a.refused > 0 && a.refused > j.w.now()-time.Hour {
			refused++
		}
	}
	return refused > 3
}

// backoff is how long a failure may be answered with.
const backoff = 65 * time.Second

// excused returns why a step may fail with err; "": there is no reason.
func (j *judge) excused(c *call, err error) string {
	p, now := c.p, j.w.now()
	var te *tokenclient.TokenError
	var op *net.OpError
	switch is := func(target error) bool { return errors.Is(err, target) }; {
	case (is(context.DeadlineExceeded) || is(context.Canceled)) && c.until > 0 && now >= c.until:
		return "its context ended"
	case is(tokenclient.ErrClosed) && c.wasClosed():
		return "the process was closed"
	case is(tokenclient.ErrLoginRequired):
		return j.needsLogin(c)
	case is(tokenclient.ErrReplaced) && j.mayBeReplaced(c):
		return "another login came"
	case is(tokenclient.ErrStoreUnavailable) && c.began < p.storeTrouble+backoff:
		return "the store has just failed"
	case errors.As(err, &te) && p.keptBack > 0 && c.began < p.keptBack+backoff:
		return "what it wanted to send was kept back while its process stood still"
	case errors.As(err, &te):
		for _, q := range j.shown {
			if q.p == p && q.pair.family.user == c.user && q.over && q.why != "" && (!q.wanted || q.asked == maxAskedCalls) && q.overAt+max(backoff, q.again) >= c.began {
				return "the token endpoint has just failed"
			}
		}
	case errors.As(err, &op) && c.cut, is(io.ErrUnexpectedEOF) && c.cutAnswer:
		return "its connection broke"
	case is(tokenclient.ErrRejected) && j.mayBe401(c):
		return "the API refuses it"
	}
	return ""
}

// wasClosed reports whether its process was closed while c ran.
func (c *call) wasClosed() bool { return c.p.closing > 0 || c.p.closed >= c.began }

// needsLogin returns why a login may be needed; "": there is no reason.
func (j *judge) needsLogin(c *call) string {
	const look = 1100 * time.Millisecond // a session without a token looks once a second
	a, now := j.account(c), j.w.now()
	var last *loginOf
	for _, l := range a.logins {
		if l.done > 0 && l.done <= c.began-look && (last == nil || l.done > last.done) {
			last = l
		}
	}
	switch {
	case c.p.unstored[c.user] > 0, a.leaving > 0:
		return "it logged out, which the store does not know"
	case last == nil:
		return "nobody has logged in"
	}
	for _, at := range a.ends {
		if at >= last.began && at <= now {
			return fmt.Sprintf("it ended at %v", at)
		}
	}
	return ""
}
