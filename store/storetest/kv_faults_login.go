package storetest

import (
	"fmt"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// loginFaults are about logins and logouts.
var loginFaults = []kvRow{
	{"faults in a login", "a login that is done twice undoes a later logout", true, faultsIn(1, func(f *faultCase) {
		next, t := newJudge()
		t.RefreshToken = "refresh-of-the-next-login"
		next.current = t.RefreshToken
		var now tokenclient.Record
		f.during(func() {
			err := f.again(func() (_ bool, err error) {
				now, _, err = f.a.Replace(f.ctx(), f.key, t)
				return false, err
			})
			if err != nil || now.Number != 1 || now.Era == f.seen.Era {
				f.errorf("Replace: number %d, error %v", now.Number, err)
			}
		})
		if f.judge.unannounced+f.judge.reused > 0 {
			f.errorf("the old token was presented again")
		}
		f.judge = next
		f.goesOn(now)
	})},
	{"faults in a logout", "the session of a user who logged out would be back", true, faultsIn(1, func(f *faultCase) {
		f.during(func() {
			var now tokenclient.Record
			err := f.again(func() (_ bool, err error) {
				now, _, err = f.a.Replace(f.ctx(), f.key, nil)
				return false, err
			})
			if err != nil || now.State != tokenclient.LoggedOut {
				f.errorf("Replace: %v, error %v", now.State, err)
			}
		})
		f.wantEnded(tokenclient.LoggedOut)
	})},
	{"a logout after a login whose reply is lost", "a login that is repeated brings the session back", true, func(c *kvCheck) {
		for kind := range faults {
			if kind == down || kind == slow || kind == doneTwice || kind == retried {
				continue // its client is not told of a failure, or of more than one
			}
			tries := 0
			c.fairly(func(c *kvCheck) (surely bool) {
				tries++
				key := fmt.Sprintf("key %d, try %d", kind, tries)
				return newFaultCase(c, faultNames[kind], key, &faultyKV{fault: kind, at: 2}, 0).try(func(f *faultCase) {
					f.kv.then = func() {
						if _, _, err := shared(f.t, c.kv).Replace(f.ctx(), f.key, nil); err != nil {
							f.errorf("logout: %v", err)
						}
					}
					_, t := newJudge()
					if now, _, err := f.a.Replace(f.ctx(), f.key, t); err != nil || now.State != tokenclient.LoggedOut {
						f.errorf("the login: %v, error %v; want that of the logout, which was later", now.State, err)
					}
					f.wantEnded(tokenclient.LoggedOut)
				})
			})
		}
	}},
}
