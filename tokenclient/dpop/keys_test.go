package dpop_test

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
)

// bindingOf makes a binding for an algorithm.
func bindingOf(t *testing.T, algorithm string) string {
	t.Helper()
	binding, _, err := (&dpop.Prover{Algorithm: algorithm}).NewBinding()
	if err != nil {
		t.Fatal(err)
	}
	return binding
}

// TestLostKeys: a key that is missing, was replaced, or is of another type, is found out before
// anything is sent. The error says that a login is needed, and shows no key; the refresh token
// is still good when the key is there again.
func TestLostKeys(t *testing.T) {
	ec, ed := bindingOf(t, "ES256"), bindingOf(t, "EdDSA")
	signer, other := signerFor(t, "ES256"), signerFor(t, "ES256")
	print1, err := dpop.Thumbprint(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		signer  crypto.Signer
		binding string
		want    string
	}{
		"missing":                   {nil, "", "the token has none"},
		"missing in the HSM":        {nil, "jkt:" + print1, "Prover.Signer is nil"},
		"replaced":                  {other, "jkt:" + print1, "its thumbprint begins with \"" + print1[:6]},
		"replaced, of another type": {signerFor(t, "EdDSA"), "jkt:" + print1, "its thumbprint begins with \"" + print1[:6]},
		"other type":                {nil, "key:ES256:" + ed[strings.LastIndex(ed, ":")+1:], "of another type"},
		"other curve":               {nil, "key:ES384:" + ec[strings.LastIndex(ec, ":")+1:], "of another type"},
		"no algorithm":              {nil, "key::" + ec[strings.LastIndex(ec, ":")+1:], "of another type"},
		"a secret's":                {nil, "key:HS256:" + ec[strings.LastIndex(ec, ":")+1:], "of another type"},
		"cut":                       {nil, ec[:len(ec)/2], "private key"},
		"not base64":                {nil, ec + "!", "not in a form"},
		"of another package":        {nil, "mtls:planted", "Prover.Signer is nil"},
		"of another package, HSM":   {signer, "mtls:planted", "its thumbprint begins with"},
		"nothing behind the colon":  {nil, "key:", "private key"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &dpop.Prover{Signer: tc.signer}
			r := newRig(t, strict, p, nil)
			token := r.server.IssueBound("alice", print1)
			token.Binding = tc.binding
			if err := r.session.SetToken(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			_, refresh := r.session.Refresh(t.Context())
			_, request := r.client.Get(r.server.URL + "/api/")
			for what, err := range map[string]error{"refresh": refresh, "request": request} {
				if !errors.Is(err, tokenclient.ErrLoginRequired) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: %v, want %q", what, err, tc.want)
				}
				for _, secret := range []string{ec, ed, tc.binding} {
					if i := strings.LastIndex(secret, ":") + 1; len(secret[i:]) > 50 && strings.Contains(err.Error(), secret[i+8:i+40]) {
						t.Errorf("%s shows the key: %v", what, err)
					}
				}
			}
			if !errors.Is(refresh, tokenclient.ErrNotPresented) {
				t.Errorf("refresh: %v", refresh)
			}
			if c := r.server.Counters(); c.Refreshes != 0 || c.Requests != 0 || c.BadProofs != 0 || c.NonceChallenges != 0 {
				t.Errorf("%+v", c)
			}
			// The program is started again with the right key.
			again := newRig(t, strict, &dpop.Prover{Signer: signer}, nil)
			refresher := r.server.OAuth2Refresher()
			refresher.Binder = again.prover
			token.Binding = "jkt:" + print1
			if _, err := refresher.Refresh(t.Context(), token); err != nil {
				t.Errorf("the refresh token is lost: %v", err)
			}
		})
	}
}

// TestKeyOfItsOwn: a token that has its own key keeps it when the program gets a Signer; the
// next login's is the Signer's.
func TestKeyOfItsOwn(t *testing.T) {
	r := newRig(t, strict, new(dpop.Prover), nil)
	token := r.login(t)
	p := &dpop.Prover{Signer: signerFor(t, "ES256")}
	refresher := r.server.OAuth2Refresher()
	refresher.Binder = p
	next, err := refresher.Refresh(t.Context(), token)
	if err != nil || next.Binding != token.Binding {
		t.Errorf("%v, %v", next, err)
	}
	_, thumbprint, err := p.NewBinding()
	if err != nil {
		t.Fatal(err)
	}
	next, err = refresher.Login(t.Context(), code(t, r.server, thumbprint))
	if err != nil || next.Binding != "jkt:"+thumbprint {
		t.Errorf("%v, %v", next, err)
	}
}

// TestFromBearer: tokens of before are bound with their next refresh.
func TestFromBearer(t *testing.T) {
	r := newRig(t, strict, &dpop.Prover{AllowBearer: true}, nil)
	if err := r.session.SetToken(t.Context(), r.server.Issue("alice")); err != nil {
		t.Fatal(err)
	}
	if token, err := r.session.Refresh(t.Context()); err != nil || token.TokenType != "DPoP" || token.Binding == "" {
		t.Errorf("%v, %v", token, err)
	}
	r.get(t, 200)
}

