package simulation_test

import (
	"errors"
	"strconv"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// presents judges a request with a refresh token that leaves its process.
func (j *judge) presents(q *presentation) {
	w, p := j.w, q.pair
	user := p.family.user
	q.forced = q.audience == "" && (q.p.forced[user] > 0 || q.p.forcedAt[user] > 0 && j.mayBeLate(q.p, q.p.forcedAt[user]))
	q.claim = q.p.claimOf(user)
	outlasted := j.outlasted(q)
	if q.reason = j.reason(q); q.reason == "" {
		w.violated("one refresh", "%s is presented, and nothing is wrong with %s", p, p.access)
	}
	recent := 0
	for _, before := range p.shown {
		switch {
		case before.killed:
			j.afterKill(q, before)
		case before.p != q.p && (outlasted || j.outlasted(before) && (before.result == nil || !before.access.saved)):
			w.met["a token is taken over from a process that stands still"]++
		case w.plan.set.keepsToken && before.over:
		case !before.over:
			w.violated("one refresh", "%s is presented while it is on its way", p)
		case before.why == "" && before.result != nil && before.p.storeTrouble < before.overAt && !before.unsaved && !before.gone:
			w.violated("no spent token", "%s is presented again", p)
		case before.said == 400:
			if before.p == q.p && before.overAt > q.p.closed && q.p.closing == 0 {
				w.violated("no spent token", "%s is presented again, and was refused for good", p)
			}
		}
		if before.p == q.p && before.sent > w.now()-10*time.Second && !q.forced && !before.wanted {
			recent++
		}
		if before.p == q.p && before.audience == q.audience && before.over && w.now() < before.overAt+before.again && !q.forced && before.overAt > q.p.closed && w.plan.set.slides == 0 {
			w.violated("nothing too often", "%s is presented %v after an answer that asked for %v", p, w.now()-before.overAt, before.again)
		}
	}
	if recent >= 12 {
		w.violated("nothing too often", "%s is presented for the %dth time in 10 seconds", p, recent+1)
	}
	j.storms(q)
	p.shown = append(p.shown, q)
	j.shown = append(j.shown, q)
	q.p.meets(whenPresenting)
}

// mayBeLate reports whether p may still make a refresh for who left at some time. A Pool keeps it
// waiting for as long as the token endpoint asks for in the meantime, whoever's refresh that was.
func (j *judge) mayBeLate(p *process, left time.Duration) bool {
	late := refreshTimeout
	if p.storeFault {
		late += patience
	}
	for _, q := range j.shown {
		if j.w.plan.set.pool && q.p == p && q.again > 0 && q.overAt+q.again > left && q.overAt <= left+late {
			left = q.overAt + q.again
		}
	}
	return p.ran(left) < late
}

const becauseRefused = "the API refused its access token"

// storms judges that q is not one of too many whose outcome is refused again: the storm guard
// allows three, and then one in 30 seconds.
func (j *judge) storms(q *presentation) {
	now, vain := j.w.now(), 0
	since := now - 25*time.Second
	if q.reason != becauseRefused || q.p.closed > since {
		return
	}
	for _, l := range j.accounts[q.pair.family.user].logins {
		if l.done == 0 || l.done > since {
			return
		}
	}
	for _, before := range j.shown {
		if before.p == q.p && before.pair.family == q.pair.family && before.audience == q.audience && before.sent > since && before.reason == becauseRefused &&
			before.result != nil && before.why == "" && !before.access.taken {
			vain++
		}
	}
	if vain > 3 {
		j.w.violated("nothing too often", "%s is refreshed because it was refused, for the %dth time in 25 seconds, and in vain so far", q.pair.access, vain+1)
	}
}

// soonBefore is how much earlier than its last quarter a token may be refreshed.
const soonBefore = 2 * time.Second

// reason returns why q is made; "": there is no reason.
func (j *judge) reason(q *presentation) string {
	w, set, p := j.w, &j.w.plan.set, q.pair
	now := w.now()
	if n := len(p.shown); n > 0 && p.shown[n-1].over && p.shown[n-1].why != "" {
		return "the last answer was lost"
	}
	switch {
	case q.forced:
		return "somebody asked for it"
	case set.heartbeat > 0:
		return "the heart beats"
	case set.audiences:
		return j.reasonFor(q)
	}
	if soon := p.access; set.tellsExpiry && now >= soon.expires+min(0, q.p.later(soon))-set.lifetime/4-soonBefore {
		return "it expires soon" // also if one before it was refused
	}
	for _, before := range j.shown {
		if a := before.access; a != nil && before.p == q.p && a.family == p.family && a.unsaved && a.refused > 0 {
			return "a token of its own, which is in no store, was refused"
		}
	}
	for _, a := range w.server.access {
		if a.pair != p {
			continue
		}
		switch {
		case a.refused > 0:
			return becauseRefused
		case set.tellsExpiry && now >= a.expires+min(0, q.p.later(a))-set.lifetime/4-soonBefore:
			return "it expires soon"
		}
	}
	return ""
}

// over notes that a process knows what came of q.
func (q *presentation) ends(w *world) {
	q.over, q.overAt = true, w.now()
}

// lost notes that an answer did not get through, or cannot be read.
func (j *judge) lost(q *presentation, why string) {
	if q.pair == nil || q.over {
		return
	}
	q.ends(j.w)
	q.why = why
	j.w.note(q.p.name(), "hears nothing of %s: %s", q.pair, why)
}

// said notes an answer without tokens.
func (j *judge) said(q *presentation, a answer) {
	q.ends(j.w)
	q.said, q.why = a.status, "the server said "+strconv.Itoa(a.status)
	j.w.note(q.p.name(), "hears %d of %s", a.status, q.pair)
	for _, nv := range a.header {
		if nv[0] == "Retry-After" {
			s, _ := strconv.Atoi(nv[1])
			q.again = time.Duration(s) * time.Second
		}
	}
	if f := q.pair.family; a.status == 400 {
		acts := max(j.w.now(), q.p.still)
		if _, ok := f.heard[q.p.id]; !ok {
			f.heard[q.p.id] = acts
		}
		j.accounts[f.user].ends = append(j.accounts[f.user].ends, acts)
	}
}

// heard notes an answer with tokens.
func (j *judge) heard(q *presentation) {
	q.ends(j.w)
	j.w.note(q.p.name(), "hears %s with %s", q.result, q.result.access)
	q.access.ahead = q.p.clock()
	q.p.meets(whenHeard)
	if j.w.plan.set.store == storeNone {
		q.result.access.saved = true
	}
}

// revokes judges that a process has the server forget a pair.
func (j *judge) revokes(p *process, pair *pair) {
	if !pair.family.byUser && !pair.family.revoked && j.accounts[pair.family.user].leaving == 0 {
		j.w.violated("final answers", "%s revokes %s, and nobody logged out", p.name(), pair)
	}
}

// wrote notes what is in the engine now.
func (j *judge) wrote(p *process, key string, raw []byte) {
	j.writer[key] = p
	tokens := accessIn(raw)
	if j.w.plan.set.keys.stages != nil {
		tokens = j.opened()
	}
	for _, text := range tokens {
		if a := j.w.server.access[text]; a != nil {
			a.saved = true
		}
	}
}

// stored notes that a record is in a store, as far as it says.
func (j *judge) stored(r tokenclient.Record) *access {
	if r.Token == nil {
		return nil
	}
	for _, text := range accessOf(r.Token) {
		if a := j.w.server.access[text]; a != nil {
			a.saved = true
		}
	}
	return j.w.server.access[r.Token.AccessToken]
}

// loaded judges what a look at the store brought, that began at some time.
func (j *judge) loaded(p *process, r tokenclient.Record, began time.Duration) {
	a := j.stored(r)
	if a != nil && a.family.loggedOut > 0 && began > a.family.loggedOut {
		j.w.violated("logged out", "%s finds %s in the store %v after its logout", p.name(), a, began-a.family.loggedOut)
	}
}

// replaced judges a login or logout.
func (j *judge) replaced(p *process, key string, now, was tokenclient.Record, t *tokenclient.Token, began time.Duration, err error) {
	if err == nil {
		j.stored(now)
	}
}

// saved judges what came of a refresh or a save. made is what was to be saved; nil: nothing.
func (j *judge) saved(p *process, r tokenclient.Record, made *tokenclient.Token, err error) {
	w := j.w
	var unsaved *tokenclient.NotSavedError
	switch {
	case errors.As(err, &unsaved):
		for _, text := range accessOf(unsaved.Token) {
			if a := w.server.access[text]; a != nil && !a.saved {
				a.unsaved = true
			}
		}
	case err == nil:
		j.stored(r)
	case made != nil:
		for _, q := range j.shown {
			if q.result != nil && q.result.refresh == made.RefreshToken {
				q.gone = true
			}
		}
	}
	if made != nil && p.storeTrouble == 0 && unsaved != nil {
		w.violated("saved is used", "%s cannot save, and nothing is wrong with its store", p.name())
	}
}
