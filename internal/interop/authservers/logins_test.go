package authservers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

// loginConfig has the server found by its issuer.
func (r *rig) loginConfig(prompt func(context.Context, login.Prompt) error) login.Config {
	return login.Config{
		Refresher: &discovery.Refresher{Issuer: r.md.Issuer, Make: func(md *discovery.Metadata) tokenclient.Refresher {
			return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint, ClientAuth: r.clientAuth(authNone)}
		}},
		Scope:  strings.Join(scopes, " "),
		Prompt: prompt,
	}
}

// wantWorking fails unless the session works, also after its token has expired.
func (r *rig) wantWorking(t *testing.T, session *tokenclient.Session) {
	t.Helper()
	refreshes, _ := r.counts()
	failures := int(r.failures.Load()) // who waits for a device's code is refused until it is approved
	client := session.Client()
	for range 3 {
		if err := r.get(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		r.change(r.expire)
	}
	r.want(t, refreshes+2, 0, failures)
}

// TestLoginByBrowser: the server leads the browser back to this process.
func TestLoginByBrowser(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		c := r.loginConfig(func(_ context.Context, p login.Prompt) error {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL, nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("the last page has status %d", resp.StatusCode)
			}
			return nil
		})
		session := r.newSession(t, c.Refresher)
		if err := login.Browser(t.Context(), session, c); err != nil {
			t.Fatal(err)
		}
		r.wantWorking(t, session)
	})
}

// TestLoginByCode: the user types the code of a device, if the server has that.
func TestLoginByCode(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		c := r.loginConfig(func(_ context.Context, p login.Prompt) error {
			if !r.approve(p.UserCode) {
				return errors.New("the server does not know the code")
			}
			return nil
		})
		session := r.newSession(t, c.Refresher)
		err := login.Device(t.Context(), session, c)
		if r.md.DeviceAuthorizationEndpoint == "" {
			if err == nil {
				t.Error("a login at an endpoint that is not there")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		r.wantWorking(t, session)
	})
}
