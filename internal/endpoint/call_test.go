package endpoint_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// TestCheck: a URL that would show the tokens to others gets none.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		url      string
		insecure bool
		want     string // "": allowed
	}{
		{"https://auth.example.com/token", false, ""},
		{"https://auth.example.com/token?tenant=1", false, ""},
		{"http://localhost:8080/token", false, ""},
		{"http://LOCALHOST/token", false, "is plain http beyond this machine"},
		{"http://127.0.0.1:8080/token", false, ""},
		{"http://127.1.2.3/token", false, ""},
		{"http://[::1]:8080/token", false, ""},
		{"http://auth.example.com/token", true, ""},
		{"", false, "URL is empty; write it like"},
		{"auth.example.com/token", false, "does not begin with https:// or http://; write it like"},
		{"/token", false, "does not begin with https://"},
		{"ftp://auth.example.com/token", true, "does not begin with https://"},
		{"https:auth.example.com/token", false, "has no host"},
		{"https:///token", false, "has no host"},
		{"https://:443/token", false, "has no host"},
		{"https://app:planted@auth.example.com/token", false, "has user information in it"},
		{"https://auth.example.com/token#x", false, "has a fragment"},
		{"https://auth.example.com:planted/token", false, "is not a URL"},
		{"https://auth.example.com/token?q={planted} <x>", false, ""},
		{"https://auth.example.com/%7Btenant%7D/token", false, ""},
		{"https://auth.example.com:65535/token", false, ""},
		{"https://auth.example.com/{tenant}/token", false, "has a placeholder in it"},
		{"https://<tenant>.example.com/token", false, "has a placeholder in it"},
		{"https://{tenant}.example.com/token", false, "has a placeholder in it"},
		{" https://auth.example.com/token", false, "has a space in it"},
		{"https://auth.example.com/token ", false, "has a space in it"},
		{"https://auth.example.com/token\n", false, "is not a URL"},
		{"https://*.example.com/token", false, "has a wildcard for its host"},
		{"https://auth.example.com:0/token", false, "has a port that is not one of 1 to 65535"},
		{"https://auth.example.com:99999/token", false, "has a port that is not one of 1 to 65535"},
		{"http://auth.example.com/token?key=planted", false, "is plain http beyond this machine"},
		{"http://localhost.example.com/token", false, "is plain http beyond this machine"},
		{"http://128.0.0.1/token", false, "is plain http beyond this machine"},
		{"http://10.0.0.1/token", false, "InsecureHTTP"},
	} {
		called, signed := false, false
		call := refreshAt(c.url)
		call.InsecureHTTP = c.insecure
		call.Client = through(func(*http.Request) (*http.Response, error) {
			called = true
			return nil, errors.New("enough")
		})
		call.Authenticate = func(context.Context, string, url.Values, http.Header) error {
			signed = true
			return nil
		}
		f := wantFailure(t, t.Context(), call)
		switch err := call.Check(); {
		case called != (c.want == "") || signed != called || (err == nil) != called:
			t.Errorf("%q: request made: %v, client authenticated: %v, Check: %v", c.url, called, signed, err)
		case err != nil && (err.Error() != f.Cause.Error() || !strings.HasPrefix(err.Error(), "Refresher.URL ")):
			t.Errorf("%q: Check: %v, Do: %v", c.url, err, f.Cause)
		case !strings.Contains(f.Cause.Error(), c.want):
			t.Errorf("%q: %q does not say %q", c.url, f.Cause, c.want)
		case !f.NotPresented:
			t.Errorf("%q: may have been presented", c.url)
		}
	}
}

func TestName(t *testing.T) {
	for rawURL, want := range map[string]string{
		"https://auth.example.com/token":            "auth.example.com/token",
		"https://auth.example.com:8443/a%2Fb?key=x": "auth.example.com:8443/a%2Fb",
		"https://app:x@auth.example.com/token#x":    "auth.example.com/token",
		"https://auth.example.com:x/":               "",
		"":                                          "",
	} {
		if got := endpoint.Name(rawURL); got != want {
			t.Errorf("%q: %q, want %q", rawURL, got, want)
		}
	}
}

