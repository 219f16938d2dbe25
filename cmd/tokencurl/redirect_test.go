package main_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// TestRedirectMethods: methods and bodies after a redirect are those of curl, which is asked too
// where there is one.
func TestRedirectMethods(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var last atomic.Value // string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		got := fmt.Sprintf("%s %s", req.Method, b)
		// Each digit of the path is a redirect by 30x.
		if rest := strings.Trim(req.URL.Path, "/"); rest != "" {
			got = ""
			w.Header().Set("Location", "/"+rest[1:])
			w.WriteHeader(300 + int(rest[0]-'0'))
		}
		last.Store(got)
	}))
	defer srv.Close()
	r := newRig(t, nil)
	r.login("--origin", r.srv.URL, "--origin", srv.URL)
	const rewind = "65 "
	for _, test := range []struct {
		args string
		want map[string]string // what comes at the end, by redirects
	}{
		{"", map[string]string{"1": "GET ", "2": "GET ", "3": "GET ", "7": "GET ", "8": "GET ", "27": "GET "}},
		{"-d x", map[string]string{"1": "GET ", "2": "GET ", "3": "GET ", "7": "POST x", "8": "POST x", "27": "GET ", "37": "GET ", "72": "GET ", "78": "POST x"}},
		{"-X PUT", map[string]string{"1": "PUT ", "2": "PUT ", "3": "PUT ", "7": "PUT ", "8": "PUT ", "27": "PUT "}},
		{"-X PUT -d x", map[string]string{"1": "PUT ", "2": "PUT ", "3": "PUT ", "7": "PUT x", "8": "PUT x", "27": "PUT ", "78": "PUT x"}},
		{"-X DELETE", map[string]string{"1": "DELETE ", "2": "DELETE ", "3": "DELETE ", "7": "DELETE "}},
		{"-X GET -d x", map[string]string{"2": "GET ", "3": "GET ", "7": "GET x"}},
		{"-T FILE", map[string]string{"1": "PUT file", "2": "PUT file", "3": "GET ", "7": "PUT file", "8": "PUT file", "22": "PUT file", "27": "PUT file", "37": "GET ", "32": "GET ", "72": "PUT file"}},
		{"-T EMPTY", map[string]string{"2": "PUT ", "3": "GET ", "7": "PUT ", "37": "GET "}},
		{"-X POST -T FILE", map[string]string{"1": "POST file", "2": "POST file", "3": "POST ", "7": "POST file", "27": "POST file"}},
		{"-T -", map[string]string{"1": rewind, "2": rewind, "3": "GET ", "7": rewind, "8": rewind, "37": "GET ", "38": "GET ", "31": "GET ", "3377": "GET ", "23": rewind}},
		{"-X PATCH -T -", map[string]string{"2": rewind, "3": "PATCH ", "7": rewind, "37": "PATCH ", "38": "PATCH "}},
		{"-I", map[string]string{"1": "HEAD ", "2": "HEAD ", "3": "HEAD ", "7": "HEAD "}},
		{"-G -d q=1", map[string]string{"2": "GET ", "7": "GET "}},
	} {
		for codes, want := range test.want {
			args := append(strings.Fields(strings.NewReplacer("FILE", file, "EMPTY", empty).Replace(test.args)), "-s", "-L", "-o", filepath.Join(t.TempDir(), "out"), srv.URL+"/"+codes)
			last.Store("")
			if got := r.run("from a pipe", args...); got.code != 0 {
				last.Store(fmt.Sprintf("%d %s", got.code, last.Load()))
			}
			if last := last.Load(); last != want {
				t.Errorf("%q, redirected by %q: want %q, got %q", test.args, codes, want, last)
			}
			curl, err := exec.LookPath("curl")
			if err != nil {
				continue
			}
			last.Store("")
			cmd := exec.CommandContext(t.Context(), curl, append([]string{"-q"}, args...)...)
			cmd.Stdin = strings.NewReader("from a pipe")
			if err := cmd.Run(); err != nil {
				last.Store(fmt.Sprintf("%d %s", cmd.ProcessState.ExitCode(), last.Load()))
			}
			if last := last.Load(); last != want {
				t.Errorf("%q, redirected by %q: the table wants %q, curl makes it %q", test.args, codes, want, last)
			}
		}
	}
}

// TestRedirectRefused: what is sent after a redirect is sent again after a 401, whole.
func TestRedirectRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, nil)
	for _, status := range []int{http.StatusFound, http.StatusTemporaryRedirect} {
		srv := httptest.NewServer(http.RedirectHandler(r.srv.URL+"/api/things?echo=1", status))
		defer srv.Close()
		r.loginRevoked("--origin", r.srv.URL, "--origin", srv.URL)
		before := r.srv.Counters().Unauthorized
		if got := r.ok("", "-L", "-i", "-T", file, srv.URL+"/x"); !strings.HasSuffix(got, "\r\n\r\nfile") {
			t.Errorf("%d: %q", status, got)
		}
		if n := r.srv.Counters().Unauthorized - before; n != 1 {
			t.Errorf("%d: %d refusals", status, n)
		}
	}
}
