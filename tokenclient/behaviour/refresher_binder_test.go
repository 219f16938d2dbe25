package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpointtest"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// binder binds tokens to keys that are numbers.
type binder struct {
	made int
	lost error
}

func (b *binder) NewBinding() (binding, thumbprint string, err error) {
	b.made++
	return fmt.Sprintf("planted-%d", b.made), fmt.Sprintf("thumb-%d", b.made), nil
}

func (b *binder) Bind(_ context.Context, t *tokenclient.Token) (string, tokenclient.Attacher, error) {
	if b.lost != nil && t.AccessToken+t.RefreshToken != "" {
		return "", nil, b.lost
	}
	binding := t.Binding
	if binding == "" {
		binding, _, _ = b.NewBinding()
	}
	return binding, boundProof{}, nil
}

// boundProof says the key and the nonce.
type boundProof struct{}

func (boundProof) HeaderName() string { return "Proof" }

func (boundProof) Attach(req *http.Request, t *tokenclient.Token) error {
	proof := strings.TrimPrefix(t.Binding, "planted-")
	if req.Response != nil {
		proof += " " + req.Response.Header.Get("Nonce")
	}
	req.Header.Set("Proof", proof)
	return nil
}

func (boundProof) Answered(_ *http.Request, resp *http.Response, _ *tokenclient.Token) bool {
	body, err := io.ReadAll(resp.Body)
	return err == nil && strings.Contains(string(body), "use_dpop_nonce")
}

// bound is a token endpoint that wants a nonce, which settles after some calls.
type bound struct {
	settles int // which call in a row it answers well; 0: none
	status  int // that it refuses with
	seen    []string
	in      int
}

func (e *bound) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.seen = append(e.seen, r.Header.Get("Proof")+"|"+string(body))
	e.in++
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Nonce", fmt.Sprint("n", e.in))
	if e.in != e.settles {
		w.WriteHeader(e.status)
		_, _ = io.WriteString(w, `{"error":"use_dpop_nonce"}`)
		return
	}
	e.in = 0
	_, _ = io.WriteString(w, `{"access_token":"a","refresh_token":"r2","expires_in":3600}`)
}

// TestBinder: the proof goes with each call of an endpoint, anew with the server's nonce, and
// the token of the answer has the binding. Nothing but that is another.
func TestBinder(t *testing.T) {
	for _, status := range []int{400, 401} {
		e := &bound{settles: 2, status: status}
		srv, _ := endpointtest.Serve(t, e.serve)
		b := new(binder)
		parts := tokenclient.OAuth2Refresher{TokenURL: srv.URL, RevocationURL: srv.URL, ClientAuth: tokenclient.PublicClient("app"), Binder: b, HTTPClient: srv.Client()}
		asJSON := tokenclient.JSONRefresher(parts)
		asJSON.ClientAuth = nil
		for name, tc := range map[string]struct {
			call func() (*tokenclient.Token, error)
			want []string
		}{
			"refresh": {func() (*tokenclient.Token, error) {
				return parts.Refresh(t.Context(), &tokenclient.Token{RefreshToken: "r", Binding: "planted-old"})
			}, []string{"old|client_id=app&grant_type=refresh_token&refresh_token=r", "old n1|client_id=app&grant_type=refresh_token&refresh_token=r"}},
			"JSON": {func() (*tokenclient.Token, error) {
				return asJSON.Refresh(t.Context(), &tokenclient.Token{RefreshToken: "r", Binding: "planted-old"})
			}, []string{`old|{"refresh_token":"r"}`, `old n1|{"refresh_token":"r"}`}},
			"login": {func() (*tokenclient.Token, error) {
				b.made = 6
				return parts.Login(t.Context(), url.Values{"code": {"c"}})
			}, []string{"7|client_id=app&code=c", "7 n1|client_id=app&code=c"}},
			"login with a key": {func() (*tokenclient.Token, error) {
				binding, _, _ := b.NewBinding()
				return parts.Login(tokenclient.WithBinding(t.Context(), binding+"-mine"), url.Values{"code": {"c"}})
			}, []string{"8-mine|client_id=app&code=c", "8-mine n1|client_id=app&code=c"}},
			"revoke": {func() (*tokenclient.Token, error) {
				t0 := &tokenclient.Token{RefreshToken: "r", Binding: "planted-old"}
				return t0, parts.Revoke(t.Context(), t0)
			}, []string{"old|client_id=app&token=r&token_type_hint=refresh_token", "old n1|client_id=app&token=r&token_type_hint=refresh_token"}},
		} {
			e.seen, b.made = nil, 7
			token, err := tc.call()
			if err != nil || strings.Join(e.seen, "\n") != strings.Join(tc.want, "\n") {
				t.Errorf("%d, %s: %v, sent %q, want %q", status, name, err, e.seen, tc.want)
				continue
			}
			proved, _, _ := strings.Cut(tc.want[0], "|")
			if token.Binding != "planted-"+proved {
				t.Errorf("%s: bound to %q", name, token.Binding)
			}
		}
	}
}

