package behaviour_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// lagging is an API that learns late of the tokens that its token endpoint issues.
type lagging struct {
	lag     time.Duration
	refresh time.Duration // what a refresh takes

	mu      sync.Mutex // guards the rest
	issued  map[string]time.Time
	revoked map[string]bool
	made    int // by refreshes
	sent    int
	bodies  []string
	guarded int // times that the storm guard began
}

func (a *lagging) issue(lifetime time.Duration) *tokenclient.Token {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.issued == nil {
		a.issued, a.revoked = make(map[string]time.Time), make(map[string]bool)
	}
	t := sessiontest.Pair(fmt.Sprint("access-", len(a.issued)), fmt.Sprint("refresh-", len(a.issued)), lifetime)
	a.issued[t.AccessToken] = time.Now()
	return t
}

// Refresh implements tokenclient.Refresher.
func (a *lagging) Refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	time.Sleep(a.refresh)
	t := a.issue(time.Hour)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made++
	return &tokenclient.Token{AccessToken: t.AccessToken, RefreshToken: t.RefreshToken}, nil
}

func (a *lagging) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		_ = req.Body.Close()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if req.Body != nil {
		a.bodies = append(a.bodies, string(body))
	}
	a.sent++
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	at, ok := a.issued[token]
	if !ok || a.revoked[token] || time.Since(at) < a.lag || strings.HasPrefix(req.URL.Path, "/bad") {
		return sessiontest.Reply(req, 401), nil
	}
	return sessiontest.Reply(req, 200), nil
}

func (a *lagging) revoke(access string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked[access] = true
}

// rig is a session for a, without a token.
func (a *lagging) rig(t *testing.T, change func(*tokenclient.Config)) *sessiontest.Rig {
	return sessiontest.NewFake(t, a.Refresh, a.RoundTrip, func(c *tokenclient.Config) {
		c.Hooks = &tokenclient.Hooks{StormGuarded: func(tokenclient.RefreshInfo, time.Time) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.guarded++
		}}
		if change != nil {
			change(c)
		}
	})
}

// young gives r, which has a token of a's then, another one by a refresh.
func (a *lagging) young(t *testing.T, r *sessiontest.Rig) {
	t.Helper()
	r.Give(t, a.issue(time.Hour))
	if _, err := r.Session.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// However a session has come by a token: no caller sees that the API does not know it yet,
// and none is made in its place.
func TestYoungToken(t *testing.T) {
	const ms = time.Millisecond
	for _, tc := range []struct {
		name    string
		begin   func(t *testing.T, a *lagging, r *sessiontest.Rig)
		made    int
		refresh time.Duration
	}{
		{name: "login without a refresh token", begin: func(t *testing.T, a *lagging, r *sessiontest.Rig) {
			token := a.issue(time.Hour)
			token.RefreshToken = ""
			r.Give(t, token)
		}},
		{name: "a moment ago", made: 1, begin: func(t *testing.T, a *lagging, r *sessiontest.Rig) {
			a.young(t, r)
			time.Sleep(90 * ms)
		}},
		{name: "expired", made: 1, begin: func(t *testing.T, a *lagging, r *sessiontest.Rig) {
			r.Give(t, a.issue(time.Hour))
			time.Sleep(time.Hour)
		}},
		{name: "expired, and the token endpoint takes 15 seconds", made: 1, refresh: 15 * time.Second, begin: func(t *testing.T, a *lagging, r *sessiontest.Rig) {
			r.Give(t, a.issue(time.Hour))
			time.Sleep(time.Hour)
		}},
		{name: "refreshed early", made: 1, begin: func(t *testing.T, a *lagging, r *sessiontest.Rig) {
			r.Give(t, a.issue(time.Hour))
			time.Sleep(58 * time.Minute)
			r.WantGet(t, 200)
			synctest.Wait()
		}},
		{name: "revoked", made: 1, begin: func(t *testing.T, a *lagging, r *sessiontest.Rig) {
			r.Give(t, a.issue(time.Hour))
			time.Sleep(time.Minute)
			a.revoke(r.Access(t))
		}},
		{name: "refreshed by the program", made: 1, begin: func(t *testing.T, a *lagging, r *sessiontest.Rig) { a.young(t, r) }},
	} {
		for _, lag := range []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1200 * ms} {
			sessiontest.Bubble(t, fmt.Sprint(tc.name, ", lag ", lag), func(t *testing.T) {
				a := &lagging{lag: lag, refresh: tc.refresh}
				r := a.rig(t, nil)
				tc.begin(t, a, r)
				for i := range 30 {
					if status := ask(t.Context(), r.Client, sessiontest.FakeAPI+fmt.Sprint("/", i)); status != 200 {
						t.Errorf("request %d: status %d", i, status)
					}
					time.Sleep(100 * ms)
				}
				if a.made != tc.made || a.guarded != 0 {
					t.Errorf("%d tokens were made, want %d; the guard shut %d times", a.made, tc.made, a.guarded)
				}
			})
		}
	}
}

