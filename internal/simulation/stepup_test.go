package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// In some histories the API wants more than a good token for some requests, and the program has
// a Config.StepUp: somebody logs in again, or does not, or somebody else does.

// What comes of one, by the draw of it.
const (
	stepLogsIn  = "logs in for more"
	stepOther   = "has somebody else log in"
	stepRefuses = "does not log in"
)

var errNoStepUp = errors.New("the user does not want to")

// A stepping is one call of StepUp.
type stepping struct {
	p            *process
	session      *tokenclient.Session
	user, demand string
	what         string
	began, ended time.Duration
	over         bool
	left         bool // its context ended
	family       *family
	err          error
}

func (s *stepping) String() string { return fmt.Sprintf("%s's step-up of %s", s.p.name(), s.user) }

// needs returns how strong a login the API wants for the request of c.
func (c *call) needs() int {
	w := c.p.w
	if !w.plan.set.stepUp || c.last || c.step.kind != request {
		return 0
	}
	switch u := w.plan.unit(fmt.Sprint("what is needed for ", c.step.n)); {
	case u < 0.15:
		return 2
	case u < 0.3:
		return 1
	}
	return 0
}

// demands returns what the API demands beyond the token of x; ok: nothing.
func (s *server) demands(x *sending) (a answer, ok bool) {
	need := x.call.needs()
	if x.access.family.level >= need {
		return a, true
	}
	x.call.stepUp = true
	s.w.note("API", "demands a login of strength %d for %s", need, x)
	if need == 2 {
		x.demand = "insufficient_user_authentication "
		return answer{401, [][2]string{{"Www-Authenticate", x.scheme() + ` error="insufficient_user_authentication", acr_values="strong"`}}, "no\n"}, false
	}
	x.demand = "insufficient_scope more"
	return answer{403, [][2]string{{"Www-Authenticate", x.scheme() + ` error="insufficient_scope", scope="more"`}}, "no\n"}, false
}

// stepUp returns the Config.StepUp of a user's session; nil: it has none.
func (p *process) stepUp(user string) func(context.Context, *tokenclient.Session, tokenclient.Demand) error {
	w := p.w
	if !w.plan.set.stepUp {
		return nil
	}
	name := p.name() + " steps up " + user
	return func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
		var u *stepping
		var t *tokenclient.Token
		key := ""
		err := w.perform(ctx, name, nil, func(o *operation) {
			key = w.count(name)
			u = w.judge.stepsUp(p, s, user, d, key)
			w.after(w.plan.between(key+" takes", 100*time.Millisecond, 4*time.Second), func() {
				if !o.over && (u.what == stepLogsIn || u.what == stepOther) {
					t = w.judge.stepLogin(u, d)
				}
				w.end(o, nil)
			})
		})
		switch {
		case err != nil:
		case u.what == stepRefuses:
			err = errNoStepUp
		case t != nil:
			if err = s.SetToken(ctx, t); err != nil {
				break
			}
			w.tell(name+" stored", func() { w.judge.stepStored(u) })
			err = w.perform(ctx, name+" returns", nil, func(o *operation) {
				w.after(w.plan.between(key+" returns", time.Millisecond, time.Second), func() { w.end(o, nil) })
			})
			if u.what == stepOther {
				err = tokenclient.ErrReplaced
			}
		}
		w.tell(name+" ends", func() { w.judge.steppedUp(u, ctx, err) })
		return err
	}
}
