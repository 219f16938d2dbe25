package dpop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// rig is a session with proofs against a server that wants them.
type rig struct {
	server  *tokentest.Server
	prover  *dpop.Prover
	session *tokenclient.Session
	client  *http.Client
}

func newRig(t testing.TB, o tokentest.DPoP, p *dpop.Prover, change func(*tokenclient.Config)) *rig {
	t.Helper()
	r := &rig{server: tokentest.NewServer(t, &tokentest.Options{InMemory: true, Opaque: true, DPoP: &o}), prover: p}
	refresher := r.server.OAuth2Refresher()
	refresher.Binder = p
	c := tokenclient.Config{Refresher: refresher, Attacher: p, Origins: []string{r.server.URL}}
	if change != nil {
		change(&c)
	}
	var err error
	if r.session, err = tokenclient.New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.session.Close(context.WithoutCancel(t.Context())) })
	r.client = r.session.Wrap(r.server.Client())
	return r
}

// login gives the session tokens that are bound to a new key.
func (r *rig) login(t testing.TB) *tokenclient.Token {
	t.Helper()
	binding, thumbprint, err := r.prover.NewBinding()
	if err != nil {
		t.Fatal(err)
	}
	token := r.server.IssueBound("alice", thumbprint)
	token.Binding = binding
	token.Issued = time.Now().Add(-time.Minute) // it is not young
	if err := r.session.SetToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	return token
}

// get makes a request, and wants its answer.
func (r *rig) get(t testing.TB, status int) {
	t.Helper()
	if err := r.do(t.Context(), http.MethodGet, "", status); err != nil {
		t.Error(err)
	}
}

func (r *rig) do(ctx context.Context, method, body string, status int) error {
	req, err := http.NewRequestWithContext(ctx, method, r.server.URL+"/api/things/%2F?echo=1", io.MultiReader(strings.NewReader(body)))
	if err != nil {
		return err
	}
	if body == "" {
		req.Body, req.ContentLength = nil, 0
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if resp.StatusCode != status || err != nil || status == 200 && string(got) != body {
		return fmt.Errorf("status %d, want %d; body %q, %v; %v", resp.StatusCode, status, got, err, resp.Header)
	}
	return nil
}

// strict is a server whose nonces are good for one proof each, at both places.
var strict = tokentest.DPoP{TokenNonce: true, APINonce: true, NonceUses: 1}

// TestSession: with each algorithm, with a key for each login and with one for all, requests
// with bodies survive an access token that is revoked and nonces that are missing, all at once.
func TestSession(t *testing.T) {
	for _, algorithm := range []string{"", "ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprint(algorithm, own), func(t *testing.T) {
				p := &dpop.Prover{Algorithm: algorithm}
				if own {
					p.Signer = signerFor(t, algorithm)
				}
				r := newRig(t, strict, p, nil)
				was := r.login(t)
				for n := 1; n <= 2; n++ {
					r.server.RevokeAccess("alice")
					if err := r.do(t.Context(), http.MethodPost, "a body that comes as a stream", 200); err != nil {
						t.Error(err)
					}
					c := r.server.Counters()
					now, err := r.session.Peek(t.Context())
					if err != nil || c.Refreshes != n || c.Reuses != 0 || c.BadProofs != 0 || now.Binding != was.Binding || now.TokenType != "DPoP" {
						t.Errorf("%v, %+v, %v", err, c, now)
					}
				}
				if err := r.session.Logout(t.Context()); err != nil {
					t.Error(err)
				}
				if c := r.server.Counters(); c.Revocations != 1 || c.BadProofs != 0 {
					t.Errorf("%+v", c)
				}
			})
		}
	}
}

// TestExpiries: many expiries, one after another and under many requests at a time, against
// nonces of which none is good twice: one refresh each, no reuse, no request that fails, and no
// more sendings than the bound.
func TestExpiries(t *testing.T) {
	for _, tc := range []struct{ expiries, requests int }{{200, 5}, {12, 1000}} {
		if testing.Short() {
			tc.expiries, tc.requests = max(tc.expiries/10, 2), min(tc.requests, 100)
		}
		t.Run(fmt.Sprintf("%d times %d", tc.expiries, tc.requests), func(t *testing.T) {
			r := newRig(t, strict, new(dpop.Prover), nil)
			r.login(t)
			sent := new(atomic.Int64)
			base := r.server.Client().Transport
			r.client = r.session.Wrap(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
				sent.Add(1)
				return base.RoundTrip(req)
			})})
			for range tc.expiries {
				r.server.RevokeAccess("alice")
				errs := make(chan error, tc.requests)
				for i := range tc.requests {
					go func() { errs <- r.do(t.Context(), http.MethodPost, fmt.Sprint("body ", i), 200) }()
				}
				for range tc.requests {
					if err := <-errs; err != nil {
						t.Error(err)
					}
				}
			}
			c := r.server.Counters()
			if c.Refreshes != tc.expiries || c.Reuses != 0 || c.BadProofs != 0 {
				t.Errorf("%+v", c)
			}
			total := int64(tc.expiries * tc.requests)
			if n := sent.Load(); n > 5*total {
				t.Errorf("%d sendings of %d requests", n, total)
			}
			t.Logf("%d requests, %d sendings, %d nonces asked for, %d refreshes, %d reuses", total, sent.Load(), c.NonceChallenges, c.Refreshes, c.Reuses)
		})
	}
}