// What a login brought is exchanged at once, which costs a token and no time; then the API
// does not know that one.
func TestYoungTokenOfALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &lagging{lag: 300 * time.Millisecond}
		r := a.rig(t, nil)
		r.Give(t, a.issue(time.Hour))
		for range 30 {
			r.WantGet(t, 200)
			time.Sleep(100 * time.Millisecond)
		}
		if a.made != 1 || a.guarded != 0 {
			t.Errorf("%d tokens were made; the guard shut %d times", a.made, a.guarded)
		}
	})
}

// A token that another process has just put into the store is as young as it says.
func TestYoungTokenFromTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := new(store.Memory)
		keep := func(c *tokenclient.Config) { c.Store, c.Key = shared, "alice" }
		a := &lagging{lag: 300 * time.Millisecond}
		first, second := a.rig(t, keep), a.rig(t, keep)
		first.Give(t, a.issue(time.Hour))
		time.Sleep(time.Minute)
		second.WantGet(t, 200)
		old := first.Access(t)
		if _, err := first.Session.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.revoke(old)
		second.WantGet(t, 200) // finds it when it is refused, and is early
		if a.made != 1 {
			t.Errorf("%d tokens were made", a.made)
		}
	})
}

// Many requests wait together: none sees the lag, none waits for longer than the first, and
// one of them tries the token for all. The connections to the host may be few.
func TestYoungTokenCrowd(t *testing.T) {
	for _, conns := range []int{1, 3, 1000} {
		sessiontest.Bubble(t, fmt.Sprint(conns, " connections"), func(t *testing.T) {
			const n = 100
			a := &lagging{lag: 300 * time.Millisecond}
			r := a.rig(t, nil)
			few := &fewConnections{base: a, free: make(chan struct{}, conns)}
			client := r.Session.Wrap(&http.Client{Transport: few})
			a.young(t, r)
			began := time.Now()
			sessiontest.Crowd(n, func() {
				if status := ask(t.Context(), client, sessiontest.FakeAPI+"/things"); status != 200 {
					t.Errorf("status %d", status)
				}
			})
			if took := time.Since(began); took > time.Second {
				t.Errorf("it took %v", took)
			}
			if a.sent > 2*n+4 || a.made != 1 {
				t.Errorf("%d requests for %d calls, %d tokens", a.sent, n, a.made)
			}
		})
	}
}

// fewConnections is a base transport whose answers hold a connection until they are read or
// closed.
type fewConnections struct {
	base http.RoundTripper
	free chan struct{} // has an element for each connection in use
}

func (f *fewConnections) RoundTrip(req *http.Request) (*http.Response, error) {
	f.free <- struct{}{}
	resp, err := f.base.RoundTrip(req)
	if err != nil {
		<-f.free
		return nil, err
	}
	release := sync.OnceFunc(func() { <-f.free })
	resp.Body = &connectedBody{Reader: iotest.OneByteReader(strings.NewReader("refused")), release: release}
	return resp, nil
}

type connectedBody struct {
	io.Reader
	release func()
}

func (b *connectedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.release()
	}
	return n, err
}

func (b *connectedBody) Close() error { b.release(); return nil }

