package tokentest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestMain fails the run if a goroutine is left when all servers are closed.
func TestMain(m *testing.M) { sessiontest.Main(m) }

// A reply is a response that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

// member returns a member of a JSON body as text, "" if it has none.
func (r reply) member(name string) string {
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(r.body))
	d.UseNumber()
	if d.Decode(&m) != nil || m[name] == nil {
		return ""
	}
	return fmt.Sprint(m[name])
}

// try makes a request. headers are names and values in turn.
func try(t testing.TB, srv *tokentest.Server, method, path, body string, headers ...string) (reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(got)}, err
}

// call is try for requests that get an answer.
func call(t testing.TB, srv *tokentest.Server, method, path, body string, headers ...string) reply {
	t.Helper()
	r, err := try(t, srv, method, path, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func get(t testing.TB, srv *tokentest.Server, access string) reply {
	t.Helper()
	return call(t, srv, "GET", "/api/things", "", "Authorization", "Bearer "+access)
}

func post(t testing.TB, srv *tokentest.Server, path string, body map[string]string) reply {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return call(t, srv, "POST", path, string(text), "Content-Type", "application/json")
}

func refresh(t testing.TB, srv *tokentest.Server, token string) reply {
	t.Helper()
	return post(t, srv, "/token/refresh", map[string]string{"refresh_token": token})
}

func postForm(t testing.TB, srv *tokentest.Server, path, form string, headers ...string) reply {
	t.Helper()
	headers = append(headers, "Content-Type", "application/x-www-form-urlencoded")
	return call(t, srv, "POST", path, form, headers...)
}

func wantStatus(t testing.TB, what string, r reply, status int) {
	t.Helper()
	if r.status != status {
		t.Errorf("%s: status %d, want %d; body %.200s", what, r.status, status, r.body)
	}
}

func wantError(t testing.TB, what string, r reply, status int, code string) {
	t.Helper()
	if r.status != status || r.member("error") != code {
		t.Errorf("%s: %d %.200s, want %d %s", what, r.status, r.body, status, code)
	}
}

func (r reply) wantMembers(t testing.TB, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := r.member(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}
