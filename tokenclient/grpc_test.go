package tokenclient_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func TestPerRPCCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Origins = []string{"https://rpc.example.com"}
		})
		creds := r.Session.PerRPCCredentials()
		if !creds.RequireTransportSecurity() {
			t.Error("plain connections are allowed")
		}
		if _, err := creds.GetRequestMetadata(t.Context(), "https://rpc.example.com/things.Service"); !errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("before login: %v, want ErrLoginRequired", err)
		}
		token := r.Login(t)
		md, err := creds.GetRequestMetadata(t.Context(), "https://rpc.example.com:443/things.Service")
		if err != nil || len(md) != 1 || md["authorization"] != "Bearer "+token.AccessToken {
			t.Errorf("%d headers, error %v; want authorization alone", len(md), err)
		}
		for _, uri := range []string{"https://evil.example.com/things.Service", "http://rpc.example.com/things.Service", "https://rpc.example.com:8443/x", "%"} {
			if md, err := creds.GetRequestMetadata(t.Context(), uri); err == nil {
				t.Errorf("%s: %d headers and no error", uri, len(md))
			}
		}
		if md, err := creds.GetRequestMetadata(tokenclient.WithoutToken(t.Context()), "https://rpc.example.com/"); err != nil || md != nil {
			t.Errorf("WithoutToken: %d headers, error %v", len(md), err)
		}
	})
}

// TestPerRPCCredentialsLoopback: without TLS the token stays within this machine, and goes
// where Origins says.
func TestPerRPCCredentialsLoopback(t *testing.T) {
	for name, insecure := range map[string]bool{"": false, "InsecureHTTP": true} {
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
			c.Origins = []string{"https://rpc.example.com", "http://localhost:50051", "http://127.0.0.1:1", "http://[::1]:1", "https://localhost:2", "http://localhost"}
			if c.InsecureHTTP = insecure; insecure {
				c.Origins = append(c.Origins, "http://rpc.example.com")
			}
		})
		creds := s.PerRPCCredentials().Loopback()
		if creds.RequireTransportSecurity() {
			t.Errorf("%s: plain connections are refused", name)
		}
		for uri, want := range map[string]string{
			"https://localhost:50051/things.Service": "",
			"https://127.0.0.1:1/things.Service":     "",
			"https://[::1]:1/things.Service":         "",
			"http://localhost:50051/":                "",
			"https://localhost/":                     "", // a Unix socket
			"https://localhost:2/":                   "not in Config.Origins",
			"https://localhost:3/":                   "not in Config.Origins",
			"https://127.0.0.1:50051/":               "not in Config.Origins",
			"https://rpc.example.com/":               "for this machine",
			"http://rpc.example.com/":                "for this machine",
			"https://localhost.example.com:50051/":   "for this machine",
			"https://localhost:50051@evil.example/":  "for this machine",
			"//localhost:50051":                      "",
			"localhost:50051":                        "for this machine",
			"":                                       "for this machine",
			"%":                                      "not a URL",
		} {
			md, err := creds.GetRequestMetadata(t.Context(), uri)
			switch {
			case want == "" && (err != nil || md["authorization"] != "Bearer "+sessiontest.Access(0)):
				t.Errorf("%s %q: %d headers, error %v", name, uri, len(md), err)
			case want != "" && (err == nil || md != nil || !strings.Contains(err.Error(), want)):
				t.Errorf("%s %q: %d headers, error %v", name, uri, len(md), err)
			}
		}
		if md, err := creds.GetRequestMetadata(t.Context()); err == nil || md != nil {
			t.Errorf("%s, to nobody knows where: %d headers, error %v", name, len(md), err)
		}
		if md, err := creds.GetRequestMetadata(t.Context(), "https://localhost:50051/", "https://rpc.example.com/"); err == nil || md != nil {
			t.Errorf("%s, to two places: %d headers, error %v", name, len(md), err)
		}
		if !insecure && !s.PerRPCCredentials().RequireTransportSecurity() {
			t.Error("all credentials of the session allow plain connections now")
		}
	}
}

