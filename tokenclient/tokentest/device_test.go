package tokentest_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// begin starts a login by device code.
func begin(t testing.TB, srv *tokentest.Server) reply {
	t.Helper()
	r := postForm(t, srv, "/oauth/device", "client_id=app")
	if r.member("expires_in") != "600" || r.member("interval") != "1" || len(r.member("user_code")) != 9 {
		t.Errorf("%d %s", r.status, r.body)
	}
	return r
}

// poll is what the device does meanwhile.
func poll(t testing.TB, srv *tokentest.Server, code, client string) reply {
	t.Helper()
	return postForm(t, srv, "/oauth/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {code}, "client_id": {client},
	}.Encode())
}

// wantUser checks that a login got tokens of user.
func wantUser(t testing.TB, srv *tokentest.Server, r reply, user string) {
	t.Helper()
	wantStatus(t, "approved", r, 200)
	if got := get(t, srv, r.member("access_token")); got.member("subject") != user {
		t.Errorf("token of %s, want %s", got.body, user)
	}
}

// page opens the path below the server and checks that it is the page, whole by itself.
func page(t testing.TB, srv *tokentest.Server, method, path, form string, status int) string {
	t.Helper()
	headers := []string{}
	if method == "POST" {
		headers = []string{"Content-Type", "application/x-www-form-urlencoded"}
	}
	r := call(t, srv, method, path, form, headers...)
	wantStatus(t, path, r, status)
	if got := r.header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("%s is %s", path, got)
	}
	if got := r.header.Get("Content-Security-Policy"); got != "default-src 'none'; frame-ancestors 'none'" {
		t.Errorf("%s: policy %q", path, got)
	}
	if regexp.MustCompile(`src=|<link|<script|url\(|//`).MatchString(strings.TrimPrefix(r.body, "<!DOCTYPE html>")) {
		t.Errorf("%s needs something else, or has what it was sent as markup:\n%s", path, r.body)
	}
	return r.body
}

func TestDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
		wantError(t, "no client", postForm(t, srv, "/oauth/device", ""), 400, "invalid_request")
		one, two := begin(t, srv).member("device_code"), begin(t, srv).member("device_code")
		wantError(t, "unknown", poll(t, srv, "x", "app"), 400, "invalid_grant")
		wantError(t, "other client", poll(t, srv, one, "other"), 400, "invalid_grant")
		wantError(t, "undecided", poll(t, srv, one, "app"), 400, "authorization_pending")
		srv.Approve("")
		wantError(t, "refused", poll(t, srv, one, "app"), 400, "access_denied")
		srv.Approve("alice")
		wantUser(t, srv, poll(t, srv, one, "app"), "alice")
		wantError(t, "twice", poll(t, srv, one, "app"), 400, "invalid_grant")
		time.Sleep(10 * time.Minute)
		wantError(t, "late", poll(t, srv, two, "app"), 400, "expired_token")
	})
}

// TestDevicePage: a person opens what the device shows, and decides.
func TestDevicePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
		one, two, three := begin(t, srv), begin(t, srv), begin(t, srv)
		at := func(r reply, name string) string { // the path of a URL in the answer
			path, ok := strings.CutPrefix(r.member(name), srv.URL)
			if !ok {
				t.Errorf("%s is %q", name, r.member(name))
			}
			return path
		}
		path := at(one, "verification_uri")
		decide := func(r reply, user, decision string, status int) string {
			return page(t, srv, "POST", path, url.Values{"user_code": {r.member("user_code")}, "user": {user}, "decision": {decision}}.Encode(), status)
		}

		form := page(t, srv, "GET", path, "", 200)
		for _, want := range []string{`<form method="post" action="/device">`, `name="user_code" value=""`, `name="user" value=""`,
			`name="decision" value="approve"`, `name="decision" value="refuse"`} {
			if !strings.Contains(form, want) {
				t.Errorf("no %s in the page", want)
			}
		}
		if complete := page(t, srv, "GET", at(one, "verification_uri_complete"), "", 200); !strings.Contains(complete, `value="`+one.member("user_code")+`"`) {
			t.Errorf("the code is not in the page:\n%s", complete)
		}
		wantError(t, "seen, not decided", poll(t, srv, one.member("device_code"), "app"), 400, "authorization_pending")

		decide(reply{body: `{"user_code":"AAAA-AAAA"}`}, "alice", "approve", 400)
		decide(reply{}, "alice", "approve", 400)
		decide(one, "", "approve", 400)
		decide(one, "alice", "", 400)
		page(t, srv, "POST", path, "%zz", 400)
		wantError(t, "nothing that decides", poll(t, srv, one.member("device_code"), "app"), 400, "authorization_pending")

		spelled := strings.ToLower(strings.ReplaceAll(one.member("user_code"), "-", " "))
		decide(reply{body: `{"user_code":"` + spelled + `"}`}, "alice", "approve", 200)
		decide(two, "", "refuse", 200)
		decide(two, "alice", "approve", 400) // it is too late
		wantError(t, "refused", poll(t, srv, two.member("device_code"), "app"), 400, "access_denied")
		wantError(t, "undecided", poll(t, srv, three.member("device_code"), "app"), 400, "authorization_pending")

		srv.Approve("bob") // changes nothing that was decided
		wantError(t, "refused by the person", poll(t, srv, two.member("device_code"), "app"), 400, "access_denied")
		wantUser(t, srv, poll(t, srv, one.member("device_code"), "app"), "alice")
		wantUser(t, srv, poll(t, srv, three.member("device_code"), "app"), "bob")
		decide(one, "alice", "approve", 400) // it is logged in

		late := begin(t, srv)
		time.Sleep(10 * time.Minute)
		decide(late, "alice", "approve", 400)
		if got := srv.Counters().Logins; got != 4 {
			t.Errorf("%d logins counted, want the 4 calls of devices", got)
		}
	})
}

// TestDevicePageEscapes: what comes from a link, or from a person, is text.
func TestDevicePageEscapes(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	const evil = `"><script>`
	for _, body := range []string{
		page(t, srv, "GET", "/device?"+url.Values{"user_code": {evil}, "user": {evil}}.Encode(), "", 200),
		page(t, srv, "POST", "/device", url.Values{"user_code": {evil}, "user": {evil}, "decision": {"approve"}}.Encode(), 400),
		page(t, srv, "POST", "/device", url.Values{"user_code": {begin(t, srv).member("user_code")}, "user": {evil},
			"decision": {"approve"}}.Encode(), 200),
	} {
		if strings.Contains(body, "<script") {
			t.Errorf("a script in\n%s", body)
		}
	}
}
