package tokenclient_test

import (
	"errors"
	"testing"
	"testing/synctest"

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
