package xoauth2_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/xoauth2"
)

// visit is the browser: it follows the link and returns what it hands to the
// callback. A program has a server of its own at conf.RedirectURL.
func visit(srv *tokentest.Server, link string) (code, state string, err error) {
	browser := srv.Client()
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := browser.Get(link)
	if err != nil {
		return "", "", err
	}
	resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return "", "", err
	}
	return to.Query().Get("code"), to.Query().Get("state"), nil
}

// A login by authorization code and PKCE with x/oauth2.
func Example_code() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.Approve("alice") // sits at the browser
	ctx, conf := context.Background(), config(srv)

	verifier := oauth2.GenerateVerifier()
	code, state, err := visit(srv, conf.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		log.Fatal(err)
	}
	token, err := conf.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil || state != "state" {
		log.Fatal(state, err)
	}

	session, err := newSession(conf, srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	if err := session.SetToken(ctx, xoauth2.FromToken(token)); err != nil { // the line that hands over
		log.Fatal(err)
	}
	srv.RevokeAccess("alice")
	resp, err := session.Client().Get(srv.URL + "/api/things")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.Status, "refreshes:", srv.Counters().Refreshes)
	// Output: 200 OK refreshes: 1
}

// A login by device code with x/oauth2, which takes a second: x/oauth2 waits that
// long before it asks. A test does it in no time in a bubble.
func Example_device() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	ctx, conf := context.Background(), config(srv)

	device, err := conf.DeviceAuth(ctx)
	if err != nil {
		log.Fatal(err)
	}
	// The program shows device.VerificationURI and device.UserCode.
	srv.Approve("alice")
	token, err := conf.DeviceAccessToken(ctx, device)
	if err != nil {
		log.Fatal(err)
	}

	session, err := newSession(conf, srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	if err := session.SetToken(ctx, xoauth2.FromToken(token)); err != nil { // the line that hands over
		log.Fatal(err)
	}
	resp, err := session.Client().Get(srv.URL + "/api/things")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 200 OK
}

func newRefresher(t *testing.T, srv *tokentest.Server, conf *oauth2.Config) *tokenclient.OAuth2Refresher {
	r, err := xoauth2.Refresher(conf)
	if err != nil {
		t.Error(err)
		return nil
	}
	r.HTTPClient = srv.Client()
	return r
}

// Both logins when the user takes a while, and when the user refuses.
func TestLogins(t *testing.T) {
	for _, user := range []string{"alice", ""} {
		synctest.Test(t, func(t *testing.T) {
			srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
			conf := config(srv)
			ctx := context.WithValue(t.Context(), oauth2.HTTPClient, srv.Client())

			device, err := conf.DeviceAuth(ctx)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error)
			go func() {
				token, err := conf.DeviceAccessToken(ctx, device)
				if err == nil {
					_, err = newRefresher(t, srv, conf).Refresh(ctx, xoauth2.FromToken(token))
				}
				done <- err
			}()
			time.Sleep(30 * time.Second) // it polls
			srv.Approve(user)
			err = <-done
			if re, ok := errors.AsType[*oauth2.RetrieveError](err); user == "" && (!ok || re.ErrorCode != "access_denied") || user != "" && err != nil {
				t.Errorf("%q: device: %v", user, err)
			}

			verifier := oauth2.GenerateVerifier()
			code, _, err := visit(srv, conf.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)))
			if err != nil || (code == "") != (user == "") {
				t.Errorf("%q: code %q, error %v", user, code, err)
			}
			if user == "" {
				return
			}
			token, err := conf.Exchange(ctx, code, oauth2.VerifierOption(verifier))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newRefresher(t, srv, conf).Refresh(ctx, xoauth2.FromToken(token)); err != nil {
				t.Error(err)
			}
			_, err = conf.Exchange(ctx, code, oauth2.VerifierOption(verifier))
			if re, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || re.ErrorCode != "invalid_grant" {
				t.Errorf("the same code again: %v", err)
			}
		})
	}
}
