package sessiontest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// recorder is a test that fails without consequences.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.failed += fmt.Sprintf(format, args...) + "\n"
}

func (r *recorder) Fatalf(format string, args ...any) { r.Errorf(format, args...) }

// wantFailure checks that check fails its test, and says text. "": it does not fail.
func wantFailure(t *testing.T, name, text string, check func(testing.TB)) {
	t.Helper()
	r := &recorder{TB: t}
	check(r)
	if (r.failed != "") != (text != "") || !strings.Contains(r.failed, text) {
		t.Errorf("%s: failed with %q, want %q", name, r.failed, text)
	}
}

// TestRequest: a Request notices what a RoundTripper may not do to it.
func TestRequest(t *testing.T) {
	for _, tc := range []struct {
		name, kind        string
		do                func(*http.Request)
		unchanged, closed string
	}{
		{name: "nothing", kind: "no body", do: func(*http.Request) {}},
		{name: "closes", kind: "stream", do: func(r *http.Request) { r.Body.Close() }},
		{name: "closes what it had again", kind: "GetBody", do: func(r *http.Request) {
			again, _ := r.GetBody()
			again.Close()
			r.Body.Close()
		}},
		{name: "adds to the header", kind: "NoBody", do: func(r *http.Request) { r.Header.Add("X-Twice", "three") }, unchanged: "Header is"},
		{name: "another header", kind: "no body", do: func(r *http.Request) { r.Header = r.Header.Clone() }, unchanged: "Request.Header changed"},
		{name: "another URL", kind: "no body", do: func(r *http.Request) { u := *r.URL; r.URL = &u }, unchanged: "Request.URL changed"},
		{name: "another body", kind: "no body", do: func(r *http.Request) { r.Body = http.NoBody }, unchanged: "Request.Body changed"},
		{name: "another context", kind: "no body", do: func(r *http.Request) {
			*r = *r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, 1))
		}, unchanged: "Request.ctx changed"},
		{name: "does not close", kind: "stream", do: func(*http.Request) {}, closed: "closed 0 times"},
		{name: "closes twice", kind: "stream", do: func(r *http.Request) { r.Body.Close(); r.Body.Close() }, closed: "closed 2 times"},
		{name: "does not close what it had again", kind: "GetBody", do: func(r *http.Request) {
			_, _ = r.GetBody()
			r.Body.Close()
		}, closed: "body 1 of GetBody was not closed"},
	} {
		req := sessiontest.NewRequest(t, t.Context(), sessiontest.URL, tc.kind, nil)
		tc.do(req.Request)
		wantFailure(t, tc.name, tc.unchanged, req.WantUnchanged)
		wantFailure(t, tc.name, tc.closed, req.WantClosed)
	}
}

// TestBase: answers come in turn, and the last one again and again.
func TestBase(t *testing.T) {
	base := sessiontest.NewBase(401, 200)
	for i, want := range []int{401, 200, 200} {
		req := sessiontest.NewRequest(t, t.Context(), sessiontest.URL, "stream", http.Header{"Authorization": {"mine"}})
		resp, err := base.RoundTrip(req.Request)
		if err != nil || resp.StatusCode != want || base.Bodies[i].Closed.Load() != 0 {
			t.Errorf("answer %d: %v, error %v", i, resp, err)
		}
		req.WantClosed(t)
		if s := base.Sent[i]; s.Body != sessiontest.Payload || len(s.Auth) != 1 || s.Auth[0] != "mine" {
			t.Errorf("sent %+v", s)
		}
		_ = resp.Body.Close()
	}
	base.Answers = []sessiontest.Answer{{Err: io.EOF}}
	req := sessiontest.NewRequest(t, t.Context(), sessiontest.URL, "no body", nil)
	if resp, err := base.RoundTrip(req.Request); err != io.EOF {
		t.Errorf("%v, error %v", resp, err)
	}
}

