package behaviour_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestHeartbeat: KeepFresh keeps a token alive that has no refresh token, at an
// endpoint that takes the access token itself.
func TestHeartbeat(t *testing.T) {
	for _, tc := range []struct {
		name        string
		heartbeat   time.Duration
		opaque      bool
		least, most int // heartbeats in a day; tokens live 15 minutes
	}{
		{"by expiry", 0, false, 24 * 4, 24 * 6},
		{"heartbeat", time.Minute, false, 24*60 - 1, 24*60 + 1},
		{"heartbeat, no expiry", 10 * time.Minute, true, 24*6 - 1, 24*6 + 1},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			r := newSlidingRig(t, tokentest.Options{Opaque: tc.opaque}, func(c *tokenclient.Config, srv *tokentest.Server) {
				c.Refresher, c.Heartbeat = heartbeat(srv), tc.heartbeat
			})
			stop, ended := r.KeepFresh(t)
			time.Sleep(24 * time.Hour)
			r.WantGet(t, 200)
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if c := r.Server.Counters(); c.Heartbeats < tc.least || c.Heartbeats > tc.most || c.Refreshes+c.Unauthorized != 0 {
				t.Errorf("%+v, want %d to %d heartbeats", c, tc.least, tc.most)
			}
			r.wantStored(t, r.stored(t).Number)
		})
	}
}

// TestHeartbeatClockWasSetBack: at the login the clock was a day ahead, and it was set right
// since. The time of day at which the token is to be refreshed is a day away, and the server
// waits for a quarter of an hour.
func TestHeartbeatClockWasSetBack(t *testing.T) {
	for _, tc := range []struct {
		name        string
		heartbeat   time.Duration
		opaque      bool
		least, most int // heartbeats in 12 hours
	}{
		{"by expiry", 0, false, 12 * 4, 12 * 6},
		{"heartbeat", time.Minute, false, 12*60 - 1, 12*60 + 1},
		{"heartbeat, no expiry", 10 * time.Minute, true, 12*6 - 1, 12*6 + 1},
	} {
		sessiontest.Bubble(t, tc.name, func(t *testing.T) {
			beats := func(c *tokenclient.Config, srv *tokentest.Server) {
				c.Refresher, c.Heartbeat = heartbeat(srv), tc.heartbeat
			}
			for _, other := range []bool{false, true} {
				r := newSlidingRig(t, tokentest.Options{Opaque: tc.opaque}, beats)
				token := r.stored(t).Token
				token.Issued = time.Now().Add(24 * time.Hour)
				if !token.Expiry.IsZero() {
					token.Expiry = token.Expiry.Add(24 * time.Hour)
				}
				r.Give(t, token)
				keeper := r.Rig
				if other { // another process has the token from the store
					keeper = r.Another(t, func(c *tokenclient.Config, srv *tokentest.Server) {
						slides(c, r.store)
						beats(c, srv)
					})
				}
				stop, ended := keeper.KeepFresh(t)
				time.Sleep(12 * time.Hour)
				keeper.WantGet(t, 200)
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				if c := r.Server.Counters(); c.Heartbeats < tc.least || c.Heartbeats > tc.most || c.Unauthorized != 0 {
					t.Errorf("another process %t: %+v, want %d to %d heartbeats", other, c, tc.least, tc.most)
				}
			}
		})
	}
}

// TestHeartbeatSavedByTraffic: where answers renew the token often enough there is
// nothing for KeepFresh to do.
func TestHeartbeatSavedByTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, srv *tokentest.Server) {
			c.Refresher, c.Heartbeat = heartbeat(srv), 2*time.Minute
		})
		stop, ended := r.KeepFresh(t)
		for range 60 {
			time.Sleep(time.Minute)
			r.WantGet(t, 200)
		}
		stop()
		<-ended
		if c := r.Server.Counters(); c.Heartbeats != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// TestHeartbeatLockedOut: once the access token has expired nothing brings the
// session back but a login.
func TestHeartbeatLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSlidingRig(t, tokentest.Options{}, func(c *tokenclient.Config, srv *tokentest.Server) {
			c.Refresher = heartbeat(srv)
		})
		time.Sleep(16 * time.Minute)
		_, err := r.Get(t.Context())
		sessiontest.WantErr(t, "after the slide", err, tokenclient.ErrLoginRequired)
		err = r.Session.KeepFresh(t.Context())
		sessiontest.WantErr(t, "KeepFresh", err, tokenclient.ErrLoginRequired)
	})
}

// TestHeartbeatCut: a connection that breaks after the header was sent, with the
// body unread, may have presented the access token.
func TestHeartbeatCut(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{Header: slidingHeader})
	srv.FailRefresh(-1, tokentest.Fault{Cut: true})
	_, err := heartbeat(srv).Refresh(context.Background(), srv.Issue("alice"))
	if err == nil || errors.Is(err, tokenclient.ErrNotPresented) {
		t.Errorf("error %v", err)
	}
	srv.Close()
	_, err = heartbeat(srv).Refresh(context.Background(), srv.Issue("alice"))
	sessiontest.WantErr(t, "no connection", err, tokenclient.ErrNotPresented)
}
