package simulation_test

import (
	"fmt"
	"strings"
	"time"
)

// A server is the authorization server and the API behind it. Refresh tokens rotate, and one
// that is presented again after it was exchanged ends its family, but for a grace.
type server struct {
	w        *world
	families []*family
	pairs    map[string]*pair   // by refresh token
	access   map[string]*access // by access token
	down     time.Duration      // until when the token endpoint is
	refuses  time.Duration      // until when the API refuses every token
	proofs   *proofWorld        // nil: tokens are not bound
}

// A family is what came of one login.
type family struct {
	id       int
	user     string
	revoked  bool
	lastPair int
	level    int      // how strong its login was
	vouched  *process // whose StepUp vouched for it; nil: none
	key      string   // the thumbprint of what its tokens are bound to; "": they are not

	stored    time.Duration         // when SetToken had returned; 0: not yet
	byUser    bool                  // the user logged out, or another login made it pointless
	heard     map[int]time.Duration // when a process was told for good that it is over
	exchanged time.Duration         // the last time
	first     *access               // that its login brought
	forgotten bool                  // it was in memory alone, of a process that was killed
	loggedOut time.Duration         // when a logout of it had been stored; 0: never
}

// A pair is a refresh token, and the access token that came with it.
type pair struct {
	family    *family
	n         int
	refresh   string
	access    *access
	rotated   *presentation // the first that exchanged it
	rotatedAt time.Duration
	shown     []*presentation
}

// An access is an access token.
type access struct {
	text     string
	family   *family
	audience string // whose API takes it
	pair     *pair  // that it came with, or whose access token it renewed
	renewed  bool   // by the API
	made     time.Duration
	expires  time.Duration
	told     time.Duration // until when its holder may take it for good
	dead     bool
	refused  time.Duration // when the API first said 401 to it; 0: never
	taken    bool          // the API has accepted it
	ahead    time.Duration // the clock of the process that got it

	saved   bool // it is in the store, or was
	unsaved bool // a store said that it is not
}

// secret is in every token, so that it is found wherever one is printed.
const secret = "s3cr3t"

func (s *server) login(user string) *pair {
	f := &family{id: len(s.families) + 1, user: user, heard: map[int]time.Duration{}}
	s.families = append(s.families, f)
	p := s.mint(f, "", s.w.now())
	f.first = p.access
	return p
}

// mint issues a pair, with an access token for an audience, that was asked for at some time.
func (s *server) mint(f *family, audience string, asked time.Duration) *pair {
	f.lastPair++
	p := &pair{family: f, n: f.lastPair, refresh: fmt.Sprintf("rt-%s-%s-%d-%d", secret, f.user, f.id, f.lastPair)}
	s.pairs[p.refresh] = p
	p.access = s.issue(p, fmt.Sprintf("at-%s-%s-%d-%d", secret, f.user, f.id, f.lastPair), audience, asked)
	return p
}

// issue issues an access token of p. Its lifetime begins now, and for its holder when it was asked for.
func (s *server) issue(p *pair, text, audience string, asked time.Duration) *access {
	now := s.w.now()
	a := &access{text: text, family: p.family, audience: audience, pair: p, made: now, expires: now + s.w.plan.set.lifetime, told: asked + s.w.plan.set.lifetime}
	s.access[text] = a
	return a
}

// exchange takes a refresh token. The answer is nil if it is refused for good.
func (s *server) exchange(q *presentation) *pair {
	w, p := s.w, q.pair
	set := &w.plan.set
	switch {
	case p.family.revoked:
		w.note("server", "refuses %s: its family is over", p)
		return nil
	case set.keepsToken:
		a := s.issue(p, fmt.Sprintf("at-%s-%s-%d-k%d", secret, p.family.user, p.family.id, len(s.access)), q.audience, q.sent)
		s.supersedes(a)
		p.access, p.family.exchanged = a, w.now()
		w.note("server", "answers %s with another access token", p)
		return p
	case p.rotated != nil && w.now()-p.rotatedAt >= set.grace:
		p.family.revoked = true
		w.note("server", "sees %s AGAIN, and ENDS the family", p)
		return nil
	}
	if p.rotated == nil {
		p.rotated, p.rotatedAt = q, w.now()
	}
	next := s.mint(p.family, q.audience, q.sent)
	p.family.exchanged = w.now()
	s.supersedes(next.access)
	w.note("server", "exchanges %s for %s", p, next)
	return next
}

// supersedes ends the access tokens that a takes the place of, if they end by that.
func (s *server) supersedes(a *access) {
	for _, old := range s.access {
		if s.w.plan.set.oldDies && old.family == a.family && old.audience == a.audience && old != a {
			old.dead = true
		}
	}
}

func (p *pair) String() string { return fmt.Sprintf("R%d.%d", p.family.id, p.n) }
func (a *access) String() string {
	return "A" + strings.TrimPrefix(a.text, "at-"+secret+"-"+a.family.user+"-")
}

// takes reports whether the API takes a now, and whether it would if it had heard of it.
func (s *server) takes(a *access) (takes, lags bool) {
	now := s.w.now()
	if a.dead || now >= a.expires || now < s.refuses {
		return false, false
	}
	lags = now < a.made+s.w.plan.set.lag
	return !lags, lags
}

// revokeAccess makes all access tokens of a user invalid.
func (s *server) revokeAccess(user string) {
	for _, a := range s.access {
		if a.family.user == user {
			a.dead = true
		}
	}
}

// endFamilies ends all that a user has.
func (s *server) endFamilies(user string) {
	for _, f := range s.families {
		if f.user == user {
			f.revoked = true
		}
	}
	s.revokeAccess(user)
}

// An answer is one of the API or of the token endpoint.
type answer struct {
	status int
	header [][2]string
	body   string
}

// challenge is a 401 that a new token may help with.
func challenge(x *sending) answer {
	return answer{401, [][2]string{{"Www-Authenticate", x.scheme() + ` error="invalid_token"`}}, "no\n"}
}

// tokens is a successful answer of the token endpoint.
func (s *server) tokens(p *pair) answer {
	a := p.access
	expiry := ""
	if s.w.plan.set.tellsExpiry {
		expiry = fmt.Sprintf(`,"expires_in":%d`, int(s.w.plan.set.lifetime.Seconds()))
	}
	return answer{200, [][2]string{{"Content-Type", "application/json"}},
		fmt.Sprintf(`{"access_token":%q,"token_type":%q,"refresh_token":%q%s}`, a.text, a.family.tokenType(), p.refresh, expiry)}
}
