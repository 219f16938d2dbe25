package tokenclient_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// many is n, a tenth of it in short mode, and no more than the race detector can
// follow: it gives up at 8,128 goroutines, and a request needs several.
func many(n int) int {
	if testing.Short() {
		n /= 10
	}
	if raceEnabled {
		n = min(n, 500)
	}
	return n
}

// crowd calls f from n goroutines and waits for all of them.
func crowd(n int, f func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(f)
	}
	wg.Wait()
}

// A barrier stops everybody who comes to it until it is lifted. A nil barrier
// stops nobody.
type barrier struct {
	once    sync.Once
	reached chan struct{} // closed when the first has come
	lifted  chan struct{}
}

func newBarrier() *barrier {
	return &barrier{reached: make(chan struct{}), lifted: make(chan struct{})}
}

func (b *barrier) stop() {
	if b == nil {
		return
	}
	b.once.Do(func() { close(b.reached) })
	<-b.lifted
}

func (b *barrier) lift() { close(b.lifted) }

// stepStore is a Store that can be stopped at each of its steps, or made to fail.
type stepStore struct {
	tokenclient.Store
	beforeFn *barrier // it has the key, and the Refresher was not called
	afterFn  *barrier // the Refresher has returned, and nothing was written
	written  *barrier // the result is written, and Refresh or Save has not returned

	broken    atomic.Bool // every call fails
	replaces  atomic.Int32
	refreshes atomic.Int32 // and saves
}

func (s *stepStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	if s.broken.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	return s.Store.Load(ctx, key)
}

func (s *stepStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	s.replaces.Add(1)
	if s.broken.Load() {
		return now, was, tokenclient.ErrStoreUnavailable
	}
	return s.Store.Replace(ctx, key, t)
}

func (s *stepStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	s.refreshes.Add(1)
	if s.broken.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	r, err := s.Store.Refresh(ctx, key, seen, timeout, func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error) {
		s.beforeFn.stop()
		t, err := fn(ctx, current)
		s.afterFn.stop()
		return t, err
	})
	s.written.stop()
	return r, err
}

func (s *stepStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	s.refreshes.Add(1)
	if s.broken.Load() {
		return tokenclient.Record{}, tokenclient.ErrStoreUnavailable
	}
	r, err := s.Store.Save(ctx, key, seen, t)
	s.written.stop()
	return r, err
}

// stepRefresher is the server's own Refresher, but can be stopped before and after
// its call, and writes down what passes through it.
type stepRefresher struct {
	*tokenclient.OAuth2Refresher
	before, after *barrier
	keepAlive     bool // Revoke does not tell the server

	mu      sync.Mutex // guards the rest
	issued  []string   // refresh tokens
	revoked []string
}

func (r *stepRefresher) Refresh(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	r.before.stop()
	t, err := r.OAuth2Refresher.Refresh(ctx, old)
	if err == nil {
		r.mu.Lock()
		r.issued = append(r.issued, t.RefreshToken)
		r.mu.Unlock()
	}
	r.after.stop()
	return t, err
}

func (r *stepRefresher) Revoke(ctx context.Context, t *tokenclient.Token) error {
	r.mu.Lock()
	r.revoked = append(r.revoked, t.RefreshToken)
	r.mu.Unlock()
	if r.keepAlive {
		return nil
	}
	return r.OAuth2Refresher.Revoke(ctx, t)
}

// wantRevoked checks that all refresh tokens but the first n that were issued have
// been revoked.
func (r *stepRefresher) wantRevoked(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, token := range r.issued {
		if !slices.Contains(r.revoked, token) {
			t.Errorf("refresh token %d of those issued during the race is alive at the server", i+1)
		}
	}
}

// roundTrip is a function as an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// reply answers req with status and nothing else.
func reply(req *http.Request, status int) *http.Response {
	return &http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader("")),
	}
}

// fakeAPI is the origin of APIs that are a roundTrip.
const fakeAPI = "http://localhost:1"

// newFakeRig is a rig without a server: refresh is the Refresher and api answers.
func newFakeRig(t *testing.T, refresh tokenclient.RefresherFunc, api roundTrip, change func(*tokenclient.Config)) *rig {
	t.Helper()
	c := tokenclient.Config{Refresher: refresh, Origins: []string{fakeAPI}}
	if change != nil {
		change(&c)
	}
	s, err := tokenclient.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSession(t, s) })
	return &rig{&tokentest.Server{URL: fakeAPI}, s, s.Wrap(&http.Client{Transport: api})}
}

func closeSession(t *testing.T, s *tokenclient.Session) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// give makes token the session's.
func (r *rig) give(t *testing.T, token *tokenclient.Token) {
	t.Helper()
	if err := r.session.SetToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
}

// pair is a token that expires lifetime from now; 0: it does not say.
func pair(access, refresh string, lifetime time.Duration) *tokenclient.Token {
	t := &tokenclient.Token{AccessToken: access, RefreshToken: refresh, Issued: time.Now()}
	if lifetime != 0 {
		t.Expiry = t.Issued.Add(lifetime)
	}
	return t
}

// wantErr checks that err is every one of targets.
func wantErr(t *testing.T, what string, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: error %v, want one that is %v", what, err, target)
		}
	}
}

// wantTransient checks that err is a TokenError that says to try later.
func wantTransient(t *testing.T, what string, err error) {
	t.Helper()
	var te *tokenclient.TokenError
	if !errors.As(err, &te) || !te.Temporary() {
		t.Errorf("%s: error %v, want a TokenError that is Temporary", what, err)
	}
}
