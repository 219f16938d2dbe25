package behaviour_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// renewingServer answers with a new token to what is sent with one that has expired less
// than grace ago, and refuses older ones. Its token endpoint is a heartbeat: it
// refuses each token that has expired, if it is given no refresh token.
type renewingServer struct {
	grace time.Duration

	requests, renewals, presented atomic.Int32
}

const renewedLifetime = 10 * time.Minute

// issue makes a token whose text says when it expires.
func (s *renewingServer) issue(refresh string) *tokenclient.Token {
	t := sessiontest.Pair("", refresh, renewedLifetime)
	t.AccessToken = fmt.Sprint("expires-", t.Expiry.UnixNano())
	return t
}

// age is how long ago the token expired.
func (s *renewingServer) age(token string) time.Duration {
	var at int64
	if _, err := fmt.Sscanf(token, "expires-%d", &at); err != nil {
		return time.Hour
	}
	return time.Since(time.Unix(0, at))
}

func (s *renewingServer) RoundTrip(req *http.Request) (*http.Response, error) {
	s.requests.Add(1)
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	if s.age(token) >= s.grace {
		return sessiontest.Reply(req, 401), nil
	}
	resp := sessiontest.Reply(req, 200)
	resp.Header.Set(slidingHeader, s.issue("").AccessToken)
	s.renewals.Add(1)
	return resp, nil
}

// heartbeat is a Refresher that presents the access token.
func (s *renewingServer) heartbeat(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	s.presented.Add(1)
	if old.RefreshToken == "" && s.age(old.AccessToken) >= 0 {
		return nil, &tokenclient.TokenError{StatusCode: 401, Err: tokenclient.ErrLoginRequired}
	}
	return s.issue(old.RefreshToken), nil
}

// granting is a Refresher that needs nothing to present.
type granting struct{ *renewingServer }

func (g granting) Refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	g.presented.Add(1)
	return g.issue(""), nil
}

func (g granting) CanRefresh(*tokenclient.Token) bool { return true }

// Renewed and a Refresher: a token that has just expired goes to the one that can succeed.
func TestRenewedOrRefresher(t *testing.T) {
	const inGrace = renewedLifetime + time.Minute
	for _, tc := range []struct {
		name      string
		refresh   string // the refresh token of the login
		grants    bool   // the Refresher needs nothing to present
		keepFresh time.Duration
		after     time.Duration // the request comes
		status    int           // 0: a login is required
		presented int32         // by then
		refused   bool          // the API was asked first, and refused
	}{
		{name: "just expired", after: inGrace, status: 200},
		{name: "about to expire", after: renewedLifetime - time.Millisecond, status: 200},
		{name: "expired when KeepFresh begins", keepFresh: renewedLifetime, after: inGrace, status: 200},
		{name: "kept fresh", keepFresh: time.Nanosecond, after: inGrace, status: 200, presented: 1},
		{name: "expired for too long", after: 2 * renewedLifetime, presented: 1, refused: true},
		{name: "expired for too long when KeepFresh begins", keepFresh: 2 * renewedLifetime, after: 3 * renewedLifetime, presented: 1, refused: true},
		{name: "with a refresh token", refresh: "r", after: inGrace, status: 200, presented: 1},
		{name: "with a grant", grants: true, after: inGrace, status: 200, presented: 1},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			srv := &renewingServer{grace: 2 * time.Minute}
			var ended atomic.Int32
			r := sessiontest.NewFake(t, srv.heartbeat, srv.RoundTrip, func(c *tokenclient.Config) {
				c.Renewed = tokenclient.RenewedHeader(slidingHeader)
				c.Hooks = &tokenclient.Hooks{SessionEnded: func(error) { ended.Add(1) }}
				if tc.grants {
					c.Refresher = granting{srv}
				}
			})
			r.Give(t, srv.issue(tc.refresh))
			began := time.Now()
			if tc.keepFresh > 0 {
				time.Sleep(tc.keepFresh)
				stop, result := r.KeepFresh(t)
				defer func() { stop(); <-result }()
			}
			time.Sleep(tc.after - time.Since(began))
			status, err := r.Get(t.Context())
			if tc.status == 0 {
				sessiontest.WantErr(t, "GET", err, tokenclient.ErrLoginRequired)
			} else if err != nil || status != tc.status {
				t.Errorf("status %d, error %v", status, err)
			}
			if n := srv.presented.Load(); n != tc.presented {
				t.Errorf("presented to the Refresher %d times, want %d", n, tc.presented)
			}
			if n := srv.requests.Load(); n != 1 || tc.refused != (srv.renewals.Load() == 0) {
				t.Errorf("%d requests, %d renewals", n, srv.renewals.Load())
			}
			time.Sleep(time.Second) // for the hooks
			if got, want := ended.Load() == 1, tc.status == 0; got != want {
				t.Errorf("session ended: %v, want %v", got, want)
			}
		})
	}
}