// TestRig: sessions of one rig share its server, and the checks see what it counts.
func TestRig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := sessiontest.Kept(new(store.Memory))
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, kept)
		wantFailure(t, "before the login", "error ", func(t testing.TB) { r.WantGet(t, 200) })
		token := r.Login(t)
		other := r.Another(t, kept)
		other.WantGets(t, 3, 200)
		if other.Access(t) != token.AccessToken {
			t.Error("another session has another token")
		}
		r.Server.RevokeAccess("alice")
		wantFailure(t, "no refresh yet", "0 refreshes, want 1", func(t testing.TB) { r.WantRefreshes(t, 1) })
		wantFailure(t, "another status", "status 200, error <nil>; want status 401", func(t testing.TB) { r.WantGets(t, 1, 401) })
		r.WantRefreshes(t, 1)
		if who, err := sessiontest.Subject(t.Context(), r.Client, r.Server.URL); err != nil || who != "alice" {
			t.Errorf("the token is %q's, error %v", who, err)
		}
		stop, ended := r.KeepFresh(t)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		r.Logout(t)
	})
}

// TestSteps: a refresh stops at each of its barriers in turn.
func TestSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := &sessiontest.StepStore{Store: new(store.Memory)}
		var refresher *sessiontest.StepRefresher
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
			refresher = &sessiontest.StepRefresher{OAuth2Refresher: srv.OAuth2Refresher()}
			c.Store, c.Key, c.Refresher = steps, "alice", refresher
		})
		r.Login(t)
		barriers := []**sessiontest.Barrier{&steps.BeforeFn, &refresher.Before, &refresher.After, &steps.AfterFn, &steps.Written}
		for _, b := range barriers {
			*b = sessiontest.NewBarrier()
		}
		done := make(chan error, 1)
		go func() {
			_, err := r.Session.Refresh(t.Context())
			done <- err
		}()
		for i, b := range barriers {
			<-(*b).Reached
			synctest.Wait()
			if issued := len(refresher.Issued()); (issued == 1) != (i >= 2) {
				t.Errorf("%d tokens issued at barrier %d", issued, i)
			}
			(*b).Lift()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantFailure(t, "not revoked", "is alive at the server", refresher.WantRevoked)
		r.Logout(t)
		refresher.WantRevoked(t)

		steps.Broken.Store(true)
		_, load := steps.Load(t.Context(), "alice")
		_, _, replace := steps.Replace(t.Context(), "alice", nil)
		_, refresh := steps.Refresh(t.Context(), "alice", tokenclient.Record{}, 0, nil)
		_, save := steps.Save(t.Context(), "alice", tokenclient.Record{}, nil)
		for _, err := range []error{load, replace, refresh, save} {
			sessiontest.WantErr(t, "a broken store", err, tokenclient.ErrStoreUnavailable)
		}
	})
}

// TestWants: errors are what they are wanted to be.
func TestWants(t *testing.T) {
	wantFailure(t, "another error", "error EOF, want one that is", func(t testing.TB) {
		sessiontest.WantErr(t, "x", io.EOF, io.EOF, context.Canceled)
	})
	for text, err := range map[string]error{
		"":           &tokenclient.TokenError{StatusCode: 503},
		"error EOF":  io.EOF,
		"status 400": &tokenclient.TokenError{StatusCode: 400, Err: errors.New("no")},
	} {
		wantFailure(t, text, text, func(t testing.TB) { sessiontest.WantTransient(t, "x", err) })
	}
}

// TestPoolStore: keys that nobody has written have the token that Known says, until they
// are written.
func TestPoolStore(t *testing.T) {
	s := &sessiontest.PoolStore{Known: sessiontest.Everybody}
	p := sessiontest.NewPool(t, tokenclient.PoolConfig{Store: s}, func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
		return sessiontest.Pair("next", "r", time.Hour), nil
	})
	session, err := p.Session(t.Context(), sessiontest.PoolUser(7))
	if err != nil {
		t.Fatal(err)
	}
	if token, err := session.Token(t.Context()); err != nil || token.AccessToken != "access-user-0000007" {
		t.Errorf("token %v, error %v", token, err)
	}
	if _, err := session.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := s.Load(t.Context(), sessiontest.PoolUser(7))
	if err != nil || r.Token.AccessToken != "next" || r.Number != 2 || s.Loads.Load() == 0 {
		t.Errorf("%+v, error %v, %d loads", r, err, s.Loads.Load())
	}
	if err := sessiontest.Ask(t.Context(), p.Wrap(&http.Client{Transport: sessiontest.AlwaysOK}), sessiontest.PoolUser(7)); err != nil {
		t.Error(err)
	}
}
