package simulation_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// An invariant is what must hold whatever goes wrong.
type invariant struct {
	name     string
	sentence string
	by       string // the functions that check it
}

// invariants are those that are checked, in the order of docs/proof.md.
var invariants = []invariant{
	{"one refresh", "Of one refresh token at most one presentation is on its way, and one is made only for a reason: its access token was refused, expires soon or is unknown, somebody asked for it, or the last answer was lost; where there are audiences, its access token is that of the one it is presented for.", "judge.presents, judge.reason, judge.reasonFor"},
	{"no spent token", "A refresh token is presented again only if no earlier presentation brought an answer that could be read and kept. A process that is killed explains the loss of an answer that it had not heard, and of a pair that it had no time to store; the token is not presented again while the server may be at work on what it sent. A process that stands still for longer than its hold lasts, after it has looked at its clock, may be taken for dead by others.", "judge.presents, judge.dies, judge.afterKill, judge.outlasted"},
	{"nothing too often", "A request is sent once, and once more after a refusal; with a token that is younger than 5 seconds up to four times more. A refresh token is presented no more than 12 times in 10 seconds, and not before the Retry-After of its last answer, unless another token came meanwhile or the process is new. For the nonce of a proof a request is sent three times more, and a refresh token presented twice more. Refreshes whose new token is refused as well are no more than four in 25 seconds.", "judge.sent, judge.presents, judge.storms, proofWorld.sent, proofWorld.asks"},
	{"same body", "A body arrives whole and as it was given, or not to its end; also when it is sent again.", "judge.arrived"},
	{"own origin", "No token arrives at an origin that is not allowed, nor after a redirect through one; that of one audience arrives at no API of another.", "judge.arrived, judge.ownAudience"},
	{"own tokens", "A request carries a token of its own user that a server issued, and none that is known to have expired. It is not sent again for whoever logged in meanwhile, unless a step-up vouches for that.", "judge.sent, judge.arrived, judge.follows"},
	{"own proofs", "Where tokens are bound to a key, each message with one has a proof that was never sent before, by that key, for that token and that message, and with no nonce of another server; what is sent again because of a nonce has that one.", "proofWorld.proves, proofWorld.sent, proofWorld.asks, judge.arrived"},
	{"one step-up", "What an API demands beyond a good token is asked for once for everybody who waits, and not again within 30 seconds; then a request is sent again, once, and only if whoever was asked says that it is done.", "judge.stepsUp, judge.follows, judge.unsatisfied"},
	{"no needless failure", "A request fails only for a reason: its context ended, its own connection broke, the token endpoint or the store has just failed, a login is needed, another login came, or the process was closed. It gets a 401 only if it cannot be sent again, was sent again in vain, or the API refuses new tokens one after another.", "judge.ends, judge.excused"},
	{"final answers", "A login is required only if nobody is logged in: after a logout, or after the server has refused the refresh token for good. Once it has, and the store could be told, the process sends nothing more of that login.", "judge.needsLogin, judge.sent, judge.revokes"},
	{"logged out", "A request that begins after a logout does not carry a token of the login that was ended, and no store brings that login back; nor does anything bring back what was in the memory alone of a process that was killed.", "judge.sent, judge.loaded"},
	{"waiters end", "Whoever waits ends within 0.3 seconds after its context, and everybody ends.", "judge.ends, world.play"},
	{"saved is used", "A token that a refresh or login brought is in the store before a request carries it, unless the store said that it is not, and when its process has closed without an error.", "judge.sent, judge.closes"},
	{"own key", "What is stored is sealed with the first key of the process that stores it, and a process opens what is sealed with any of its keys: a change of keys costs no login, and no failure while everybody knows the key.", "judge.sealed, judge.reads, judge.excused"},
	{"nothing left", "When all is closed there is no goroutine, no timer, no body that is not closed, no hold on a record, and in a folder no lock that is held and no temporary file.", "world.leftovers, world.judgeFolder, simulate"},
	{"no secret", "No error, log line, hook or sealed record shows a token.", "judge.readsOutput, judge.sealed"},
}

