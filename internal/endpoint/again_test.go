package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// TestAgain: a call whose proof is refused is made again, with a proof and an authentication of
// its own, at most twice; and what a sending that never left the machine says of the token holds
// for all, since the others were refused.
func TestAgain(t *testing.T) {
	for _, tc := range []struct {
		refused int // calls that are
		sent    int
		status  int // of the answer that is handed over
	}{{0, 1, 200}, {1, 2, 200}, {2, 3, 200}, {3, 3, 400}, {100, 3, 400}} {
		var bodies, proofs []string
		srv, calls := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			bodies, proofs = append(bodies, string(body)), append(proofs, r.Header.Get("Proof"))
			w.Header().Set("Nonce", fmt.Sprint(len(bodies)))
			if len(bodies) <= tc.refused {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, "bad proof")
				return
			}
			_, _ = io.WriteString(w, "{}")
		})
		c, authenticated := refresh(srv), 0
		c.Authenticate = func(_ context.Context, _ string, form url.Values, _ http.Header) error {
			authenticated++
			form.Set("client_assertion", fmt.Sprint("planted-", authenticated))
			return nil
		}
		c.Prove = func(req *http.Request) error {
			proof := "first"
			if req.Response != nil {
				proof = req.Response.Header.Get("Nonce")
			}
			req.Header.Set("Proof", proof)
			return nil
		}
		c.Answered = func(req *http.Request, resp *http.Response) bool {
			body, err := io.ReadAll(resp.Body)
			return err == nil && req.Header.Get("Proof") != "" && req.Response == nil && string(body) == "bad proof"
		}
		a := wantAnswer(t, c)
		if a.Status != tc.status || int(calls.Load()) != tc.sent || authenticated != tc.sent || strings.Join(proofs, " ") != strings.Join([]string{"first", "1", "2"}[:tc.sent], " ") {
			t.Errorf("%+v: status %d, %d calls, proofs %q, %d times authenticated", tc, a.Status, calls.Load(), proofs, authenticated)
		}
		for i, body := range bodies {
			if want := fmt.Sprint("client_assertion=planted-", i+1, "&grant_type"); !strings.HasPrefix(body, want) {
				t.Errorf("body %d is %q", i, body)
			}
		}
		checkSecrets(t, a.Failure(nil))
	}
	c := refreshAt("https://auth.example.com/token")
	// A transport need not say which request it answered.
	c.Client = through(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 400, Header: http.Header{"Nonce": {req.Header.Get("Proof") + "+"}}, Body: http.NoBody}, nil
	})
	c.Prove = func(req *http.Request) error {
		proof := "first"
		if req.Response != nil {
			proof = req.Response.Request.Header.Get("Proof") + req.Response.Header.Get("Nonce")
		}
		req.Header.Set("Proof", proof)
		return nil
	}
	c.Answered = func(req *http.Request, resp *http.Response) bool { return resp.Request == req }
	if a := wantAnswer(t, c); a.Header.Get("Nonce") != "firstfirst+firstfirst+++" {
		t.Errorf("%q", a.Header)
	}
	c.Prove = nil
	n := 0
	c.Client = through(func(req *http.Request) (*http.Response, error) {
		if n++; n > 1 {
			return nil, errors.New("no network")
		}
		_, _ = io.ReadAll(req.Body)
		return &http.Response{StatusCode: 400, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
	})
	c.Answered = func(*http.Request, *http.Response) bool { return true }
	if f := wantFailure(t, t.Context(), c); !f.NotPresented {
		t.Errorf("%+v", f)
	}
	c.Prove = func(*http.Request) error { return errors.New("no key, but " + plantedSecret) }
	if f := wantFailure(t, t.Context(), c); !f.NotPresented {
		t.Errorf("%+v", f)
	}
}

// TestAgainIsNoVerdict: an answer that refuses the proof says nothing of the token, however the
// server says so, and also when the call is not made again any more.
func TestAgainIsNoVerdict(t *testing.T) {
	for _, again := range []bool{false, true} {
		for _, body := range []string{"", "unauthorized", `{"error":"invalid_grant"}`} {
			srv, calls := serve(t, answer(http.StatusUnauthorized, "text/plain", body))
			c := refresh(srv)
			c.Answered = func(*http.Request, *http.Response) bool { return again }
			a := wantAnswer(t, c)
			if endpoint.RefusesToken(a) == again || again && (endpoint.RefusesGrant(a) || calls.Load() != 3) {
				t.Errorf("again %v, %q: the token is refused %v, the grant %v; %d calls", again, body, endpoint.RefusesToken(a), endpoint.RefusesGrant(a), calls.Load())
			}
		}
	}
}

// TestAgainNotAfterSuccess: what was sent is spent then, and the answer may have brought the next.
func TestAgainNotAfterSuccess(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusCreated} {
		srv, calls := serve(t, answer(status, "application/json", `{"access_token":"a"}`))
		c := refresh(srv)
		c.Answered = func(*http.Request, *http.Response) bool { return true }
		if a := wantAnswer(t, c); a.Status != status || calls.Load() != 1 {
			t.Errorf("status %d after %d calls", a.Status, calls.Load())
		}
	}
}
