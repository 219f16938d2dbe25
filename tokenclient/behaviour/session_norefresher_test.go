package behaviour_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestNoRefresher401: the server judges, and its 401 is final and comes untouched.
func TestNoRefresher401(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlidingRig(t, tokentest.Options{}, nil)
		login := r.Access(t)
		time.Sleep(time.Hour) // expired; it is sent all the same
		for range 3 {
			resp, err := r.Client.Post(r.Server.URL+"/api/", "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 401 || err != nil || !strings.Contains(string(body), "expired") {
				t.Errorf("status %d, error %v, body %s", resp.StatusCode, err, body)
			}
		}
		if c := r.Server.Counters(); c.Requests != 3 || c.Replays+c.Refreshes+c.Heartbeats != 0 {
			t.Errorf("%+v", c)
		}
		if got, err := r.Session.Token(t.Context()); err != nil || got.AccessToken != login {
			t.Errorf("Token: %v, %v; want it as it is", got, err)
		}
		// The program logs in again.
		r.Give(t, r.Server.Issue("alice"))
		r.WantGet(t, 200)
	})
}

// TestNoRefresherReplay: a request whose token was refused is sent again if an
// answer to another has brought a newer one meanwhile.
func TestNoRefresherReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := newAnswersRig(t, nil)
		late, first := r.send("/late"), r.send("/first")
		a.answer("/first", "T1")
		<-first
		a.answer("/late", "401")
		if got := a.sentWith("/late"); got != "T1" {
			t.Fatalf("sent with %s", got)
		}
		a.answer("/late", "401") // and that is final
		if status := <-late; status != 401 {
			t.Errorf("status %d", status)
		}
	})
}

// TestNoRefresherMisuse: what only a Refresher can do is a clear error at once.
func TestNoRefresherMisuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Heartbeat = time.Second
		})
		ctx := context.Background()
		held, err := r.Session.Token(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, refresh := r.Session.Refresh(ctx)
		_, rejected := r.Session.RefreshRejected(ctx, held)
		for what, err := range map[string]error{
			"Refresh": refresh, "RefreshRejected": rejected, "KeepFresh": r.Session.KeepFresh(ctx),
		} {
			if err == nil || !strings.Contains(err.Error(), "Config.Refresher") {
				t.Errorf("%s: %v", what, err)
			}
			if got := errors.Is(err, tokenclient.ErrLoginRequired); got != (what == "RefreshRejected") {
				t.Errorf("%s: ErrLoginRequired is %t", what, got)
			}
		}
		r.WantGet(t, 200) // and the session goes on
		if got, err := r.Session.RefreshRejected(ctx, held); err != nil || got.AccessToken != r.Access(t) {
			t.Errorf("RefreshRejected of an old token: %v, %v", got, err)
		}
		if err := r.Session.Logout(ctx); err != nil {
			t.Error(err)
		}
		_, err = r.Session.RefreshRejected(ctx, held)
		sessiontest.WantErr(t, "RefreshRejected after Logout", err, tokenclient.ErrLoginRequired)
	})
}

// TestNoRefresherLooks: with tokens that do not say when they expire only a 401
// tells; the next request has what another process stored.
func TestNoRefresherLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSlidingRig(t, tokentest.Options{Opaque: true}, nil)
		b := a.twin(t)
		b.Access(t)
		for range 3 {
			time.Sleep(10 * time.Minute)
			a.WantGet(t, 200)
		}
		b.WantGet(t, 401)
		synctest.Wait()
		b.WantGet(t, 200)

		// RefreshRejected waits for the look.
		held, err := b.Session.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		a.WantGet(t, 200) // looks at nothing: its token is not known to expire
		synctest.Wait()
		if got, err := b.Session.RefreshRejected(t.Context(), held); err != nil || got.AccessToken == held.AccessToken {
			t.Errorf("RefreshRejected: %v, %v", got, err)
		}
	})
}

// TestNoRefresherSecondCall: when RefreshRejected has found another token in the store, Do with that
// context makes the second call, and no third one, whatever comes meanwhile.
func TestNoRefresherSecondCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSlidingRig(t, tokentest.Options{Opaque: true}, nil)
		b := a.twin(t)
		renewed := func(ctx context.Context, old *tokenclient.Token) {
			t.Helper()
			time.Sleep(10 * time.Minute)
			a.WantGet(t, 200)
			synctest.Wait()
			if got, err := b.Session.RefreshRejected(ctx, old); err != nil || got.AccessToken == old.AccessToken {
				t.Errorf("RefreshRejected: %v, %v", got, err)
			}
		}
		var kept context.Context
		if err := b.Session.Do(t.Context(), func(ctx context.Context, token *tokenclient.Token) error {
			kept = ctx
			renewed(ctx, token)
			return nil
		}); err != nil {
			t.Error(err)
		}
		calls := 0
		err := b.Session.Do(kept, func(_ context.Context, token *tokenclient.Token) error {
			calls++
			renewed(t.Context(), token)
			return tokenclient.ErrRejected
		})
		if err != tokenclient.ErrRejected || calls != 1 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}

// TestNoRefresherStoreDown: a store that cannot be read does not keep a token from
// being sent, expired or not.
func TestNoRefresherStoreDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down *sessiontest.StepStore
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, _ *tokentest.Server) {
			down = &sessiontest.StepStore{Store: c.Store}
			c.Store = down
		})
		time.Sleep(15*time.Minute - time.Second) // as good as expired
		down.Broken.Store(true)
		r.WantGet(t, 200)
		down.Broken.Store(false)
		time.Sleep(time.Minute)
	})
}

func TestNoRefresherConfig(t *testing.T) {
	c := tokenclient.Config{Origins: []string{"https://api.example.com"}}
	_, err := tokenclient.New(c)
	if err == nil || !strings.Contains(err.Error(), "Config.Refresher") || !strings.Contains(err.Error(), "Config.Renewed") {
		t.Errorf("neither Refresher nor Renewed: %v", err)
	}
	c.Renewed = func(*http.Response) (*tokenclient.Token, bool) { return nil, false }
	if _, err := tokenclient.New(c); err != nil {
		t.Error(err)
	}
	c.Refresher = (*tokenclient.JSONRefresher)(nil)
	if _, err := tokenclient.New(c); err == nil || !strings.Contains(err.Error(), "nil pointer") {
		t.Errorf("a nil pointer: %v", err)
	}
}