// A violation is of an invariant.
type violation struct{ name, text string }

func (v *violation) String() string { return fmt.Sprintf("[%s] %s", v.name, v.text) }

// A judge watches a world, knows all that any process or server knows, and says what must not
// happen.
type judge struct {
	w        *world
	found    *violation
	engine   register
	opener   *store.Shared       // opens what is in it
	writer   map[string]*process // of what is in the engine
	memory   *store.Memory
	accounts map[string]*account
	shown    []*presentation

	steppings []*stepping
}

// An account is what happened to a user.
type account struct {
	logins []*loginOf
	ends   []time.Duration // logouts, and refusals that were heard

	leaving int // logouts under way
}

type loginOf struct {
	by          *call
	began, done time.Duration // done 0: not yet, or it failed
	family      *family
	stepUp      bool // it is one of a StepUp
}

func newJudge(w *world) *judge {
	j := &judge{w: w, engine: register{}, writer: map[string]*process{}, memory: new(store.Memory), accounts: map[string]*account{}}
	for _, user := range users {
		j.accounts[user] = &account{}
	}
	j.opener, _ = store.NewShared(j.engine, sealer([]string{"first", "second"}), nil)
	return j
}

// violated ends the history; the first violation counts.
func (w *world) violated(name, format string, args ...any) {
	known := false
	for _, i := range invariants {
		known = known || i.name == name
	}
	if !known {
		panic("no invariant " + name)
	}
	if w.judge.found == nil {
		w.judge.found = &violation{name, fmt.Sprintf(format, args...)}
		w.note("JUDGE", "%s", w.judge.found)
	}
}

// begins notes that a step begins.
func (j *judge) begins(c *call) {
	p := c.p
	p.calls[c] = true
	switch c.step.kind {
	case forceRefresh:
		p.forced[c.user]++
	case logout:
		j.account(c).ends = append(j.account(c).ends, j.w.now())
		j.account(c).leaving++
		for _, f := range j.w.server.families {
			f.byUser = f.byUser || f.user == c.user
		}
	case restart, rekey:
		p.closed = j.w.now()
		p.closing++
	}
}

// leaves notes that a session is told to log out. It was asked for before that, if there was
// none and one had to be loaded first.
func (j *judge) leaves(c *call) {
	c.began = j.w.now()
	for _, f := range j.w.server.families {
		if f.user == c.user && f.stored > 0 && f.stored < c.began && c.p.left[f] == 0 {
			c.p.left[f] = c.began
		}
	}
}

func (j *judge) account(c *call) *account { return j.accounts[c.user] }

// logsIn has the server log the user in.
func (j *judge) logsIn(c *call) *tokenclient.Token {
	t, l := j.newLogin(c.p, c.user)
	l.by = c
	j.w.note(c.who(), "has %s with %s", j.w.server.pairs[t.RefreshToken], j.w.server.access[t.AccessToken])
	return t
}

// newLogin has the server log the user in, for a process.
func (j *judge) newLogin(by *process, user string) (*tokenclient.Token, *loginOf) {
	w := j.w
	for _, f := range w.server.families {
		f.byUser = f.byUser || f.user == user
	}
	p, a := w.server.login(user), j.accounts[user]
	p.access.ahead = by.clock()
	l := &loginOf{began: w.now(), family: p.family}
	a.logins = append(a.logins, l)
	t := &tokenclient.Token{AccessToken: p.access.text, RefreshToken: p.refresh, TokenType: "Bearer", Issued: time.Now().Round(0)}
	w.bind(by, p.family, t)
	if w.plan.set.tellsExpiry {
		t.Expiry = t.Issued.Add(w.plan.set.lifetime)
	}
	if w.plan.set.store == storeNone {
		p.access.saved = true
	}
	return t, l
}