// TestPerRPCCredentialsInDo: within Do they send the token that Do hands out, though there is
// another one by now: Do has to know which of them was refused.
func TestPerRPCCredentialsInDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Origins = []string{"https://rpc.example.com"}
		})
		first := r.Login(t)
		creds := r.Session.PerRPCCredentials()
		calls := 0
		if err := r.Session.Do(t.Context(), func(ctx context.Context, token *tokenclient.Token) error {
			if calls++; calls == 1 {
				if _, err := r.Session.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				if token.AccessToken != first.AccessToken {
					t.Error("not the login's token")
				}
			}
			md, err := creds.GetRequestMetadata(ctx, "https://rpc.example.com/x")
			if err != nil || md["authorization"] != "Bearer "+token.AccessToken {
				t.Errorf("call %d: another token than Do's, error %v", calls, err)
			}
			if calls == 1 {
				return tokenclient.ErrRejected
			}
			return nil
		}); err != nil || calls != 2 {
			t.Errorf("%d calls, %v", calls, err)
		}
		r.WantRefreshes(t, 1) // the one in between was enough
		err := r.Session.Do(tokenclient.WithoutToken(t.Context()), func(ctx context.Context, token *tokenclient.Token) error {
			if tokenclient.WantsToken(ctx) || token.AccessToken != "" {
				t.Error("a token in spite of WithoutToken")
			}
			return tokenclient.ErrRejected
		})
		if !errors.Is(err, tokenclient.ErrRejected) {
			t.Error(err)
		}
		if tokenclient.KeyFrom(tokenclient.WithKey(t.Context(), "alice")) != "alice" || tokenclient.KeyFrom(t.Context()) != "" || !tokenclient.WantsToken(t.Context()) {
			t.Error("KeyFrom or WantsToken")
		}
	})
}

// TestPerRPCCredentialsAfterDo: who keeps the context of Do, within it for long or beyond it, sends
// neither a token that has expired, nor one after a logout, nor that of somebody else.
func TestPerRPCCredentialsAfterDo(t *testing.T) {
	other := func(t *testing.T, r *sessiontest.Rig) { r.Give(t, r.Server.Issue("bob")) }
	for name, c := range map[string]struct {
		then      func(t *testing.T, r *sessiontest.Rig) // after the token was lent
		within    string                                 // "lent", "new", or "" for is
		after     string
		is        error
		refreshes int
	}{
		"nothing": {func(*testing.T, *sessiontest.Rig) {}, "lent", "lent", nil, 0},
		"refresh": {func(t *testing.T, r *sessiontest.Rig) {
			if _, err := r.Session.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}, "lent", "new", nil, 1},
		"expiry":  {func(*testing.T, *sessiontest.Rig) { time.Sleep(2 * time.Hour) }, "new", "new", nil, 1},
		"logout":  {func(t *testing.T, r *sessiontest.Rig) { r.Logout(t) }, "", "", tokenclient.ErrLoggedOut, 0},
		"another": {other, "", "", tokenclient.ErrReplaced, 0},
		"another after a logout": {func(t *testing.T, r *sessiontest.Rig) {
			r.Logout(t)
			other(t, r)
		}, "", "", tokenclient.ErrLoggedOut, 0},
		"the end": {func(t *testing.T, r *sessiontest.Rig) { sessiontest.Close(t, r.Session) }, "", "", tokenclient.ErrClosed, 0},
	} {
		for _, within := range []bool{true, false} {
			sessiontest.Bubble(t, fmt.Sprintf("%s, within %v", name, within), func(t *testing.T) {
				r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
					c.Origins = []string{"https://rpc.example.com"}
				})
				lent := r.Login(t)
				creds, want := r.Session.PerRPCCredentials(), c.after
				check := func(ctx context.Context) {
					c.then(t, r)
					md, err := creds.GetRequestMetadata(ctx, "https://rpc.example.com/x")
					is := map[bool]string{true: "lent", false: "new"}[md["authorization"] == "Bearer "+lent.AccessToken]
					if want == "" && !errors.Is(err, c.is) || want != "" && (err != nil || is != want) {
						t.Errorf("the %s token and %v, want %q and %v", is, err, want, c.is)
					}
					if nested := r.Session.Do(ctx, func(context.Context, *tokenclient.Token) error { return nil }); !errors.Is(nested, c.is) {
						t.Errorf("Do with that context: %v, want %v", nested, c.is)
					}
				}
				var kept context.Context
				if err := r.Session.Do(t.Context(), func(ctx context.Context, _ *tokenclient.Token) error {
					if kept = ctx; within {
						want = c.within
						check(ctx)
					}
					return nil
				}); err != nil {
					t.Error(err)
				}
				if !within {
					check(kept)
				}
				r.WantRefreshes(t, c.refreshes)
			})
		}
	}
}

// TestPerRPCCredentialsRefusedInDo: a token that took the place of an expired one while Do ran, and
// is refused, is the one that Do refreshes.
func TestPerRPCCredentialsRefusedInDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Origins = []string{"https://rpc.example.com"}
		})
		r.Login(t)
		creds := r.Session.PerRPCCredentials()
		var sent []string
		if err := r.Session.Do(t.Context(), func(ctx context.Context, _ *tokenclient.Token) error {
			if len(sent) == 0 {
				time.Sleep(2 * time.Hour)
			}
			md, err := creds.GetRequestMetadata(ctx, "https://rpc.example.com/x")
			if err != nil {
				return err
			}
			if sent = append(sent, md["authorization"]); len(sent) == 1 {
				return tokenclient.ErrRejected
			}
			return nil
		}); err != nil || len(sent) != 2 || sent[0] == sent[1] {
			t.Errorf("%d calls with the same token, %v", len(sent), err)
		}
		r.WantRefreshes(t, 2)
	})
}
