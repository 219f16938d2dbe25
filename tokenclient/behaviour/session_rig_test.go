package behaviour_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// slow is a server whose token endpoint takes two seconds.
func slow() *tokentest.Options {
	return &tokentest.Options{InMemory: true, Latency: 2 * time.Second}
}

// eachStore runs f with a session that has no Store, and with one that has a store.Memory.
func eachStore(t *testing.T, f func(t *testing.T, keep sessiontest.Change)) {
	t.Helper()
	sessiontest.Bubble(t, "no store", func(t *testing.T) { f(t, func(*tokenclient.Config, *tokentest.Server) {}) })
	sessiontest.Bubble(t, "memory", func(t *testing.T) { f(t, sessiontest.Kept(new(store.Memory))) })
}

// both calls f for a and b at the same time.
func both(a, b *sessiontest.Rig, f func(*sessiontest.Rig)) {
	var wg sync.WaitGroup
	wg.Go(func() { f(a) })
	wg.Go(func() { f(b) })
	wg.Wait()
}

// withConnections makes r's requests over at most n connections.
func withConnections(t *testing.T, r *sessiontest.Rig, n int) {
	base := r.Server.Client().Transport.(*http.Transport).Clone()
	base.MaxConnsPerHost, base.MaxIdleConnsPerHost = n, n
	t.Cleanup(base.CloseIdleConnections)
	r.Client = r.Session.Wrap(&http.Client{Transport: base})
}

// lateRig is a rig in memory whose rejections are kept back until the test releases them.
// alice has logged in, and her access token is revoked.
type lateRig struct {
	*sessiontest.Rig
	held lateRejections
}

func newLateRig(t *testing.T, o tokentest.Options) *lateRig {
	t.Helper()
	o.InMemory = true
	r := &lateRig{Rig: sessiontest.New(t, &o, nil), held: make(lateRejections)}
	r.Client = r.Session.Wrap(&http.Client{Transport: r.held.of(r.Server.Client().Transport)})
	r.Login(t)
	r.Server.RevokeAccess("alice")
	return r
}

// begin sends a request, and returns when its rejection is kept back. Its error comes out
// of the channel.
func (r *lateRig) begin(t *testing.T) <-chan error {
	answered := make(chan error, 1)
	go func() {
		_, err := r.Get(t.Context())
		answered <- err
	}()
	synctest.Wait()
	return answered
}

// lateRejections gets an element for each rejection that may come.
type lateRejections chan struct{}

// of is a transport that keeps back the rejections of base.
func (l lateRejections) of(base http.RoundTripper) sessiontest.RoundTrip {
	return func(req *http.Request) (*http.Response, error) {
		resp, err := base.RoundTrip(req)
		if err == nil && resp.StatusCode == http.StatusUnauthorized {
			<-l
		}
		return resp, err
	}
}

// release lets one come, and waits until that has had its effect.
func (l lateRejections) release() {
	l <- struct{}{}
	synctest.Wait()
}
