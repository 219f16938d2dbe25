package behaviour_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// extraSession is a session whose n-th refresh is answered with the n-th of answers.
func extraSession(t *testing.T, s tokenclient.Store, once []string, answers ...string) *tokenclient.Session {
	t.Helper()
	n := 0
	return sessiontest.Open(t, tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{
			TokenURL: "https://auth.example.com/refresh", Response: tokenclient.JSONFields{Once: once},
			HTTPClient: &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
				_, _ = io.Copy(io.Discard, req.Body)
				body := answers[n]
				n++
				return &http.Response{StatusCode: 200, Request: req, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}, nil
			})},
		},
		Store: s, Key: "alice", Origins: []string{"https://api.example.com"},
	})
}

// TestExtraStays: what a login brought stays until an answer replaces it, in the store as
// well; but for what is of one answer only.
func TestExtraStays(t *testing.T) {
	files := new(store.Memory)
	s := extraSession(t, files, []string{"nonce"},
		`{"access_token":"T1","refresh_token":"R1"}`,
		`{"access_token":"T2","refresh_token":"R2","instance_url":"https://b.example.com","nonce":"n2","id_token":null}`,
		`{"access_token":"T3","user":{"name":"bob"}}`)
	login := &tokenclient.Token{AccessToken: "T0", RefreshToken: "R0", Extra: map[string]any{
		"id_token": "planted-id", "instance_url": "https://a.example.com", "nonce": "n0",
	}}
	if err := s.SetToken(t.Context(), login); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`{"id_token":"planted-id","instance_url":"https://a.example.com"}`,
		`{"id_token":null,"instance_url":"https://b.example.com","nonce":"n2"}`,
		`{"id_token":null,"instance_url":"https://b.example.com","user":{"name":"bob"}}`,
	} {
		token, err := s.Refresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stored, err := files.Load(t.Context(), "alice")
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]*tokenclient.Token{"the session": token, "the store": stored.Token} {
			if extra, _ := json.Marshal(got.Extra); string(extra) != want {
				t.Errorf("refresh %d: Extra of %s is %s, want %s", i+1, name, extra, want)
			}
		}
	}
	if len(login.Extra) != 3 {
		t.Errorf("the caller's token was changed: %v", login.Extra)
	}
	if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: "T9"}); err != nil {
		t.Fatal(err)
	}
	if now, err := s.Peek(t.Context()); err != nil || now.Extra != nil {
		t.Errorf("another login has the Extra of the first: %v, %v", now.Extra, err)
	}
}

// TestExtraDoesNotGrow: a server that makes up a name for each answer fills no store.
func TestExtraDoesNotGrow(t *testing.T) {
	var answers []string
	for i := range 200 {
		answers = append(answers, fmt.Sprintf(`{"access_token":"T%d","request_%d":1}`, i, i))
	}
	s := extraSession(t, new(store.Memory), nil, answers...)
	if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: "T", RefreshToken: "R", Extra: map[string]any{"id_token": "x"}}); err != nil {
		t.Fatal(err)
	}
	var now *tokenclient.Token
	for range answers {
		var err error
		if now, err = s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if names := slices.Sorted(maps.Keys(now.Extra)); len(names) > 64 || now.Extra["id_token"] != "x" || now.Extra["request_199"] == nil {
		t.Errorf("Extra has %d members: %q", len(names), names)
	}
}
