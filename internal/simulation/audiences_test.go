package simulation_test

import (
	"context"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// In some histories the server issues an access token for one API at a time, of which there are
// two: one login, one chain of refresh tokens, and an access token for each. The one of the
// second API is an Audience of the session.

const (
	filesAudience = "files" // of secondHost; that of apiHost has no name
	resourceParam = "resource"
)

// drawAudiences draws whether there are any. Bound tokens, answers that bring tokens and a StepUp
// are not in the same history.
func (p *plan) drawAudiences() {
	s := &p.set
	s.audiences = !s.json && !s.bound && !s.stepUp && s.slides == 0 && p.unit("there are audiences") < 0.15
}

// audiences returns those of a session whose own tokens r refreshes.
func (p *process) audiences() []tokenclient.Audience {
	if !p.w.plan.set.audiences {
		return nil
	}
	r := *p.refresher.(*tokenclient.OAuth2Refresher)
	r.Params = url.Values{resourceParam: {filesAudience}}
	return []tokenclient.Audience{{Name: filesAudience, Refresher: &r, Origins: []string{"https://" + secondHost}}}
}

// origins are those where the session's own tokens go.
func (p *process) origins() []string {
	list := []string{"https://" + apiHost}
	if !p.w.plan.set.audiences {
		list = append(list, "https://"+secondHost)
	}
	return list
}

// audienceOf is whose tokens a host takes.
func (s *settings) audienceOf(host string) string {
	if s.audiences && host == secondHost {
		return filesAudience
	}
	return ""
}

// token asks for a token of the session, or of its audience.
func (c *call) token(ctx context.Context, s *tokenclient.Session) error {
	set := &c.p.w.plan.set
	audience := ""
	if set.audiences {
		audience = set.audienceOf(c.host())
	}
	var t *tokenclient.Token
	var err error
	if audience == "" {
		t, err = s.Token(ctx)
	} else {
		t, err = s.TokenFor(ctx, audience)
	}
	if err == nil {
		c.p.tell("token for "+audience, func() {
			if a := c.p.w.server.access[t.AccessToken]; a == nil || a.audience != audience || a.family.user != c.user {
				c.p.w.violated("own tokens", "%s gets %v for %q", c.who(), a, audience)
			}
		})
	}
	return err
}

// reasonFor returns why q is made where there are audiences: what is there for its own, if there
// is anything yet, is judged, and nothing of others.
func (j *judge) reasonFor(q *presentation) string {
	last := j.lastFor(q)
	switch set := &j.w.plan.set; {
	case j.outlasted(q):
		return "it stands still, and does not know better"
	case last == nil:
		return "there is no token for its audience"
	case set.tellsExpiry && j.w.now() >= last.expires+min(0, q.p.later(last))-set.lifetime/4-soonBefore:
		return "it expires soon"
	}
	for _, a := range j.w.server.access {
		if a.family == q.pair.family && a.audience == q.audience && a.refused > 0 && (a == last || a.unsaved) {
			return becauseRefused
		}
	}
	return ""
}

// lastFor is the newest access token that a process may have heard of for the audience and login
// of q; nil: there is none.
func (j *judge) lastFor(q *presentation) (last *access) {
	f := q.pair.family
	if q.audience == "" {
		last = f.first
	}
	for _, before := range j.shown {
		if a := before.access; a != nil && a.family == f && a.audience == q.audience && before.over && before.why == "" && (a.saved || before.p == q.p) {
			last = a
		}
	}
	return last
}

// ownAudience judges that a token has not come to an API of another audience.
func (j *judge) ownAudience(x *sending) {
	a, set := x.access, &j.w.plan.set
	if a == nil || !set.audiences {
		return
	}
	if want := set.audienceOf(x.host); a.audience != want {
		j.w.violated("own origin", "%s carries a token for %q at an API for %q", x, a.audience, want)
	}
	if a.audience != "" {
		j.w.met["a request with the token of an audience"]++
	}
}

// ledAcross reports whether an API has led x to one of another audience. Then it carries no token,
// as after any step that is not in the list of origins where that may go.
func (x *sending) ledAcross() bool {
	set := &x.call.p.w.plan.set
	return set.audienceOf(x.host) != set.audienceOf(x.call.host())
}

// across reports whether the first API leads x to the second one.
func (s *server) across(x *sending) bool {
	w, c := s.w, x.call
	if !w.plan.set.audiences || x.host != apiHost || c.step.kind != request || len(c.step.content()) > 0 {
		return false
	}
	return w.plan.unit("led to the other API "+c.who()) < 0.15
}
