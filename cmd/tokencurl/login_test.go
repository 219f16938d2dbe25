package main_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A front stands before the server of a rig. Once it is armed it does first with each request,
// and then passes it on.
type front struct {
	*httptest.Server
	armed atomic.Bool
	first func(*http.Request)
}

func newFront(r *rig) *front {
	r.t.Helper()
	server, err := url.Parse(r.srv.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	proxy, f := httputil.NewSingleHostReverseProxy(server), &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if f.armed.Load() {
			f.first(req)
		}
		if req.Context().Err() == nil {
			proxy.ServeHTTP(w, req)
		}
	}))
	r.t.Cleanup(f.Close)
	return f
}

// others are logins that differ from the first of them in one thing.
var others = map[string][]string{
	"the same":       nil,
	"another origin": {"--origin", "https://example.com"},
	"another key":    {"--key", "env:MYKEY"},
}

// loginBy is a login whose calls go through f.
func (r *rig) loginBy(f *front, more ...string) []string {
	r.env = []string{"MYKEY=" + strings.Repeat("ab", 32)}
	return append([]string{"login", "--user", "alice", "--password-stdin", "--origin", r.srv.URL,
		"--login-url", f.URL + "/login", "--refresh-url", f.URL + "/token/refresh", "--revoke-url", f.URL + "/revoke"}, more...)
}

// TestLoginKilled: a login that is killed leaves the one before it, or a whole new one.
func TestLoginKilled(t *testing.T) {
	for name, more := range others {
		for _, path := range []string{"/login", "/revoke"} {
			t.Run(name+" "+path, func(t *testing.T) {
				r := newRig(t, nil)
				f, came := newFront(r), make(chan struct{}, 1)
				f.first = func(req *http.Request) {
					if req.URL.Path == path {
						_, _ = io.Copy(io.Discard, req.Body) // from here on the server sees that the client leaves
						came <- struct{}{}
						<-req.Context().Done()
					}
				}
				r.ok("open sesame\n", r.loginBy(f)...)
				f.armed.Store(true)
				cmd := r.command(t.Context(), r.loginBy(f, more...)...)
				cmd.Stdin = strings.NewReader("open sesame\n")
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				select {
				case <-came:
					_ = cmd.Process.Kill()
					<-ended
				case err := <-ended:
					if err != nil || path == "/login" || name != "the same" {
						t.Fatalf("it ended, and nobody has killed it: %v", err)
					}
				}
				if got := r.run("", r.srv.URL+"/api/me"); got.code != 0 {
					t.Errorf("neither login is left: %+v", got)
				}
			})
		}
	}
}

// TestLoginNotWritten: what cannot be written down is no login, and that before it stays.
func TestLoginNotWritten(t *testing.T) {
	for name, more := range others {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			f := newFront(r)
			path := filepath.Join(r.home, "sessions", "default.json")
			var revoked atomic.Int32
			f.first = func(req *http.Request) {
				switch req.URL.Path {
				case "/login": // by now the profile was read
					if err := errors.Join(os.Rename(path, path+".away"), os.MkdirAll(filepath.Join(path, "full"), 0o700)); err != nil {
						t.Error(err)
					}
				case "/revoke":
					revoked.Add(1)
				}
			}
			r.ok("open sesame\n", r.loginBy(f)...)
			f.armed.Store(true)
			if got := r.run("open sesame\n", r.loginBy(f, more...)...); got.code != 110 || strings.Contains(got.stderr, "Logged in") {
				t.Errorf("%+v", got)
			}
			if want := min(len(more), 1); int(revoked.Load()) != want {
				t.Errorf("%d revocations, want %d: a login that nobody can use is ended, and only that", revoked.Load(), want)
			}
			if err := errors.Join(os.RemoveAll(path), os.Rename(path+".away", path)); err != nil {
				t.Fatal(err)
			}
			if got := r.run("", r.srv.URL+"/api/me"); got.code != 0 {
				t.Errorf("the login before is gone: %+v", got)
			}
			if left, err := filepath.Glob(filepath.Join(r.home, "sessions", ".tmp-*")); err != nil || len(left) > 0 {
				t.Error(left, err)
			}
		})
	}
}

// TestProfileBroken: a file that somebody's editor broke is said to be that, and a login that says
// where takes its place.
func TestProfileBroken(t *testing.T) {
	for _, broken := range []string{"", "{", "[]", `{"origins":"x"}`} {
		r := newRig(t, nil)
		r.login()
		r.login("--session", "work")
		if err := os.WriteFile(filepath.Join(r.home, "sessions", "default.json"), []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"/api/me"}, {"token"}, {"logout"}, {"login", "--user", "alice", "--password-stdin"}} {
			if got := r.run("open sesame\n", args...); got.code != 110 || !strings.Contains(got.stderr, "default.json") || !strings.Contains(got.stderr, "log in again") {
				t.Errorf("%q, %q: %+v", broken, args, got)
			}
		}
		if got := r.ok("", "status"); !strings.Contains(got, "default.json") || !strings.Contains(got, "active") {
			t.Errorf("%q: %s", broken, got)
		}
		r.login()
		r.ok("", "/api/me")
	}
}

// TestMessages: what people read names the session, and not the record of the store.
func TestMessages(t *testing.T) {
	r := newRig(t, nil)
	r.login("--session", "work")
	r.srv.RevokeAll("alice")
	if got := r.run("", "--session", "work", "/api/me"); got.code != 67 || !strings.Contains(got.stderr, `"work"`) || strings.Contains(got.stderr, "@") {
		t.Errorf("%+v", got)
	}
}
