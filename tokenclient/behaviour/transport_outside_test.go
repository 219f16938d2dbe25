package behaviour_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestOutsideIsTold: a wrong origin was silent. The request went out bare, the server said
// 401, and nothing said why.
func TestOutsideIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		var log bytes.Buffer
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) {
			c.Origins = []string{"https://api.example.com", "http://127.0.0.1:8080"}
			c.Refresher = &tokenclient.JSONRefresher{TokenURL: "https://auth.example.com/token"}
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			c.Hooks = tokenclient.JoinHooks(&tokenclient.Hooks{NotInOrigins: func(origin, near, differs string) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, origin+" "+near+" "+differs)
			}}, &tokenclient.Hooks{NotInOrigins: func(string, string, string) {}})
		})
		client := s.Wrap(&http.Client{Transport: sessiontest.AlwaysOK})
		get := func(ctx func(*http.Request) *http.Request, urls ...string) {
			for _, u := range urls {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := client.Do(ctx(req))
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
			}
		}
		asItIs := func(req *http.Request) *http.Request { return req }
		get(asItIs, "https://api.example.com/", "https://auth.example.com/token")
		get(func(req *http.Request) *http.Request {
			return req.WithContext(tokenclient.WithoutToken(req.Context()))
		}, "https://elsewhere.example.com/")
		synctest.Wait()
		if len(told) > 0 || log.Len() > 0 {
			t.Errorf("told %q, log %s, although nothing is wrong", told, log.String())
		}
		get(asItIs, "http://localhost:8080/?access_token=secret", "http://LOCALHOST:8080/other", "https://unrelated.example.net/secret")
		synctest.Wait()
		want := []string{"http://localhost:8080 http://127.0.0.1:8080 name of this machine", "https://unrelated.example.net:443  "}
		if strings.Join(told, "\n") != strings.Join(want, "\n") {
			t.Errorf("told %q, want %q", told, want)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 2 || strings.Contains(log.String(), "secret") {
			t.Errorf("%d lines:\n%s", n, log.String())
		}
		told = nil
		for i := range 100 {
			get(asItIs, "https://host-"+string(rune('a'+i/26))+string(rune('a'+i%26))+".example.net/")
		}
		synctest.Wait()
		if len(told) != 30 {
			t.Errorf("told of %d more origins, want 30", len(told))
		}
	})
}