// TestDo: what is sent and what comes back.
func TestDo(t *testing.T) {
	var got *http.Request
	var body []byte
	srv, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		answer(201, "text/plain", "as it is")(w, r)
	})
	c := refresh(srv)
	c.Authenticate = func(_ context.Context, at string, form url.Values, header http.Header) error {
		if at != c.URL || form.Get("refresh_token") != plantedRefresh {
			t.Errorf("authenticated for %s, %v", at, form)
		}
		form.Set("client_id", "app")
		form.Add("grant_type", "twice")
		header.Set("Authorization", "Basic x")
		header.Set("Content-Type", "for this package to say")
		return nil
	}
	c.Attach = func(req *http.Request) error {
		req.Header.Set("X-Auth-Token", plantedAccess)
		return nil
	}
	before := time.Now()
	a := wantAnswer(t, c)
	if string(body) != "client_id=app&grant_type=refresh_token&grant_type=twice&refresh_token="+plantedRefresh {
		t.Errorf("sent %s", body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json",
		"Authorization": "Basic x", "X-Auth-Token": plantedAccess,
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Header.Get(name), want)
		}
	}
	if got.Method != "POST" || got.RequestURI != "/token?key="+plantedSecret || got.ContentLength != int64(len(body)) {
		t.Errorf("%s %s, length %d", got.Method, got.RequestURI, got.ContentLength)
	}
	if a.Status != 201 || !a.OK() || a.Header.Get("X-Answer") != "yes" || string(a.Body) != "as it is" || a.Sent.Before(before) || a.Sent.After(time.Now()) {
		t.Errorf("read %d, %v, %q, %v", a.Status, a.Header, a.Body, a.Sent)
	}
	if len(c.Params) != 2 || len(c.Secrets) != 1 {
		t.Errorf("the call was changed: %v, %v", c.Params, c.Secrets)
	}
}

// TestDoReadsSoMuch: of an answer without end no more is read than tells that it is too long.
func TestDoReadsSoMuch(t *testing.T) {
	for size, want := range map[int]int{endpoint.MaxAnswer: endpoint.MaxAnswer, 10 << 20: endpoint.MaxAnswer + 1} {
		srv, _ := serve(t, answer(200, "application/json", strings.Repeat(" ", size)))
		if a := wantAnswer(t, refresh(srv)); len(a.Body) != want {
			t.Errorf("read %d of %d bytes, want %d", len(a.Body), size, want)
		}
	}
}

// TestRedirect: the body holds the refresh token, so it must not go anywhere else,
// whatever the status says.
func TestRedirect(t *testing.T) {
	other, calls := serve(t, answer(200, "application/json", `{"access_token":"stolen"}`))
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		srv, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", other.URL+"/elsewhere?token="+plantedRefresh)
			w.WriteHeader(status)
		})
		f := wantFailure(t, t.Context(), refresh(srv))
		host := strings.TrimPrefix(other.URL, "http://")
		if f.Status != status || f.NotPresented || !strings.Contains(f.Cause.Error(), "redirected to "+host+"; refusing to follow") || strings.Contains(f.Cause.Error(), "elsewhere") {
			t.Errorf("%d: %+v", status, f)
		}
	}
	for _, location := range []string{"", "/here", "https://" + plantedRefresh + ".example.com/", ":", "https://{host}/login?state=x", "http://[::1"} {
		for _, status := range []int{301, 302, 303, 307} {
			srv, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", location)
				w.WriteHeader(status)
			})
			f := wantFailure(t, t.Context(), refresh(srv))
			if f.Status != status || f.Cause.Error() != "redirected; refusing to follow: the body holds a credential" {
				t.Errorf("%d to %q: %d, %v", status, location, f.Status, f.Cause)
			}
		}
	}
	if calls.Load() != 0 {
		t.Error("a redirect was followed")
	}
	c := refreshAt("https://auth.example.com/token")
	c.Client = through(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: http.NoBody, Request: req}, nil
	})
	if f := wantFailure(t, t.Context(), c); f.Status != 101 || f.Cause.Error() != "the answer is not HTTP any more" {
		t.Errorf("101: %+v", f)
	}
}

// TestClientIsLeftAlone: the caller's client is copied, and its cookies are kept.
func TestClientIsLeftAlone(t *testing.T) {
	srv, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("node"); err != nil {
			http.SetCookie(w, &http.Cookie{Name: "node", Value: "7"})
			w.WriteHeader(503)
			return
		}
		answer(200, "application/json", `{"access_token":"a"}`)(w, r)
	})
	c := refresh(srv)
	c.Client.Jar, _ = cookiejar.New(nil)
	if a := wantAnswer(t, c); a.Status != 503 {
		t.Errorf("first call: %d", a.Status)
	}
	if a := wantAnswer(t, c); a.Status != 200 {
		t.Errorf("the cookie was lost: %d", a.Status)
	}
	if c.Client.CheckRedirect != nil {
		t.Error("the caller's client was changed")
	}
}

// TestRequestIsNotRepeatable: with GetBody or an Idempotency-Key, net/http would present
// the refresh token a second time by itself.
func TestRequestIsNotRepeatable(t *testing.T) {
	keys := []string{"Idempotency-Key", "X-Idempotency-Key"}
	c := refreshAt("https://auth.example.com/token")
	c.Authenticate = func(_ context.Context, _ string, _ url.Values, h http.Header) error {
		h.Set(keys[0], "x")
		return nil
	}
	c.Attach = func(req *http.Request) error {
		req.Header.Set(keys[1], "x")
		return nil
	}
	c.Client = through(func(req *http.Request) (*http.Response, error) {
		if req.GetBody != nil {
			t.Error("GetBody is set")
		}
		for _, name := range keys {
			if _, ok := req.Header[name]; ok {
				t.Errorf("%s is set", name)
			}
		}
		return nil, errors.New("enough")
	})
	wantFailure(t, t.Context(), c)
}
