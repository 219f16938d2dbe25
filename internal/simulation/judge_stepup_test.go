package simulation_test

import (
	"context"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// askedAgain is how soon the same is not asked for again: see Config.StepUp.
const askedAgain = 30 * time.Second

// late is how long an answer of the API may be on its way.
const late = 10 * time.Second

// turned reports whether somebody else may be the user since then, as a process sees it.
func (j *judge) turned(p *process, user string, since time.Duration) bool {
	a := j.accounts[user]
	for _, at := range a.ends {
		if at >= since {
			return true
		}
	}
	for _, l := range a.logins {
		known := p.sent[l.family]
		switch by := l.family.vouched; {
		case by != p && (l.began >= since || l.done >= since):
			return true
		case by != p && by != nil && (known == 0 || known >= since): // p takes it for somebody else's, whenever it finds it
			return true
		}
	}
	return a.leaving > 0
}

// stepsUp judges that the StepUp of a session is called.
func (j *judge) stepsUp(p *process, session *tokenclient.Session, user string, d tokenclient.Demand, key string) *stepping {
	w := j.w
	s := &stepping{p: p, session: session, user: user, demand: d.Origin + " " + d.Error + " " + d.Scope, began: w.now()}
	switch u := w.plan.unit(key); {
	case u < 0.6:
		s.what = stepLogsIn
	case u < 0.8:
		s.what = stepOther
	default:
		s.what = stepRefuses
	}
	w.note(p.name(), "is to step up for %s, and %s", user, s.what)
	for _, before := range j.steppings {
		if before.p != p || before.user != user || before.demand != s.demand || p.closed >= before.began || p.closing > 0 ||
			j.turned(p, user, before.began-late) { // who asks may have sent its request before that
			continue
		}
		switch {
		case !before.over:
			w.violated("one step-up", "%s is asked for while another is under way", s)
		case w.now() < before.ended+askedAgain && !before.left && before.session == session: // a Pool may have forgotten another one
			w.violated("one step-up", "%s is asked for %v after the last one", s, w.now()-before.ended)
		}
	}
	j.steppings = append(j.steppings, s)
	return s
}

// stepLogin has the server log a user in for s.
func (j *judge) stepLogin(s *stepping, d tokenclient.Demand) *tokenclient.Token {
	w := j.w
	if w.plan.set.oldDies {
		w.server.revokeAccess(s.user)
	}
	t, l := j.newLogin(s.p, s.user)
	l.stepUp, s.family = true, l.family
	s.family.level = 1
	if d.ACRValues != "" {
		s.family.level = 2
	}
	w.note(s.p.name(), "has %s by stepping up", w.server.access[t.AccessToken])
	return t
}

// stepStored notes that what came of s is the session's.
func (j *judge) stepStored(s *stepping) {
	now := j.w.now()
	for _, l := range j.accounts[s.user].logins {
		if l.family == s.family {
			l.done = now
		}
	}
	s.family.stored, s.p.unstored[s.user] = now, 0
}

// steppedUp notes what StepUp returns.
func (j *judge) steppedUp(s *stepping, ctx context.Context, err error) {
	s.over, s.ended, s.err, s.left = true, j.w.now(), err, ctx.Err() != nil
	if err == nil && s.family != nil {
		s.family.vouched = s.p
	}
	j.w.note(s.p.name(), "has stepped up for %s: %v", s.user, err)
}

// follows judges that x is sent after others of the same request: for nobody who logged in
// meanwhile, unless StepUp has vouched for that login, and for what the API demands once.
func (j *judge) follows(x *sending) {
	w, after := j.w, 0
	for _, y := range x.call.seen {
		if y == x || y.host != x.host || y.path != x.path || y.access == nil || x.access == nil {
			continue
		}
		if f := x.access.family; f != y.access.family && f.vouched != x.call.p && x.call.step.kind == request {
			w.violated("own tokens", "%s is sent for another login than before, with %s", x, y.access)
		}
		switch {
		case y.demand != "":
			after++
		case after > 0 && y.wanted == "":
			after++
		}
	}
	most := 0
	if w.plan.set.stepUp {
		most = 1
	}
	if after > most && x.call.step.kind == request {
		w.violated("one step-up", "%s is sent again %d times for what the API demands", x, after)
	}
}

// unsatisfied judges that c ends with what the API demands.
func (j *judge) unsatisfied(c *call) {
	last := c.seen[len(c.seen)-1]
	if last.demand == "" || !last.heard || last.host == otherHost || c.step.body == tooLong || c.step.body == keptCopy || c.wasClosed() || last.access == nil {
		return
	}
	for _, y := range c.seen[:len(c.seen)-1] {
		if y.demand != "" {
			return // it was sent again, and demanded once more
		}
	}
	for _, s := range j.steppings {
		if s.p == c.p && s.user == c.user && s.over && s.err == nil && s.family != nil && s.demand == "https://"+last.host+" "+last.demand &&
			s.began > last.heardAt && !j.turned(c.p, c.user, last.at) {
			j.w.violated("one step-up", "%s gets what the API demands, and %s was there", c.who(), s)
		}
	}
}

// mayBeReplaced reports whether there was a login of which the process of c cannot know that it is
// of the same user.
func (j *judge) mayBeReplaced(c *call) bool {
	for i, l := range j.account(c).logins {
		if i > 0 && l.family.vouched != c.p {
			return true
		}
	}
	return false
}
