package behaviour_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// writeStore is store.Memory and counts what Refresh and Save write.
type writeStore struct {
	store.Memory
	calls, writes atomic.Int32
	slow          time.Duration // what a write takes
}

func (s *writeStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn sessiontest.Exchange) (tokenclient.Record, error) {
	s.calls.Add(1)
	return s.Memory.Refresh(ctx, key, seen, timeout, func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error) {
		t, err := fn(ctx, current)
		if err == nil {
			s.writes.Add(1)
			time.Sleep(s.slow)
		}
		return t, err
	})
}

func (s *writeStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	s.calls.Add(1)
	time.Sleep(s.slow)
	r, err := s.Memory.Save(ctx, key, seen, t)
	if err == nil {
		s.writes.Add(1)
	}
	return r, err
}

const slidingHeader = "X-Auth-Token"

// slides has the session live from the tokens that answers bring, without a Refresher.
func slides(c *tokenclient.Config, s tokenclient.Store) {
	c.Refresher, c.Renewed = nil, tokenclient.RenewedHeader("x-auth-token")
	c.Attacher = tokenclient.HeaderAttacher(slidingHeader)
	c.Store, c.Key = s, "alice"
}

// slidingRig is a session whose server renews its token in each answer.
type slidingRig struct {
	*sessiontest.Rig
	store   *writeStore
	adopted atomic.Int32
}

// newSlidingRig makes one without a Refresher. alice has logged in, and got no
// refresh token.
func newSlidingRig(t *testing.T, o tokentest.Options, change sessiontest.Change) *slidingRig {
	t.Helper()
	r := &slidingRig{store: new(writeStore)}
	o.InMemory, o.SlidingHeader, o.Header, o.Milliseconds, o.NoExpiresIn = true, true, slidingHeader, true, true
	r.Rig = sessiontest.New(t, &o, func(c *tokenclient.Config, srv *tokentest.Server) {
		slides(c, r.store)
		c.Hooks = &tokenclient.Hooks{Adopted: func(tokenclient.RefreshInfo) { r.adopted.Add(1) }}
		if change != nil {
			change(c, srv)
		}
	})
	token := r.Server.Issue("alice")
	token.RefreshToken = ""
	r.Give(t, token)
	return r
}

// twin is another session over the store of r, as another process is.
func (r *slidingRig) twin(t *testing.T) *sessiontest.Rig {
	t.Helper()
	return r.Another(t, func(c *tokenclient.Config, _ *tokentest.Server) { slides(c, r.store) })
}

// stored returns the record in the store, after all saves.
func (r *slidingRig) stored(t *testing.T) tokenclient.Record {
	t.Helper()
	synctest.Wait()
	rec, err := r.store.Load(context.Background(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// wantStored checks that the store has what the session holds, under number.
func (r *slidingRig) wantStored(t *testing.T, number uint64) {
	t.Helper()
	rec := r.stored(t)
	if rec.Token.AccessToken != r.Access(t) || rec.Number != number || rec.Announced != 0 {
		t.Errorf("record %d announced %d times, want %d; the session's token: %t",
			rec.Number, rec.Announced, number, rec.Token.AccessToken == r.Access(t))
	}
}

// answers is an API whose answers the test writes: each request waits for one.
type answers struct {
	mu      sync.Mutex
	waiting map[string]chan string // by path: the renewed token; "401" refuses
	tokens  map[string]string      // by path: what the request was sent with
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	a.mu.Lock()
	answer := make(chan string, 1)
	if a.waiting == nil {
		a.waiting, a.tokens = make(map[string]chan string), make(map[string]string)
	}
	a.waiting[req.URL.Path] = answer
	a.tokens[req.URL.Path] = req.Header.Get(slidingHeader)
	a.mu.Unlock()
	token := <-answer
	if token == "401" {
		return sessiontest.Reply(req, 401), nil
	}
	resp := sessiontest.Reply(req, 200)
	resp.Header.Set(slidingHeader, token)
	return resp, nil
}

// newAnswersRig is a session without a Refresher that holds the token "T0" and
// talks to answers.
func newAnswersRig(t *testing.T, change func(*tokenclient.Config)) (*slidingRig, *answers) {
	t.Helper()
	r, a := &slidingRig{store: new(writeStore)}, new(answers)
	r.Rig = sessiontest.NewFake(t, nil, a.RoundTrip, func(c *tokenclient.Config) {
		slides(c, r.store)
		c.Hooks = &tokenclient.Hooks{Adopted: func(tokenclient.RefreshInfo) { r.adopted.Add(1) }}
		if change != nil {
			change(c)
		}
	})
	r.Give(t, sessiontest.Pair("T0", "", 0))
	return r, a
}

// send sends a request for path; its status comes out of the channel, 0 for an
// error.
func (r *slidingRig) send(path string) <-chan int {
	done := make(chan int, 1)
	go func() {
		resp, err := r.Client.Get(sessiontest.FakeAPI + path)
		if err != nil {
			done <- 0
			return
		}
		resp.Body.Close()
		done <- resp.StatusCode
	}()
	synctest.Wait()
	return done
}

// answer answers the request for path, and waits until that has had its effect.
func (a *answers) answer(path, token string) {
	a.mu.Lock()
	waiting := a.waiting[path]
	a.mu.Unlock()
	waiting <- token
	synctest.Wait()
}

func (a *answers) sentWith(path string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tokens[path]
}