// ends judges what came of a step.
func (j *judge) ends(c *call, status int, err error) {
	w, p, now := j.w, c.p, j.w.now()
	j.readsOutput()
	delete(p.calls, c)
	if c.until > 0 && now > c.until && p.ran(c.until) > 300*time.Millisecond && c.step.kind != restart && c.step.kind != rekey {
		w.violated("waiters end", "%s ends %v after its context", c.who(), now-c.until)
	}
	switch c.step.kind {
	case forceRefresh:
		p.forced[c.user]--
		p.forcedAt[c.user] = now
	case login:
		l := j.loginBy(c)
		if err == nil && l != nil {
			l.done = now
			l.family.stored = now
			p.unstored[c.user] = 0
		}
	case logout:
		j.account(c).ends = append(j.account(c).ends, now)
		switch {
		case !c.reached: // no session has heard of it
		case err != nil:
			p.unstored[c.user] = max(c.began, p.unstored[c.user])
		case c.began > p.unstored[c.user]:
			p.unstored[c.user] = 0
		}
		j.account(c).leaving--
		if err == nil {
			for f := range p.left {
				if f.user == c.user && f.loggedOut == 0 && p.left[f] == c.began {
					f.loggedOut = now
				}
			}
		}
		return // what it says of the store and the server is no failure of a request
	case restart, rekey:
		p.closed = now
		p.closing--
		if c.reached { // else another step does it, and has not done so yet
			j.forgets(p)
			j.closes(p, err)
		}
		return
	}
	if c.body != nil && !c.body.isClosed() {
		w.violated("nothing left", "the body of %s is not closed", c.who())
	}
	switch {
	case err != nil:
		if why := j.excused(c, err); why == "" {
			w.violated("no needless failure", "%s fails with %v", c.who(), err)
		}
	case c.step.kind == request && len(c.seen) > 0 && c.seen[len(c.seen)-1].demand != "":
		j.unsatisfied(c)
	case status == 401 && c.step.kind == request && !j.mayBe401(c):
		w.violated("no needless failure", "%s gets a 401", c.who())
	}
}

func (s *stream) isClosed() bool {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.closed
}

// loginBy returns what c has begun; nil: it has not come so far.
func (j *judge) loginBy(c *call) *loginOf {
	for _, l := range j.account(c).logins {
		if l.by == c {
			return l
		}
	}
	return nil
}

// forgets notes that p is a new process, which does not know of logouts that are not stored.
func (j *judge) forgets(p *process) {
	for f := range p.left {
		if f.loggedOut == 0 {
			delete(p.left, f)
		}
	}
	clear(p.unstored)
}

// closes judges the end of a process.
func (j *judge) closes(p *process, err error) {
	var unsaved *tokenclient.NotSavedError
	switch {
	case err == nil:
		for _, q := range j.shown {
			if next := q.result; q.p == p && q.over && q.why == "" && next != nil && !q.gone && !q.unsaved && !next.access.saved && !next.family.byUser && !next.family.revoked &&
				next.n == next.family.lastPair && j.w.plan.set.store != storeNone && !j.w.plan.set.keepsToken {
				j.w.violated("saved is used", "%s is closed without an error, and %s is not in the store", p.name(), next)
			}
		}
	case errors.As(err, &unsaved) && p.storeFault:
		for _, q := range j.shown {
			q.unsaved = q.unsaved || q.p == p && q.result != nil && q.result.refresh == unsaved.Token.RefreshToken
		}
	default:
		j.w.violated("no needless failure", "closing %s fails with %v", p.name(), err)
	}
}

// readsOutput looks for tokens in all that was said.
func (j *judge) readsOutput() {
	w := j.w
	w.mu.Lock()
	out := w.out
	w.out = nil
	w.mu.Unlock()
	for _, text := range out {
		w.server.proofs.readsOutput(text)
		if containsSecret(text) {
			w.violated("no secret", "a token is in %q", text)
		}
	}
}
