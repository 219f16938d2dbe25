package tokenclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
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
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
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

// TestJSONRefresherAttacher: the access token goes on the header, beside or in the
// place of the refresh token.
func TestJSONRefresherAttacher(t *testing.T) {
	for name, tc := range map[string]struct {
		old    *tokenclient.Token
		change func(*tokenclient.JSONRefresher)
		body   string
		header string
	}{
		"both":                {sessiontest.Pair("A", "R", 0), nil, `{"refresh_token":"R"}`, "A"},
		"access token alone":  {sessiontest.Pair("A", "", 0), nil, `{}`, "A"},
		"twice":               {sessiontest.Pair("A", "", 0), func(r *tokenclient.JSONRefresher) { r.SendAccessToken = true }, `{"access_token":"A"}`, "A"},
		"refresh token alone": {sessiontest.Pair("", "R", 0), nil, `{"refresh_token":"R"}`, ""},
		"timestamp": {sessiontest.Pair("A", "", 0), func(r *tokenclient.JSONRefresher) {
			r.Attacher = tokenclient.TimestampAttacher{Next: r.Attacher, Header: "X-Time"}
		}, `{}`, "A"},
	} {
		var header http.Header
		r, body := jsonBody(t, func(w http.ResponseWriter, req *http.Request) {
			header = req.Header
			fmt.Fprint(w, `{"access_token":"B"}`)
		})
		r.Attacher = tokenclient.HeaderAttacher("X-Auth-Token")
		if tc.change != nil {
			tc.change(r)
		}
		got, err := r.Refresh(t.Context(), tc.old)
		if err != nil || got.AccessToken != "B" {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if *body != tc.body || header.Get("X-Auth-Token") != tc.header {
			t.Errorf("%s: sent %s and %q", name, *body, header.Get("X-Auth-Token"))
		}
		if (name == "timestamp") != (header.Get("X-Time") != "") || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", name, header)
		}
	}
}

// TestJSONRefresherAttacherErrors: no error shows the access token, and all say
// whether it may have been sent.
func TestJSONRefresherAttacherErrors(t *testing.T) {
	watch := newSecretWatch(t)
	old := &tokenclient.Token{AccessToken: secretAccess}
	new := func(base sessiontest.RoundTrip, a tokenclient.Attacher) *tokenclient.JSONRefresher {
		return &tokenclient.JSONRefresher{URL: sessiontest.FakeAPI + "/heartbeat", Attacher: a, HTTPClient: &http.Client{Transport: base}}
	}
	header := tokenclient.HeaderAttacher("X-Auth-Token")
	never := func(*http.Request) (*http.Response, error) { t.Error("sent"); return nil, io.EOF }
	for name, tc := range map[string]struct {
		r       *tokenclient.JSONRefresher
		old     *tokenclient.Token
		notSent bool
	}{
		"nothing to send": {new(never, header), &tokenclient.Token{}, true},
		"no token":        {new(never, header), nil, true},
		"no header":       {new(never, tokenclient.HeaderAttacher("")), old, true},
		"nil pointer":     {new(never, (*pointerAttacher)(nil)), old, true},
		"attacher fails":  {new(never, leakyAttacher{}), old, true},
		"transport fails": {new(func(req *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("cannot send %v", req.Header)
		}, header), old, true},
		"connection breaks": {new(func(req *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{})
			return nil, io.ErrUnexpectedEOF // the header is out, the body was not read
		}, header), old, false},
		"server echoes": {new(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			resp := sessiontest.Reply(req, 400)
			resp.Body = io.NopCloser(io.MultiReader(
				&oneRead{`{"error":"x","error_description":"bad token ` + req.Header.Get("X-Auth-Token") + `"}`}))
			return resp, nil
		}, header), old, false},
	} {
		_, err := tc.r.Refresh(t.Context(), tc.old)
		var te *tokenclient.TokenError
		if !errors.As(err, &te) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := errors.Is(err, tokenclient.ErrNotPresented); got != tc.notSent {
			t.Errorf("%s: ErrNotPresented is %t: %v", name, got, err)
		}
		watch.value(name, err)
		watch.value(name+", the refresher", tc.r)
	}
}

// oneRead is a body of one piece.
type oneRead struct{ text string }

func (r *oneRead) Read(p []byte) (int, error) {
	n := copy(p, r.text)
	r.text = r.text[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// leakyAttacher puts the token into its error.
type leakyAttacher struct{}

func (leakyAttacher) HeaderName() string { return "X-A" }
func (leakyAttacher) Attach(_ *http.Request, t *tokenclient.Token) error {
	return errors.New("cannot attach " + t.AccessToken)
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
