package storetest

import (
	"context"
	"errors"
	"sync"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// saveFaults are about a token that came when its refresh had been given up.
var saveFaults = []kvRow{
	{"faults in a save of a late pair", "the pair exists nowhere else, and its predecessor is spent", true, faultsIn(1, func(f *faultCase) {
		// The answer comes when the call has been given up.
		var late *tokenclient.Token
		_, err := shared(f.t, f.kvCheck.kv).Refresh(f.ctx(), f.key, f.seen, shortCall, func(ctx context.Context, r tokenclient.Record) (_ *tokenclient.Token, err error) {
			if late, err = f.fn(nil, true)(ctx, r); err != nil {
				f.errorf("the server: %v", err)
			}
			return nil, errCut
		})
		if !errors.Is(err, errCut) {
			f.errorf("the call that was given up: %v", err)
			return
		}
		var wg sync.WaitGroup
		for _, s := range f.others {
			wg.Go(func() { // what it has does not belong into the place of the pair
				_, err := s.Save(f.ctx(), f.key, f.seen, &tokenclient.Token{AccessToken: "renewed", RefreshToken: f.seen.Token.RefreshToken})
				if !isOneOf(err, []error{tokenclient.ErrAnnounced, tokenclient.ErrOvertaken}) {
					f.errorf("the save of another process: %v; want ErrAnnounced or ErrOvertaken", err)
				}
			})
		}
		var r tokenclient.Record
		err = f.again(func() (_ bool, err error) {
			r, err = f.a.Save(f.ctx(), f.key, f.seen, late)
			return false, err
		})
		if err != nil || r.Number != 2 {
			f.errorf("Save: number %d, error %v; want 2", r.Number, err)
		}
		wg.Wait()
		f.goesOn(r)
	})},
}
