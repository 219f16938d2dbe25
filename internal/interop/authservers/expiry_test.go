package authservers_test

import (
	"net/http"
	"sync"
	"testing"
)

// TestExpiries: access tokens expire again and again under a crowd of requests. Each time is one
// refresh.
func TestExpiries(t *testing.T) {
	const crowd = 1000
	expiries := 200
	if testing.Short() {
		expiries = 20
	}
	for name := range servers {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, name)
			base := &http.Transport{MaxIdleConnsPerHost: crowd}
			defer base.CloseIdleConnections()
			client := r.session(t, r.refresher(authNone), r.login(t, authNone)).Wrap(&http.Client{Transport: base})
			for n := range expiries {
				r.change(r.expire)
				var wg sync.WaitGroup
				for range crowd {
					wg.Go(func() {
						if err := r.get(t.Context(), client); err != nil {
							t.Errorf("expiry %d: %v", n, err)
						}
					})
				}
				wg.Wait()
				if r.want(t, n+1, 0, 0); t.Failed() {
					return
				}
			}
			t.Logf("%d expiries under %d requests each: %d requests refused and sent again, %d refreshes, 0 reuses, 0 failures",
				expiries, crowd, r.refusals.Load(), expiries)
		})
	}
}