// Where tokens are refused for good the waits change no bound: neither of refreshes nor of
// sendings. Each token is waited for once.
func TestYoungTokenRefusedForGood(t *testing.T) {
	for _, beside := range []bool{false, true} {
		sessiontest.Bubble(t, fmt.Sprint("beside one that accepts: ", beside), func(t *testing.T) {
			const n = 200
			a := new(lagging)
			r := a.rig(t, nil)
			r.Give(t, a.issue(time.Hour))
			began := time.Now()
			for range n {
				if beside {
					if status := ask(t.Context(), r.Client, sessiontest.FakeAPI+"/good"); status != 200 {
						t.Errorf("status %d", status)
					}
				}
				if status := ask(t.Context(), r.Client, sessiontest.FakeAPI+"/bad"); status != 401 {
					t.Errorf("status %d", status)
				}
			}
			took := time.Since(began)
			calls := n
			if beside {
				calls = 2 * n
			}
			if a.made > 6 || a.sent > calls+a.made+4*(a.made+1) || took > time.Duration(a.made+1)*1500*time.Millisecond {
				t.Errorf("%d tokens were made, %d requests for %d calls, in %v", a.made, a.sent, calls, took)
			}
		})
	}
}

// A token that is revoked right after it was made costs its requests the waits, or half of
// the time that they have, and no more.
func TestYoungTokenRevoked(t *testing.T) {
	for _, tc := range []struct {
		name     string
		issued   time.Duration // ago, as the token says
		accepted bool          // before it was revoked
		timeout  time.Duration
		want     time.Duration
	}{
		{name: "never accepted", timeout: time.Hour, want: 1500 * time.Millisecond},
		{name: "accepted before", accepted: true, timeout: time.Hour},
		{name: "little time", timeout: time.Second, want: 500 * time.Millisecond},
		{name: "made a minute ago", issued: time.Minute, timeout: time.Hour},
		{name: "made in an hour, by another clock", issued: -time.Hour, timeout: time.Hour},
		{name: "made in a second, by another clock", issued: -time.Second, timeout: time.Hour, want: 1500 * time.Millisecond},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			a := new(lagging)
			kept := new(store.Memory)
			login, _, err := kept.Replace(t.Context(), "alice", a.issue(0))
			if err != nil {
				t.Fatal(err)
			}
			token := a.issue(0)
			token.Issued = time.Now().Add(-tc.issued)
			if _, err := kept.Save(t.Context(), "alice", login, token); err != nil { // another process
				t.Fatal(err)
			}
			r := a.rig(t, func(c *tokenclient.Config) { c.Store, c.Key = kept, "alice" })
			if tc.accepted {
				r.WantGet(t, 200)
			}
			a.revoke(token.AccessToken)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
			defer cancel()
			sessiontest.Crowd(20, func() {
				if status, err := r.Get(ctx); err != nil || status != 200 {
					t.Errorf("status %d, error %v", status, err)
				}
			})
			if took := time.Since(began); took != tc.want || a.made != 1 {
				t.Errorf("it took %v and %d tokens, want %v and one", took, a.made, tc.want)
			}
		})
	}
}

// Who leaves while it waits is free at once, and another one tries the token in its place.
func TestYoungTokenLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &lagging{lag: 300 * time.Millisecond}
		r := a.rig(t, nil)
		a.young(t, r)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		began := time.Now()
		all.Go(func() {
			_, err := r.Get(ctx)
			sessiontest.WantErr(t, "GET", err, context.Canceled)
			if took := time.Since(began); took != 50*time.Millisecond {
				t.Errorf("free after %v", took)
			}
		})
		synctest.Wait()
		all.Go(func() { r.WantGet(t, 200) })
		time.Sleep(50 * time.Millisecond)
		cancel()
		all.Wait()
		if a.made != 1 {
			t.Errorf("%d tokens were made", a.made)
		}
	})
}

// What cannot be sent again waits for nothing. What can be sent again once waits if somebody
// else tries the token, and is refreshed for if nobody does.
func TestYoungTokenBodies(t *testing.T) {
	t.Run("NoReplay", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &lagging{lag: 300 * time.Millisecond}
			r := a.rig(t, nil)
			a.young(t, r)
			tr := r.Session.Transport(a)
			tr.NoReplay = func(*http.Request) bool { return true }
			began := time.Now()
			if status, err := put(t.Context(), tr, sessiontest.FakeAPI, nil); status != 401 || time.Since(began) != 0 {
				t.Errorf("status %d, error %v, after %v", status, err, time.Since(began))
			}
		})
	})
	stream := func() io.Reader { return iotest.OneByteReader(strings.NewReader(sessiontest.Payload)) }
	t.Run("a stream and others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := &lagging{lag: 300 * time.Millisecond}
			r := a.rig(t, nil)
			a.young(t, r)
			tr := r.Session.Transport(a)
			var all sync.WaitGroup
			for _, body := range []func() io.Reader{
				func() io.Reader { return nil }, stream, stream,
				func() io.Reader { return strings.NewReader(sessiontest.Payload) },
			} {
				all.Go(func() {
					if status, err := put(t.Context(), tr, sessiontest.FakeAPI, body()); status != 200 {
						t.Errorf("status %d, error %v", status, err)
					}
				})
				synctest.Wait()
			}
			all.Wait()
			if a.made != 1 {
				t.Errorf("%d tokens were made", a.made)
			}
		})
	})
	t.Run("a stream alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := new(lagging)
			r := a.rig(t, nil)
			a.young(t, r)
			a.revoke(r.Access(t))
			began := time.Now()
			if status, err := put(t.Context(), r.Session.Transport(a), sessiontest.FakeAPI, stream()); status != 200 || time.Since(began) != 0 {
				t.Errorf("status %d, error %v, after %v", status, err, time.Since(began))
			}
			if a.made != 2 {
				t.Errorf("%d tokens were made", a.made)
			}
		})
	})
}

