package behaviour_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/path"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// The path to the token endpoint dies, and nobody is told. What net/http does with such
// connections, and on real sockets, is tested with internal/connections.

// silenceRig is a server at the end of a path that can fall silent.
type silenceRig struct {
	*tokentest.Server
	path *path.Path
	base *http.Transport // leads there
}

// inSilence runs test in a bubble for each version of HTTP, and with and without a client
// of the caller's; it is nil without.
func inSilence(t *testing.T, test func(t *testing.T, r *silenceRig, own *http.Client)) {
	for _, http2 := range []bool{false, true} {
		for _, own := range []bool{false, true} {
			name := map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2] + map[bool]string{false: "", true: ", a client of the caller's"}[own]
			sessiontest.Bubble(t, name, func(t *testing.T) {
				r := &silenceRig{Server: tokentest.NewServer(t, &tokentest.Options{InMemory: true, HTTP2: http2})}
				r.base = r.Client().Transport.(*http.Transport).Clone()
				r.path = path.New(t, r.base.DialContext)
				r.base.DialContext = r.path.Dial
				t.Cleanup(r.base.CloseIdleConnections)
				was := http.DefaultTransport
				http.DefaultTransport = r.base
				t.Cleanup(func() {
					new(tokenclient.Transport).CloseIdleConnections()
					http.DefaultTransport = was
				})
				var client *http.Client
				if own {
					client = &http.Client{Transport: r.base}
				}
				test(t, r, client)
			})
		}
	}
}

// session has API and token endpoint on one host.
func (r *silenceRig) session(t *testing.T, client *http.Client, timeout time.Duration) *sessiontest.Rig {
	rig := (&sessiontest.Rig{Server: r.Server}).Another(t, func(c *tokenclient.Config, _ *tokentest.Server) {
		refresher := r.OAuth2Refresher()
		refresher.HTTPClient = client
		c.Refresher, c.RefreshTimeout = refresher, timeout
	})
	rig.Client = rig.Session.Wrap(&http.Client{Transport: r.base})
	rig.Login(t)
	return rig
}

// TestSilence: one refresh is lost to a dead connection, and one more, perhaps, with a
// Transport of the caller's. None is lost if pings find out first: the session makes it
// again by itself.
func TestSilence(t *testing.T) {
	inSilence(t, func(t *testing.T, r *silenceRig, own *http.Client) {
		rig := r.session(t, own, 0)
		for range 3 {
			if _, err := rig.Session.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.path.Silence()
			began, lost := time.Now(), 0
			for lost < 10 {
				if _, err := rig.Session.Refresh(t.Context()); err == nil {
					break
				}
				lost++
			}
			switch most := r.mayLose(own); {
			case lost > most:
				t.Errorf("%d refreshes were lost, want at most %d", lost, most)
			case most == 0 && time.Since(began) > 15*time.Second:
				t.Errorf("it took %v", time.Since(began))
			}
		}
		rig.WantRefreshes(t, 6)
		rig.Client.CloseIdleConnections()
		if synctest.Wait(); r.path.Open() != 0 {
			t.Errorf("CloseIdleConnections left %d connections", r.path.Open())
		}
	})
}

// mayLose is how many refreshes, one after another, may be lost to a dead connection.
func (r *silenceRig) mayLose(own *http.Client) int {
	switch http2 := r.base.Protocols != nil; {
	case own != nil && http2:
		return 2
	case http2:
		return 0
	default:
		return 1
	}
}

// TestSilenceOfTheAPI: API and token endpoint are on one host, which falls silent when
// the token has expired. Requests to the API fail as long as their own connection is not
// found out: by its pings, as the documentation of Transport.Base recommends them; or
// because a token call on the same one timed out.
func TestSilenceOfTheAPI(t *testing.T) {
	inSilence(t, func(t *testing.T, r *silenceRig, own *http.Client) {
		http2 := r.base.Protocols != nil
		rig := r.session(t, own, time.Second)
		within := 5 * time.Second
		if own == nil && http2 {
			base := r.base.Clone()
			base.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
			t.Cleanup(base.CloseIdleConnections)
			rig.Client = rig.Session.Wrap(&http.Client{Transport: base})
			within = 15 * time.Second
		}
		rig.WantGet(t, 200)
		rig.Give(t, r.expired("alice"))
		r.path.Silence()
		began := time.Now()
		var requests sync.WaitGroup
		var mu sync.Mutex
		var last time.Duration // when the last request began that failed
		for time.Since(began) < 30*time.Second {
			requests.Go(func() {
				at := time.Since(began)
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				defer cancel()
				if _, err := rig.Get(ctx); err != nil {
					mu.Lock()
					defer mu.Unlock()
					last = max(last, at)
				}
			})
			time.Sleep(150 * time.Millisecond)
		}
		requests.Wait()
		if last > within {
			t.Errorf("a request failed that began after %v, want none after %v", last, within)
		}
	})
}

// expired is a token of user's whose refresh token is good.
func (r *silenceRig) expired(user string) *tokenclient.Token {
	t := r.Issue(user)
	t.Issued, t.Expiry = t.Issued.Add(-time.Hour), time.Now().Add(-time.Minute)
	return t
}

// TestSilenceInAPool: a hundred users of one endpoint have to refresh when it falls
// silent. No more refreshes are lost than were under way (over HTTP/2 and a Transport of
// the caller's, and in the turns after those), and no request fails if pings find out
// first.
func TestSilenceInAPool(t *testing.T) {
	inSilence(t, func(t *testing.T, r *silenceRig, own *http.Client) {
		const users, most = 100, 8
		refresher := r.OAuth2Refresher()
		refresher.HTTPClient = own
		p := sessiontest.NewPool(t, tokenclient.PoolConfig{
			Store: &sessiontest.PoolStore{Known: r.expired}, MaxRefreshes: most,
			Config: func(context.Context, string) (tokenclient.Config, error) {
				return tokenclient.Config{Refresher: refresher, Origins: []string{sessiontest.FakeAPI}}, nil
			},
		}, nil)
		client := p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
		askAll := func(from, to int) (failed int32) {
			var all sync.WaitGroup
			var n atomic.Int32
			for i := from; i < to; i++ {
				all.Go(func() {
					if err := sessiontest.Ask(t.Context(), client, sessiontest.PoolUser(i)); err != nil {
						n.Add(1)
					}
				})
			}
			all.Wait()
			return n.Load()
		}
		if failed := askAll(0, most); failed != 0 {
			t.Fatalf("%d requests failed before", failed)
		}
		r.path.Silence()
		failed := askAll(most, most+users)
		want := int32(most)
		if http2 := r.base.Protocols != nil; http2 && own == nil {
			want = 0
		} else if http2 { // those that began before one asked for a connection to itself
			want = 2 * most
		}
		if failed > want {
			t.Errorf("%d requests failed, want at most %d", failed, want)
		}
	})
}
