package protocol_test

import (
	"cmp"
	"errors"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A judge watches a world and says what must not happen:
//
//	P1  No refresh token is presented more often than announced, nor again unless
//	    what came of it before is unknown; nobody presents one without a hold that
//	    lasts as long as the request may, unless stopped between check and send.
//	P2  The newest pair is stored, or in the hands of somebody who tries to store it.
//	P3  Everybody can go on when a hold has run out, and nobody waits for its own.
//	P4  No session comes back from a logout; no refresh overwrites a login; nothing
//	    is written twice.
//	P5  Nobody ends a session whose refresh token the server did not refuse.
//	P6  No hold is much longer than it was set to be. A session is lost only for one
//	    of these reasons: the answer of the server was lost; or the holder, between
//	    its announcement and its save, died, or was stopped or without the engine
//	    until its hold had run out and another had presented.
type judge struct {
	w       *world
	eras    map[[16]byte]int     // those that began, in order
	writes  map[[16]byte]bool    // those that were stored
	tokens  map[generation]*pair // what was stored
	ends    map[string]int       // why sessions ended
	longest time.Duration        // of the leases in the engine
}

// operationTimeout is how long an operation of the engine takes at most.
const operationTimeout = 5 * time.Second

type generation struct {
	era    [16]byte
	number uint64
}

// A call is one of a process to its store. It goes along in the context.
type call struct {
	p    *process
	who  string // in the trace
	name string // sorts those of a process

	refresh bool

	seen  tokenclient.Record
	lease [16]byte // its hold
	hold  time.Duration
	asked time.Duration // when the last claim that was stored was asked for
	wrote time.Duration // when it was stored
	stood time.Duration // for how long the process had stood still by then
	sent  *presentation
	made  *pair // what the server answered

	// broken says what was wrong with those who presented the token before, when
	// the claim was stored. If one of them saves after all it does not show.
	broken map[*presentation]string

	saw      [16]byte      // the write that it has seen last
	sawAt    time.Duration // since when it has, and did nothing; 0: not yet
	sawStood time.Duration // for how long the process had stood still by then
}

type callKey struct{}

func callOf(ctx interface{ Value(any) any }) *call { return ctx.Value(callKey{}).(*call) }

// commit stores new, and judges that.
func (w *world) commit(o *operation, new []byte) {
	j, c, old := &w.judge, o.call, w.engine.header
	h, token, err := decode(new)
	if err != nil {
		w.violated("wrote %v", err)
		return
	}
	if w.set.deletes && h.State == tokenclient.LoggedOut {
		w.engine = register{} // a planted bug
		return
	}
	w.engine = register{new, h, w.now(), c}
	if j.writes[h.WriteID] {
		w.violated("P4: a write took effect twice")
	}
	j.writes[h.WriteID] = true
	j.longest = max(j.longest, h.LeaseLen)
	if most := w.set.timeout + max(w.set.margin, 2*operationTimeout+w.set.reserve()); h.LeaseLen > most {
		w.violated("P6: after a crash others would wait for %v, instead of %v", h.LeaseLen, w.set.lease())
	}
	if h.Era != old.Era {
		if h.WriteID != h.Era {
			w.violated("P4: a refresh wrote over another login or logout")
		}
		if j.eras[h.Era] != 0 {
			w.violated("P4: a login that was over came back")
		}
		j.eras[h.Era] = len(j.eras) + 1
		w.note(c.who, "STORES era %d, number %d"+tombstone(h), j.eras[h.Era], int(h.Number))
	} else {
		w.note(c.who, "stores number %d, announced %d"+tombstone(h), int(h.Number), h.Announced)
		switch {
		case h.WriteID == h.Era:
			w.violated("P4: a login was stored again")
		case h.Number == old.Number && old.State != tokenclient.Active:
			w.violated("P4: %v turned into %v", old.State, h.State)
		case h.Number == old.Number && h.State == tokenclient.Refused:
			j.refusedStored(h)
		case h.Number == old.Number+1 && h.State == tokenclient.Active:
		case h.Number != old.Number:
			w.violated("P5: number %d, %v, over number %d", h.Number, h.State, old.Number)
		}
	}
	if h.State != tokenclient.Active {
		return
	}
	g := generation{h.Era, h.Number}
	t := w.server.pairs[token.RefreshToken]
	if have := j.tokens[g]; have != nil && have != t {
		w.violated("P2: another token is stored as number %d", h.Number)
	}
	if h.Number > 1 && h.Number == old.Number+1 {
		before, renews := j.tokens[generation{h.Era, old.Number}], isRenewal(token)
		switch {
		case renews && before != t:
			w.violated("P4: number %d renews another token than number %d", h.Number, old.Number)
		case renews && old.State == tokenclient.Refused:
			w.violated("P5: a refresh token that was refused is stored again")
		case !renews && (t.from == nil || before != t.from.pair):
			w.violated("P4: number %d is not what came of number %d", h.Number, old.Number)
		}
	}
	j.tokens[g], t.committed = t, true
	j.announced(t, h)
	if h.Lease != [16]byte{} {
		c.lease, c.hold = h.Lease, h.LeaseLen
		c.asked, c.wrote, c.stood = o.started, w.now(), o.p.stoodStill()
		c.broken = map[*presentation]string{}
		for _, q := range t.shown {
			c.broken[q] = j.broken(q)
		}
	}
}

func tombstone(h header) string {
	if h.State == tokenclient.Active {
		return ""
	}
	return ", " + h.State.String()
}

// announced compares the presentations of t with what the engine has of them.
func (j *judge) announced(t *pair, h header) {
	if len(t.shown) > h.Announced {
		j.w.violated("P1: %s was presented %d times and announced %d times", t.text, len(t.shown), h.Announced)
	}
}

// refusedStored judges a tombstone of a refusal.
func (j *judge) refusedStored(h header) {
	t := j.tokens[generation{h.Era, h.Number}]
	if t == nil || !t.refused {
		j.w.violated("P5: a session was ended though the server did not refuse its token")
	}
}

// presented judges a request that goes out.
func (j *judge) presented(q *presentation, spent bool) {
	w, t, c := j.w, q.pair, q.call
	age := w.now() - c.asked
	if age-q.stood+w.set.timeout > c.hold {
		w.violated("P1: sent %v after a claim of %v was asked for", age, c.hold)
	}
	q.late = age+w.set.timeout > c.hold
	if spent {
		if h := w.engine.header; h.State == tokenclient.Active && j.tokens[generation{h.Era, h.Number}] == t && len(t.shown)+1 > h.Announced {
			w.violated("P1: %s is presented, for the %dth time, and announced %d times", t.text, len(t.shown)+1, h.Announced)
		}
	}
	for _, since := range t.shown[min(q.before, len(t.shown)):] {
		if !t.family.revoked && since != q && !since.late && !q.late {
			w.violated("P1: %s is presented while another holds it", t.text)
		}
	}
}

// checked judges that a process is about to present a token: it has looked at its
// clock, and knows nothing else that is newer than its claim.
func (j *judge) checked(q *presentation) {
	w, t := j.w, q.pair
	q.before = len(t.shown)
	for _, before := range t.shown {
		why := cmp.Or(j.broken(before), q.call.broken[before])
		q.why = cmp.Or(why, q.why)
		switch {
		case t.family.revoked:
		case !before.over && w.now()-before.call.wrote < before.call.hold && !w.ended(before.call.p):
			w.violated("P1: %s is presented again while the first hold lasts", t.text)
		case !(before.over && before.ambiguous) && !before.refused && why == "":
			w.violated("P1: %s is presented again, and nothing was wrong with the first time", t.text)
		}
	}
}

// broken says what kept the holder that made q from saving what came of it in time;
// "": nothing.
func (j *judge) broken(q *presentation) string {
	w, c := j.w, q.call
	stood := c.p.stoodStill() - c.stood
	without := time.Duration(0)
	if q.answered != 0 {
		without = w.now() - q.answered
	}
	switch {
	case q.result != nil && q.result.committed:
		return ""
	case c.p.dead:
		return endCrashed
	case q.over && q.ambiguous:
		return endAnswerLost
	case w.set.locks: // nobody takes over from one that lives
		return ""
	case w.now()-c.wrote < c.hold || stood+without < w.set.reserve():
		return ""
	case stood > 0:
		return endFrozen
	}
	return endCutOff
}

// Why sessions end.
const (
	endCrashed    = "holder crashed"
	endFrozen     = "holder stopped longer than its hold"
	endCutOff     = "holder without the engine longer than its hold"
	endAnswerLost = "answer of the server lost"
	endGap        = "holder stopped between check and send longer than its hold"
)

// revoked judges that the server saw t again, in q, and ended the family.
func (j *judge) revoked(t *pair, q *presentation) {
	why := q.why
	if why == "" {
		why = j.broken(t.rotated)
	}
	for _, p := range t.shown {
		switch {
		case why != "":
		case p.late:
			why = endGap
		}
	}
	if why == "" {
		j.w.violated("P6: %s presented again, the session is lost, and nothing was to blame", t.text)
		return
	}
	t.family.excuse = why
}

// revokes judges that a process has the server forget t.
func (j *judge) revokes(p *process, t *pair) {
	h := j.w.engine.header
	now := j.tokens[generation{h.Era, h.Number}]
	if h.State == tokenclient.Active && now != nil && now.family == t.family && t.family.id > p.mayRevoke && !t.family.revoked {
		j.w.violated("P5: the session that is stored is revoked")
	}
}

// abandoned judges that a process does not wait any more for the server.
func (j *judge) abandoned(o *operation) {
	if j.w.now()-o.started < j.w.set.timeout {
		j.w.violated("P2: a call was cancelled after %v", j.w.now()-o.started)
	}
}

// looked judges that a call sees h, and for how long it has.
func (j *judge) looked(c *call, h header) {
	w, stood := j.w, c.p.stoodStill()
	if c.sawAt == 0 || c.saw != h.WriteID {
		c.saw, c.sawAt, c.sawStood = h.WriteID, w.now(), stood
	}
	waited := w.now() - c.sawAt - (stood - c.sawStood)
	const slow = 5 * time.Second // messages on their way, and the time between two looks
	switch {
	case h.Lease == [16]byte{}:
	case h.Lease == c.lease && waited > h.LeaseLen/2:
		w.violated("P3: waits for its own hold")
	case waited > h.LeaseLen+slow && !w.set.locks:
		w.violated("P3: waits for %v, and the hold is over after %v", waited, h.LeaseLen)
	}
}

// returned judges what Refresh or Save returned.
func (j *judge) returned(c *call, rec tokenclient.Record, err error) {
	w := j.w
	var pending *tokenclient.NotSavedError
	switch {
	case errors.As(err, &pending):
		if c.made == nil || pending.Token.RefreshToken != c.made.text {
			w.violated("P2: the token to save is not what the server issued")
		}
	case c.sent == nil && errors.Is(err, tokenclient.ErrStoreUnavailable): // nothing was written, and it is tried again
	case c.made != nil:
		j.settled(c, err)
		if err == nil && (rec.Token == nil || rec.Token.RefreshToken != c.made.text) {
			w.violated("P2: Refresh returns another token than the server issued")
		}
	case err == nil:
		t := j.tokens[generation{rec.Era, rec.Number}]
		if rec.Token == nil || t == nil || t.text != rec.Token.RefreshToken {
			w.violated("P2: Refresh returns what was never stored")
		}
		if rec.Era == c.seen.Era && rec.Number <= c.seen.Number {
			w.violated("P2: Refresh returns nothing newer")
		}
	}
}

// settled judges that the call says it need not care any more for what it made.
func (j *judge) settled(c *call, err error) {
	h := j.w.engine.header
	from := c.made.from.pair
	switch {
	case err == nil && c.made.committed:
	case errors.Is(err, tokenclient.ErrReplaced) && j.tokens[generation{h.Era, h.Number}] != from:
	case errors.Is(err, tokenclient.ErrOvertaken) && j.tokens[generation{h.Era, h.Number}] != from:
	case errors.Is(err, tokenclient.ErrNoToken) && j.tokens[generation{h.Era, h.Number}] != from:
	default:
		j.w.violated("P2: a pair is dropped (%v)", err)
	}
}

// ended judges the end of a run, when everybody has done what there was to do.
func (j *judge) ended() {
	w, h := j.w, j.w.engine.header
	if h.State == tokenclient.Absent || h.State == tokenclient.LoggedOut {
		return
	}
	t := j.tokens[generation{h.Era, h.Number}]
	f := t.family
	switch {
	case f.logout:
		return
	case h.State == tokenclient.Active && !f.revoked && t.rotated == nil:
		return // all is well
	case h.State == tokenclient.Active && !f.revoked:
		f.excuse = j.broken(t.rotated)
	}
	if f.excuse == "" {
		w.violated("P2: the newest pair is stored nowhere")
		return
	}
	j.ends[f.excuse]++
}
