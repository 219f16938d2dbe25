package tokentest_test

import (
	"context"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func TestDemands(t *testing.T) {
	const claims = `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`
	scope := tokentest.Demand{Scope: "read write"}
	strong := tokentest.Demand{ACRValues: "mfa phr"}
	fresh := tokentest.Demand{MaxAge: time.Minute}
	for name, tc := range map[string]struct {
		demand    tokentest.Demand
		path      string
		asked     string // of the login
		age       time.Duration
		status    int
		challenge string
	}{
		"nothing":                 {tokentest.Demand{}, "/api/a", "", 0, 200, ""},
		"a scope too few":         {scope, "/api/a", "scope=read+writer", 0, 403, `Bearer error="insufficient_scope", scope="read write"`},
		"the scope":               {scope, "/api/a", "scope=write+other+read", 0, 200, ""},
		"another path":            {tokentest.Demand{Path: "/api/pay", Scope: "pay"}, "/api/payments", "", 0, 200, ""},
		"its path":                {tokentest.Demand{Path: "/api/pay", Scope: "pay"}, "/api/pay", "", 0, 403, `Bearer error="insufficient_scope", scope="pay"`},
		"below its path":          {tokentest.Demand{Path: "/api/pay/", Scope: "pay"}, "/api/pay/now", "", 0, 403, `Bearer error="insufficient_scope", scope="pay"`},
		"a weak login":            {strong, "/api/a", "acr_values=pwd+mfa", 0, 401, `Bearer error="insufficient_user_authentication", acr_values="mfa phr"`},
		"a strong one":            {strong, "/api/a", "acr_values=phr", time.Hour, 200, ""},
		"an old one":              {fresh, "/api/a", "", time.Minute + 1, 401, `Bearer error="insufficient_user_authentication", max_age="60"`},
		"one that is fresh":       {fresh, "/api/a", "", time.Minute, 200, ""},
		"never fresh enough":      {tokentest.Demand{MaxAge: -1, ACRValues: "mfa"}, "/api/a", "acr_values=mfa", 0, 401, `Bearer error="insufficient_user_authentication", acr_values="mfa", max_age="0"`},
		"without claims":          {tokentest.Demand{Claims: claims}, "/api/a", "", 0, 401, `Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19"`},
		"with them":               {tokentest.Demand{Claims: claims}, "/api/a", url.Values{"claims": {claims}}.Encode(), 0, 200, ""},
		"a token that is refused": {scope, "/api/a", "", time.Hour, 401, `Bearer error="invalid_token", error_description="the access token expired"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true, Demands: []tokentest.Demand{tc.demand}})
				if name == "a strong one" {
					srv.Set(func(o *tokentest.Options) { o.AccessLifetime = 2 * time.Hour })
				}
				asked, err := url.ParseQuery(tc.asked)
				if err != nil {
					t.Fatal(err)
				}
				bearer := "Bearer " + srv.IssueFor("alice", asked).AccessToken
				time.Sleep(tc.age)
				r := call(t, srv, "POST", tc.path, "body", "Authorization", bearer)
				if got := r.header.Get("WWW-Authenticate"); r.status != tc.status || got != tc.challenge {
					t.Errorf("%d, %s", r.status, got)
				}
				demands, unauthorized := 0, 0
				if tc.challenge != "" && name != "a token that is refused" {
					demands = 1
				}
				if tc.status == 401 {
					unauthorized = 1
				}
				if c := srv.Counters(); c.Demands != demands || c.Unauthorized != unauthorized || c.Requests != 1 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

// TestStepUpPage: what docs/step-up.md says of tests.
func TestStepUpPage(t *testing.T) {
	var config tokenclient.Config
	srv := tokentest.NewServer(t, &tokentest.Options{Demands: []tokentest.Demand{{Path: "/api/payments", ACRValues: "mfa"}}})
	config.StepUp = func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
		return s.SetToken(ctx, srv.IssueFor("alice", d.Params()))
	}
	config.Refresher, config.Origins = srv.JSONRefresher(), []string{srv.URL}
	session, err := tokenclient.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer sessiontest.Close(t, session)
	if err := session.SetToken(t.Context(), srv.Issue("alice")); err != nil {
		t.Fatal(err)
	}
	resp, err := session.Wrap(srv.Client()).Post(srv.URL+"/api/payments?echo=1", "text/plain", strings.NewReader("the body"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if c := srv.Counters(); resp.StatusCode != 200 || string(text) != "the body" || err != nil || c.Demands != 1 {
		t.Errorf("%d %q, error %v; %+v", resp.StatusCode, text, err, c)
	}
}
