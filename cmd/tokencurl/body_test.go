package main_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestQuery: what -G puts into the URL arrives whole, and what the URL may not have is
// encoded.
func TestQuery(t *testing.T) {
	r := newRig(t, nil)
	queries := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { queries <- req.URL.RawQuery }))
	defer srv.Close()
	r.login("--origin", r.srv.URL, "--origin", srv.URL)
	for want, args := range map[string][]string{
		"a=1&b=2":                   {"-G", "-d", "a=1", "-d", "b=2", srv.URL},
		"a=1&b=x%23y":               {"-G", "-d", "b=x#y", srv.URL + "?a=1"},
		"b=x%20y%22%0A":             {"-G", "--data-raw", "b=x y\"\n", srv.URL + "#fragment"},
		"b=%C3%A9&c=%20+%2B%25&d[]": {"-G", "-d", "b=é", "-d", "c=%20+%2B%25&d[]", srv.URL},
		"q=x%20y":                   {srv.URL + "?q=x y"},
		"h=1":                       {"-G", "-I", "-d", "h=1", srv.URL},
	} {
		r.ok("", args...)
		if got := <-queries; got != want {
			t.Errorf("%q: want %s, got %s", args, want, got)
		}
	}
}

// TestFormOfAPipe: what a shell puts in the place of <(...) has no size that could be asked for.
func TestFormOfAPipe(t *testing.T) {
	r := newRig(t, nil)
	r.loginRevoked()
	if got := r.ok("from a pipe", "-F", "f=@/dev/stdin", "/api/form?echo=1"); !strings.Contains(got, "filename=\"stdin\"") || !strings.Contains(got, "from a pipe") {
		t.Error(got)
	}
	if got := r.run("", "-F", "f=@"+t.TempDir(), "/api/form"); got.code != 26 {
		t.Errorf("a folder: %+v", got)
	}
}