// TestNonceCost: where nonces live for a while the first request to each server pays for one,
// and no other; each answer has the next one.
func TestNonceCost(t *testing.T) {
	r := newRig(t, tokentest.DPoP{TokenNonce: true, APINonce: true}, new(dpop.Prover), nil)
	r.login(t)
	for range 50 {
		r.get(t, 200)
	}
	for range 5 {
		if _, err := r.session.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if c := r.server.Counters(); c.NonceChallenges != 2 || c.Refreshes != 5 || c.BadProofs != 0 {
		t.Errorf("%+v", c)
	}
}

// TestClock: a server whose clock is off is answered by its clock, learned from its Date, at both
// places and without a guess. One that is off by days is not.
func TestClock(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Second, -5 * time.Second, time.Hour, -time.Hour, 23 * time.Hour, 49 * time.Hour} {
		for _, nonces := range []bool{false, true} {
			t.Run(fmt.Sprint(skew, nonces), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(300 * time.Millisecond) // clocks do not tick together
					r := newRig(t, tokentest.DPoP{Window: 3 * time.Second, TokenNonce: nonces, APINonce: nonces}, new(dpop.Prover), nil)
					r.server.Set(func(o *tokentest.Options) {
						o.ClockSkew, o.AccessLifetime, o.RefreshLifetime = skew, 1000*time.Hour, 1000*time.Hour
					})
					r.login(t)
					if skew > 24*time.Hour {
						r.get(t, 401)
						if _, err := r.session.Refresh(t.Context()); err == nil || errors.Is(err, tokenclient.ErrLoginRequired) {
							t.Errorf("refresh: %v", err)
						}
						return
					}
					for range 3 {
						r.get(t, 200)
						if _, err := r.session.Refresh(t.Context()); err != nil {
							t.Error(err)
						}
						time.Sleep(time.Minute)
					}
					want := 2 // one at each place
					if skew == 0 {
						want = 0
					}
					if c := r.server.Counters(); c.BadProofs > want || c.Refreshes != 3 {
						t.Errorf("%+v", c)
					}
				})
			})
		}
	}
}

// TestLogin: the key that a login's authorization request names is the one that its code is
// exchanged with, whoever exchanges it; a code that another key was named for is refused.
func TestLogin(t *testing.T) {
	r := newRig(t, strict, new(dpop.Prover), nil)
	refresher := r.server.OAuth2Refresher()
	refresher.Binder = r.prover
	binding, thumbprint, err := r.prover.NewBinding()
	if err != nil || strings.Contains(thumbprint, binding) {
		t.Fatal(err)
	}
	for name, ctx := range map[string]context.Context{
		"its key": tokenclient.WithBinding(t.Context(), binding), "another": t.Context(),
	} {
		token, err := refresher.Login(ctx, code(t, r.server, thumbprint))
		if name == "another" {
			var te *tokenclient.TokenError
			if !errors.As(err, &te) || te.Code != "invalid_grant" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || token.Binding != binding || token.TokenType != "DPoP" {
			t.Fatalf("%s: %v, %v", name, token, err)
		}
		if err := r.session.SetToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		r.get(t, 200)
	}
}

// TestClientCredentials: a session that needs no login makes its key with the first exchange,
// and keeps it.
func TestClientCredentials(t *testing.T) {
	r := newRig(t, strict, new(dpop.Prover), func(c *tokenclient.Config) {
		c.Refresher.(*tokenclient.OAuth2Refresher).Grant = credentials{}
	})
	var first string
	for range 3 {
		r.get(t, 200)
		token, err := r.session.Peek(t.Context())
		if err != nil || !strings.HasPrefix(token.Binding, "key:ES256:") || first != "" && token.Binding != first {
			t.Errorf("%v, %v", token, err)
		}
		first = token.Binding
		r.server.RevokeAccess("tokentest")
	}
}

// TestPool: one Prover serves all sessions, each of which has its own key, at the same time.
func TestPool(t *testing.T) {
	p := new(dpop.Prover)
	r := newRig(t, strict, p, nil)
	refresher := r.server.OAuth2Refresher()
	refresher.Binder = p
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{Store: new(store.Memory), Config: func(context.Context, string) (tokenclient.Config, error) {
		return tokenclient.Config{Refresher: refresher, Attacher: p, Origins: []string{r.server.URL}}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close(context.WithoutCancel(t.Context())) }()
	client := pool.Wrap(r.server.Client())
	const users = 30
	seen := map[string]bool{}
	for i := range users {
		key := fmt.Sprint("user", i)
		binding, thumbprint, err := p.NewBinding()
		if err != nil {
			t.Fatal(err)
		}
		token := r.server.IssueBound(key, thumbprint)
		token.Binding = binding
		token.Issued = time.Now().Add(-time.Minute)
		seen[thumbprint] = true
		s, err := pool.Session(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		r.server.RevokeAccess(key)
	}
	var running sync.WaitGroup
	for i := range users * 3 {
		running.Go(func() {
			key := fmt.Sprint("user", i%users)
			req, err := http.NewRequestWithContext(tokenclient.WithKey(t.Context(), key), http.MethodGet, r.server.URL+"/api/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != 200 || !strings.Contains(string(body), `"`+key+`"`) {
				t.Errorf("%s: %d %s", key, resp.StatusCode, body)
			}
		})
	}
	running.Wait()
	if c := r.server.Counters(); c.Refreshes != users || c.BadProofs != 0 || len(seen) != users {
		t.Errorf("%+v, %d keys", c, len(seen))
	}
}