// TestBinderLost: a binding that is lost costs no token, and shows no secret. What needs none
// goes on: a grant, and a revocation.
func TestBinderLost(t *testing.T) {
	e := &bound{settles: 1}
	srv, calls := endpointtest.Serve(t, e.serve)
	old := &tokenclient.Token{AccessToken: "a", RefreshToken: "r", Binding: "planted-old"}
	for final, lost := range map[bool]error{
		true: fmt.Errorf("%w: the key is lost", tokenclient.ErrLoginRequired), false: errors.New("the HSM is away"),
	} {
		parts := tokenclient.OAuth2Refresher{TokenURL: srv.URL, RevocationURL: srv.URL, ClientAuth: tokenclient.PublicClient("app"), Binder: &binder{lost: lost}, HTTPClient: srv.Client()}
		calls.Store(0)
		_, err := parts.Refresh(t.Context(), old)
		if !errors.Is(err, tokenclient.ErrNotPresented) || errors.Is(err, tokenclient.ErrLoginRequired) != final || calls.Load() != 0 {
			t.Errorf("%v, %d calls", err, calls.Load())
		}
		endpointtest.WantSilent(t, err.Error())
		if err := parts.Revoke(t.Context(), old); err != nil || !strings.HasPrefix(e.seen[len(e.seen)-1], "|") {
			t.Errorf("revocation: %v, %q", err, e.seen)
		}
		parts.Grant = fakeGrant{}
		if token, err := parts.Refresh(t.Context(), old); err != nil || token.Binding != "planted-1" {
			t.Errorf("a grant: %v, %v", token, err)
		}
	}
}

type fakeGrant struct{}

func (fakeGrant) Params(context.Context, *tokenclient.Token) (url.Values, error) {
	return url.Values{"grant_type": {"x"}}, nil
}

// TestBinderNeverSettles: a server that never takes a nonce is asked three times a refresh, ends
// no session, and is not said to refuse anything.
func TestBinderNeverSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &bound{status: 401}
		still := 0
		endpoint := sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			e.seen = append(e.seen, req.Header.Get("Proof"))
			resp := sessiontest.Reply(req, 401)
			resp.Header.Set("Content-Type", "application/json")
			resp.Body = io.NopCloser(strings.NewReader(`{"error":"use_dpop_nonce"}`))
			return resp, nil
		})
		s, err := tokenclient.New(tokenclient.Config{
			Refresher: &tokenclient.JSONRefresher{TokenURL: "https://auth.example.com/token", Binder: new(binder), HTTPClient: &http.Client{Transport: endpoint}},
			Origins:   []string{"https://api.example.com"},
			Hooks:     &tokenclient.Hooks{StillRefused: func(tokenclient.RefreshInfo, error) { still++ }},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetToken(t.Context(), sessiontest.Pair("a", "r", time.Hour)); err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 6; n++ {
			_, err := s.Refresh(t.Context())
			var te *tokenclient.TokenError
			if !errors.As(err, &te) || te.Code != "use_dpop_nonce" || errors.Is(err, tokenclient.ErrLoginRequired) ||
				errors.Is(err, tokenclient.ErrStillRefused) || len(e.seen) != 3*n {
				t.Errorf("%v after %d calls", err, len(e.seen))
			}
		}
		synctest.Wait()
		if _, err := s.Token(t.Context()); err != nil || still != 0 {
			t.Errorf("%v, told %d times", err, still)
		}
		_ = s.Close(context.WithoutCancel(t.Context()))
	})
}
