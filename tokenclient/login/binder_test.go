package login_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

// A binder binds tokens to keys that are numbers.
type binder struct {
	made int
	fail error
	none bool // without a thumbprint
}

func (b *binder) NewBinding() (binding, thumbprint string, err error) {
	b.made++
	if b.none {
		return fmt.Sprint("planted-", b.made), "", b.fail
	}
	return fmt.Sprint("planted-", b.made), fmt.Sprint("thumb-", b.made), b.fail
}

func (b *binder) Bind(_ context.Context, t *tokenclient.Token) (string, tokenclient.Attacher, error) {
	return t.Binding, boundProof{}, nil
}

// boundProof says which key.
type boundProof struct{}

func (boundProof) HeaderName() string { return "Proof" }

func (boundProof) Attach(req *http.Request, t *tokenclient.Token) error {
	req.Header.Set("Proof", strings.TrimPrefix(t.Binding, "planted-"))
	return nil
}

// TestBinder: each login has a key of its own, which the authorization request names, each
// call of the token endpoint proves, and the session keeps.
func TestBinder(t *testing.T) {
	for _, none := range []bool{false, true} {
		var proofs []string
		polls := 0
		b := &binder{none: none}
		r := newEndpointRig(t, func(req *http.Request) (*http.Response, error) {
			proofs = append(proofs, req.URL.Path+" "+req.Header.Get("Proof"))
			answer := `{"access_token":"a","refresh_token":"r","expires_in":60}`
			if req.URL.Path == "/device" {
				answer = good + `,"interval":1}`
			} else if b.made == 2 {
				if polls++; polls == 1 {
					return said(400, pending.body)(req)
				}
			}
			return said(200, answer)(req)
		})
		r.refresher.Binder = b
		if err := login.Browser(t.Context(), r.session, r.config); err != nil {
			t.Fatal(err)
		}
		if want := []string{"thumb-1"}; none && r.asked.Has("dpop_jkt") || !none && !slices.Equal(r.asked["dpop_jkt"], want) {
			t.Errorf("asked with dpop_jkt %q", r.asked["dpop_jkt"])
		}
		token, err := r.session.Peek(t.Context())
		if err != nil || token.Binding != "planted-1" {
			t.Errorf("bound to %q, %v", token.Binding, err)
		}
		if err := login.Device(t.Context(), r.session, r.config); err != nil {
			t.Fatal(err)
		}
		if token, err = r.session.Peek(t.Context()); err != nil || token.Binding != "planted-2" {
			t.Errorf("bound to %q, %v", token.Binding, err)
		}
		if want := []string{"/token 1", "/device ", "/token 2", "/token 2"}; !slices.Equal(proofs, want) {
			t.Errorf("called %q, want %q", proofs, want)
		}
	}
}

// TestBinderFails: without a key nobody is asked.
func TestBinderFails(t *testing.T) {
	r := newEndpointRig(t, func(*http.Request) (*http.Response, error) { t.Error("a call"); return nil, io.EOF })
	locked := errors.New("the keystore is locked")
	r.refresher.Binder = &binder{fail: locked}
	r.config.Prompt = func(context.Context, login.Prompt) error { t.Error("somebody was asked"); return nil }
	for _, begin := range []func(context.Context, *tokenclient.Session, login.Config) error{login.Browser, login.Device} {
		if err := begin(t.Context(), r.session, r.config); !errors.Is(err, locked) {
			t.Error(err)
		}
	}
}