// TestAllowBearer: what a server did not bind does not go out by itself.
func TestAllowBearer(t *testing.T) {
	for _, allow := range []bool{false, true} {
		p := &dpop.Prover{AllowBearer: allow}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Attach(req, &tokenclient.Token{AccessToken: "a", TokenType: "bearer", Binding: bindingOf(t, "")})
		if allow && (err != nil || req.Header.Get("Authorization") != "Bearer a" || req.Header["Dpop"] != nil) {
			t.Errorf("%v, %v", err, req.Header)
		}
		if !allow && (err == nil || errors.Is(err, tokenclient.ErrLoginRequired) || len(req.Header) > 0) {
			t.Errorf("%v, %v", err, req.Header)
		}
	}
}

// TestMistakes: what can never work is said by New.
func TestMistakes(t *testing.T) {
	for want, p := range map[string]*dpop.Prover{
		"": {}, "Prover.Algorithm is \"HS256\"": {Algorithm: "HS256"}, "Prover.Algorithm is \"none\"": {Algorithm: "none"},
		"Prover.Signer: the Algorithm \"ES384\" is not for this key": {Signer: signerFor(t, "ES256"), Algorithm: "ES384"},
		"Prover.Signer: the key is":                                  {Signer: remote{broken{}}},
	} {
		refresher := &tokenclient.OAuth2Refresher{TokenURL: "https://auth.example.com/token", ClientAuth: tokenclient.PublicClient("app"), Binder: p}
		for _, c := range []tokenclient.Config{
			{Refresher: refresher, AnyOrigin: true},
			{Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) { return nil, nil }), Attacher: p, AnyOrigin: true},
		} {
			_, err := tokenclient.New(c)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		if _, _, err := p.NewBinding(); (err == nil) != (want == "") {
			t.Errorf("NewBinding: %v", err)
		}
	}
}

type broken struct{ crypto.Signer }

func (broken) Public() crypto.PublicKey { return "planted" }

// away is the key of an HSM that does not answer.
type away struct {
	crypto.Signer
	err error
}

func (a away) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, a.err }

// TestSignerFails: what a Signer says is in the error, in one line, and no token is spent.
func TestSignerFails(t *testing.T) {
	errAway := errors.New("the HSM is away")
	r := newRig(t, strict, &dpop.Prover{Signer: away{signerFor(t, ""), errAway}}, nil)
	r.login(t)
	_, refresh := r.session.Refresh(t.Context())
	_, request := r.client.Get(r.server.URL + "/api/")
	for _, err := range []error{refresh, request} {
		if !errors.Is(err, errAway) || strings.Contains(err.Error(), "\n") || errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("%q", err)
		}
	}
	if !errors.Is(refresh, tokenclient.ErrNotPresented) {
		t.Errorf("%q", refresh)
	}
}

// TestSignerWithASession: a Signer whose KMS is called through a session of its own may find that
// logged out, or refused. The user of this one need not log in for that.
func TestSignerWithASession(t *testing.T) {
	for _, verdict := range []error{
		tokenclient.ErrLoginRequired, tokenclient.ErrRefused, tokenclient.ErrLoggedOut,
		&tokenclient.TokenError{StatusCode: 400, Code: "invalid_grant", Err: tokenclient.ErrRefused},
	} {
		var ended error
		signer := away{signerFor(t, ""), fmt.Errorf("the KMS: %w", verdict)}
		r := newRig(t, strict, &dpop.Prover{Signer: signer}, func(c *tokenclient.Config) {
			c.Hooks = &tokenclient.Hooks{SessionEnded: func(err error) { ended = err }}
		})
		r.login(t)
		_, refresh := r.session.Refresh(t.Context())
		_, request := r.client.Get(r.server.URL + "/api/")
		for _, err := range []error{refresh, request} {
			if err == nil || errors.Is(err, tokenclient.ErrLoginRequired) || !strings.Contains(err.Error(), "the KMS: ") {
				t.Errorf("%v: got %v", verdict, err)
			}
		}
		if err := r.session.Close(t.Context()); err != nil || ended != nil {
			t.Errorf("%v: Close: %v; SessionEnded: %v", verdict, err, ended)
		}
	}
}

// TestPrintsNoSecret: no key is in what is printed, logged or marshalled.
func TestPrintsNoSecret(t *testing.T) {
	var inside struct{ proofs dpop.Prover }
	binding, _, err := inside.proofs.NewBinding()
	if err != nil {
		t.Fatal(err)
	}
	private := binding[len(binding)/3 : len(binding)/2]
	for _, p := range []*dpop.Prover{nil, {}, {Signer: rsaKey()}} {
		if p != nil {
			if _, _, err := p.NewBinding(); err != nil {
				t.Fatal(err)
			}
		}
		var texts []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			texts = append(texts, fmt.Sprintf(verb, p), fmt.Sprintf(verb, struct{ P *dpop.Prover }{p}))
			// Package fmt calls no methods of what is in an unexported field.
			if text := fmt.Sprintf(verb, &inside); strings.Contains(text, private) || strings.Contains(text, fmt.Sprintf("%x", private)) {
				t.Errorf("%s inside of a struct: %s", verb, text)
			}
		}
		b, err := json.Marshal(struct{ P *dpop.Prover }{p})
		if err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "p", p)
		texts = append(texts, string(b), log.String())
		for _, text := range texts {
			if len(text) > 200 || strings.Contains(text, rsaKey().D.String()[:20]) {
				t.Errorf("%s", text)
			}
		}
	}
}
