package tokenclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// jsonBody starts an endpoint that notes the last body, with sorted names.
func jsonBody(t *testing.T, h http.HandlerFunc) (r *tokenclient.JSONRefresher, body *string) {
	body = new(string)
	srv, _ := tokenEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if ct := r.Header.Get("Content-Type"); ct != "application/json" || r.Method != "POST" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s with header %v", r.Method, r.Header)
		}
		raw, _ := io.ReadAll(r.Body)
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Errorf("body %q: %v", raw, err)
		}
		sorted, _ := json.Marshal(v)
		*body = string(sorted)
		h(w, r)
	})
	return &tokenclient.JSONRefresher{TokenURL: srv.URL + "/token/refresh", HTTPClient: srv.Client()}, body
}

func TestJSONRefresh(t *testing.T) {
	pair := &tokenclient.Token{AccessToken: "a", RefreshToken: "r"}
	for _, c := range []struct {
		name    string
		old     *tokenclient.Token
		request tokenclient.RequestFields
		want    string
	}{
		{"plain", pair, tokenclient.RequestFields{}, `{"refresh_token":"r"}`},
		{"with access token", pair, tokenclient.RequestFields{AccessToken: "access_token"}, `{"access_token":"a","refresh_token":"r"}`},
		{"names", pair, tokenclient.RequestFields{AccessToken: "token", RefreshToken: "refreshToken"}, `{"refreshToken":"r","token":"a"}`},
		{"nested", pair, tokenclient.RequestFields{AccessToken: "data.old.access", RefreshToken: "data.refresh"}, `{"data":{"old":{"access":"a"},"refresh":"r"}}`},
		{"access token alone", &tokenclient.Token{AccessToken: "a"}, tokenclient.RequestFields{AccessToken: "access_token"}, `{"access_token":"a"}`},
		{"refresh token alone", &tokenclient.Token{RefreshToken: "r"}, tokenclient.RequestFields{AccessToken: "access_token"}, `{"refresh_token":"r"}`},
		{"characters", &tokenclient.Token{RefreshToken: `"\<&`}, tokenclient.RequestFields{}, `{"refresh_token":"\"\\\u003c\u0026"}`},
	} {
		r, body := jsonBody(t, answer(200, "application/json", `{"data":{"accessToken":"new","refreshToken":"next"}}`))
		r.Request = c.request
		r.Response = tokenclient.JSONFields{AccessToken: "data.accessToken", RefreshToken: "data.refreshToken"}
		tok, err := r.Refresh(t.Context(), c.old)
		if err != nil || tok.AccessToken != "new" || tok.RefreshToken != "next" || *body != c.want {
			t.Errorf("%s: sent %s, want %s; %v, %v", c.name, *body, c.want, tok, err)
		}
	}
}

func TestJSONRefreshSentNothing(t *testing.T) {
	for name, c := range map[string]struct {
		r        tokenclient.JSONRefresher
		old      *tokenclient.Token
		terminal bool
		says     string
	}{
		"no refresh token": {tokenclient.JSONRefresher{}, &tokenclient.Token{AccessToken: plantedAccess}, true, "no refresh token"},
		"no token":         {tokenclient.JSONRefresher{Request: tokenclient.RequestFields{AccessToken: "access_token"}}, &tokenclient.Token{}, true, "no refresh token"},
		"nil":              {tokenclient.JSONRefresher{Request: tokenclient.RequestFields{AccessToken: "access_token"}}, nil, true, "no refresh token"},
		"same name":        {tokenclient.JSONRefresher{Request: tokenclient.RequestFields{AccessToken: "x", RefreshToken: "x"}}, plantedToken, false, `clash at "x"`},
		"object and value": {tokenclient.JSONRefresher{Request: tokenclient.RequestFields{AccessToken: "x.y", RefreshToken: "x"}}, plantedToken, false, `clash at "x"`},
		"value and object": {tokenclient.JSONRefresher{Request: tokenclient.RequestFields{AccessToken: "x", RefreshToken: "x.y"}}, plantedToken, false, `clash at "x"`},
		"no URL":           {tokenclient.JSONRefresher{}, plantedToken, false, "JSONRefresher.TokenURL is empty"},
	} {
		srv, calls := tokenEndpoint(t, answer(200, "application/json", `{"access_token":"new"}`))
		if name != "no URL" {
			c.r.TokenURL = srv.URL
		}
		_, err := c.r.Refresh(t.Context(), c.old)
		tokenError(t, err)
		if !errors.Is(err, tokenclient.ErrNotPresented) || errors.Is(err, tokenclient.ErrLoginRequired) != c.terminal || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if calls.Load() != 0 {
			t.Errorf("%s: the server was asked", name)
		}
	}
}

// TestJSONTerminal: the function decides alone, and is asked about every answer
// that has no token.
func TestJSONTerminal(t *testing.T) {
	type call struct {
		status int
		body   string
	}
	for _, c := range []struct {
		status int
		body   string
		asked  bool
	}{
		{401, `{"error":"invalid_grant"}`, true},
		{418, `teapot`, true},
		{503, `down`, true},
		{200, `{"code":1001,"msg":"log in again"}`, true},
		{200, `{"access_token":"a"}`, false},
		{307, ``, false},
	} {
		for _, verdict := range []bool{true, false} {
			var calls []call
			srv, _ := tokenEndpoint(t, answer(c.status, "application/json", c.body))
			r := &tokenclient.JSONRefresher{TokenURL: srv.URL, HTTPClient: srv.Client(), Terminal: func(a tokenclient.Answer) bool {
				calls = append(calls, call{a.StatusCode, string(a.Body)})
				return verdict
			}}
			_, err := r.Refresh(t.Context(), plantedToken)
			if (len(calls) == 1 && calls[0] == call{c.status, c.body}) != c.asked || len(calls) > 1 {
				t.Errorf("%d: asked %v", c.status, calls)
			}
			if got := errors.Is(err, tokenclient.ErrLoginRequired); got != (verdict && c.asked) {
				t.Errorf("%d: verdict %v gave %v", c.status, verdict, err)
			}
		}
	}
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
		"twice":               {sessiontest.Pair("A", "", 0), func(r *tokenclient.JSONRefresher) { r.Request.AccessToken = "access_token" }, `{"access_token":"A"}`, "A"},
		"refresh token alone": {sessiontest.Pair("", "R", 0), nil, `{"refresh_token":"R"}`, ""},
		"timestamp":           {sessiontest.Pair("A", "", 0), func(r *tokenclient.JSONRefresher) { r.Attacher = stamped{r.Attacher} }, `{}`, "A"},
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
		if (name == "timestamp") != (header.Get("X-Timestamp") != "") || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", name, header)
		}
	}
}
