package endpoint

import (
	"net/http"
	"slices"
)

// RefusesGrant reports whether the answer says that the refresh token is dead for good. It
// is decided by the table of codes, and by what is said of the refresh token, wherever in
// the answer that stands. A server that is overloaded or broken says nothing about it,
// whatever its body claims.
func RefusesGrant(a *Answer) bool {
	if a.cannotSay() {
		return false
	}
	p := a.problem()
	m, _ := p.meaning(a.tokenAlone())
	return m == dead
}

// RefusesToken is [RefusesGrant] for an endpoint where the token is the only credential
// that it is sent: there a 401 is about the token too, unless it says otherwise or is
// HTML, which a proxy may have sent. A gateway that misses its own key, or has seen too many
// requests, says otherwise. It need not be the status: some answer 200, and have the 401 in
// the body.
func RefusesToken(a *Answer) bool {
	if a.cannotSay() {
		return false
	}
	p := a.problem()
	switch m, _ := p.meaning(true); m {
	case dead:
		return true
	case unless, client, load:
		return false
	}
	unauthorized := a.Status == http.StatusUnauthorized || a.OK() && p.status == http.StatusUnauthorized
	return unauthorized && !isHTML(a.Body) && !saysElsewhere(p.plain) &&
		!slices.ContainsFunc(p.codes, saysElsewhere) && !slices.ContainsFunc(p.texts, saysElsewhere)
}

// cannotSay reports whether the answer is from a server that is overloaded or broken, or has
// looked at the proof alone.
func (a *Answer) cannotSay() bool {
	if a.again {
		return true
	}
	switch s := a.Status; {
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		return true
	}
	return false
}

// meaning returns what p means, and the code that says so, if it is one. The first code
// that is known decides. alone: no token was sent but the one that the answer is about.
func (p *problem) meaning(alone bool) (meaning, string) {
	doubt, doubtful := unknown, ""
	for _, code := range slices.Concat(p.codes, p.likely) {
		m := meaningOf(code)
		switch {
		case m == token && alone:
			return dead, code
		case m == dead, m == client, m == load:
			return m, code
		case m == unknown && saysDead(code):
			return dead, code
		case m == unless && doubt == unknown:
			doubt, doubtful = m, code
		}
	}
	switch p.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return load, ""
	}
	if slices.ContainsFunc(p.texts, saysDead) || saysDead(p.plain) {
		return dead, doubtful
	}
	return doubt, doubtful
}

// tokenAlone reports whether no token was sent that the client proves itself with.
func (a *Answer) tokenAlone() bool { return a.call == nil || !a.call.provenByToken }