// A body that the caller's own GetBody gives anew is tried like any other, and a refusal after
// that is one.
func TestYoungTokenGetBody(t *testing.T) {
	sent := strings.NewReader(sessiontest.Payload)
	for name, getBody := range map[string]func() (io.ReadCloser, error){
		"another body": func() (io.ReadCloser, error) {
			return io.NopCloser(iotest.OneByteReader(strings.NewReader(sessiontest.Payload))), nil
		},
		"the same, rewound": func() (io.ReadCloser, error) {
			_, err := sent.Seek(0, io.SeekStart)
			return io.NopCloser(sent), err
		},
	} {
		put := func(t *testing.T, r *sessiontest.Rig, a *lagging) int {
			body, err := getBody()
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, sessiontest.FakeAPI, body)
			if err != nil {
				t.Fatal(err)
			}
			req.GetBody = getBody
			resp, err := r.Session.Transport(a).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode
		}
		sessiontest.Bubble(t, name+", the API learns late", func(t *testing.T) {
			a := &lagging{lag: 300 * time.Millisecond}
			r := a.rig(t, nil)
			r.Give(t, a.issue(time.Hour))
			time.Sleep(time.Minute)
			a.revoke(r.Access(t))
			began := time.Now()
			if status := put(t, r, a); status != 200 || time.Since(began) != 300*time.Millisecond || a.made != 1 {
				t.Errorf("status %d, after %v, %d tokens", status, time.Since(began), a.made)
			}
			a.wantBodies(t)
		})
		sessiontest.Bubble(t, name+", the API has just learned", func(t *testing.T) {
			a := &lagging{lag: 300 * time.Millisecond}
			r := a.rig(t, nil)
			a.young(t, r)
			first := make(chan int)
			go func() { first <- ask(t.Context(), r.Client, sessiontest.FakeAPI) }()
			if status := <-first; status != 200 {
				t.Errorf("status %d", status)
			}
			a.revoke(r.Access(t)) // the server is known to take it by now
			if status := put(t, r, a); status != 200 {
				t.Errorf("status %d", status)
			}
			a.wantBodies(t)
		})
		sessiontest.Bubble(t, name+", revoked for good", func(t *testing.T) {
			a := new(lagging)
			r := a.rig(t, nil)
			a.young(t, r)
			a.revoke(r.Access(t))
			if status := put(t, r, a); status != 200 || a.made != 2 || a.sent != 6 {
				t.Errorf("status %d, %d tokens, sent %d times", status, a.made, a.sent)
			}
			a.wantBodies(t)
		})
	}
}

// wantBodies checks that all bodies came whole.
func (a *lagging) wantBodies(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, body := range a.bodies {
		if body != sessiontest.Payload {
			t.Errorf("body %d has %d bytes", i, len(body))
		}
	}
}

// Close lets go of those who wait, and they get the 401.
func TestYoungTokenClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &lagging{lag: time.Hour}
		r := a.rig(t, nil)
		a.young(t, r)
		var done atomic.Int32
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if status := ask(t.Context(), r.Client, sessiontest.FakeAPI); status != 401 {
					t.Errorf("status %d", status)
				}
				done.Add(1)
			})
		}
		synctest.Wait()
		sessiontest.Close(t, r.Session)
		synctest.Wait()
		if done.Load() != 10 {
			t.Errorf("%d of 10 were let go", done.Load())
		}
		all.Wait()
	})
}
