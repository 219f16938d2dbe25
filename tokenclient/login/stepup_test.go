package login_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestStepUp: the StepUp of docs/step-up.md, with a login in a browser, against a server that
// gives a login what its authorization request asks for. One login serves all who wait, and
// each request is sent again with its body.
func TestStepUp(t *testing.T) {
	for name, demand := range map[string]tokentest.Demand{
		"scope":                   {Scope: "files.write"},
		"a stronger login":        {ACRValues: "mfa phr"},
		"a stronger, fresher one": {ACRValues: "mfa", MaxAge: time.Hour},
		"claims":                  {Claims: `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`},
		"below a path":            {Path: "/api/files", Scope: "files.write"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := tokentest.NewServer(t, &tokentest.Options{Demands: []tokentest.Demand{demand}})
			srv.Approve("alice")
			refresher := &discovery.Refresher{Issuer: srv.URL, Make: func(md *discovery.Metadata) tokenclient.Refresher {
				return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, ClientAuth: tokenclient.PublicClient("my-app")}
			}}
			var logins atomic.Int32
			config := tokenclient.Config{Refresher: refresher, Origins: []string{srv.URL}}
			stepUp(&config, refresher)
			page := config.StepUp
			config.StepUp = func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
				logins.Add(1)
				return page(ctx, s, d)
			}
			session, err := tokenclient.New(config)
			if err != nil {
				t.Fatal(err)
			}
			defer sessiontest.Close(t, session)
			if err := session.SetToken(t.Context(), srv.Issue("alice")); err != nil {
				t.Fatal(err)
			}
			client := session.Client()
			noDisplay(t)
			stderr, opened := captureStderr(t), make(chan error, 1)
			go func() {
				_, err := fetch(stderr.address())
				opened <- err
			}()
			sessiontest.Crowd(20, func() {
				resp, err := client.Post(srv.URL+"/api/files/1?echo=1", "text/plain", strings.NewReader("the body"))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if text, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || string(text) != "the body" || err != nil {
					t.Errorf("%d %q %v", resp.StatusCode, text, err)
				}
			})
			if err := <-opened; err != nil {
				t.Error(err)
			}
			c := srv.Counters()
			if logins.Load() != 1 || c.Logins != 1 || c.Refreshes != 0 || c.Reuses != 0 || c.Demands < 1 || c.Requests != 20+c.Demands {
				t.Errorf("%d logins; %+v", logins.Load(), c)
			}
		})
	}
}
