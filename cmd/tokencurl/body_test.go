package main_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

// TestFileChanges: a file is sent as long as it was, and not at all if it has become shorter.
func TestFileChanges(t *testing.T) {
	const size = 16 << 20 // more than is on its way when the server has the headers
	for _, part := range []string{"-T%s", "-Ff=@%s", "-Fa=b -Ff=@%s -Fc=d"} {
		for name, test := range map[string]struct {
			change int64
			code   int
		}{"grows": {1 << 20, 0}, "shrinks": {-8 << 20, 26}, "stays": {0, 0}} {
			t.Run(part+" "+name, func(t *testing.T) {
				r := newRig(t, nil)
				file := filepath.Join(t.TempDir(), "log")
				if err := os.WriteFile(file, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(file, size); err != nil {
					t.Fatal(err)
				}
				came := make(chan int64, 1)
				srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
					if err := os.Truncate(file, size+test.change); err != nil {
						t.Error(err)
					}
					n, _ := io.Copy(io.Discard, req.Body)
					came <- n - req.ContentLength
				}))
				defer srv.Close()
				r.login("--origin", r.srv.URL, "--origin", srv.URL)
				got := r.run("", append(strings.Fields(fmt.Sprintf(part, file)), srv.URL)...)
				if got.code != test.code {
					t.Errorf("want exit code %d: %+v", test.code, got)
				}
				if missing := <-came; (missing == 0) != (test.code == 0) {
					t.Errorf("%d bytes too many", missing)
				}
			})
		}
	}
}
