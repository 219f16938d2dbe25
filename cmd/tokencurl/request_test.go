package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestOrigins: nothing is sent elsewhere, also if somebody says otherwise in the session's file.
func TestOrigins(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		t.Errorf("a request came with %q", req.Header)
	}))
	defer elsewhere.Close()
	for _, address := range []string{elsewhere.URL, strings.Replace(r.srv.URL, "127.0.0.1", "localhost", 1), strings.Replace(r.srv.URL, "http:", "https:", 1)} {
		if got := r.run("", address+"/api/me"); got.code != 111 || !strings.Contains(got.stderr, r.srv.URL) {
			t.Errorf("%s: %+v", address, got)
		}
	}
	path := filepath.Join(r.home, "sessions", "default.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(b), `"`+r.srv.URL+`"`, `"`+elsewhere.URL+`"`, 1)
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil || changed == string(b) {
		t.Fatal("not changed", err)
	}
	if got := r.run("", elsewhere.URL); got.code != 67 {
		t.Errorf("with another origin in the file: %+v", got)
	}
}

// TestRedirect: the token and the URL stay where they belong.
func TestRedirect(t *testing.T) {
	r := newRig(t, nil)
	came := make(chan http.Header, 1)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { came <- req.Header }))
	defer elsewhere.Close()
	here := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, elsewhere.URL, http.StatusFound)
	}))
	defer here.Close()
	r.login("--origin", r.srv.URL, "--origin", here.URL)
	for want, args := range map[string][]string{"": nil, "http://me.example/": {"-H", "Referer: http://me.example/"}} {
		r.ok("", append(args, "-L", here.URL+"?key=secret")...)
		if h := <-came; h.Get("Authorization") != "" || h.Get("Referer") != want {
			t.Errorf("%q: %q", args, h)
		}
	}
}

// TestExitCodes are those of docs/tokencurl.md.
func TestExitCodes(t *testing.T) {
	r := newRig(t, nil)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/partial":
			w.Header().Set("Content-Length", "10")
			fmt.Fprint(w, "12345")
		case "/empty":
			panic(http.ErrAbortHandler)
		case "/slow":
			<-req.Context().Done()
		case "/loop":
			http.Redirect(w, req, "/loop", http.StatusFound)
		}
	}))
	defer broken.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	_ = l.Close()
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	plain := strings.Replace(broken.URL, "http:", "https:", 1)
	r.login("--origin", r.srv.URL, "--origin", broken.URL, "--origin", nobody, "--origin", secure.URL, "--origin", plain, "--origin", "https://name.invalid")
	me := r.srv.URL + "/api/me"
	for name, test := range map[string]struct {
		code int
		args []string
	}{
		"a status without -f":    {0, []string{r.srv.URL + "/nothing"}},
		"a status with -f":       {22, []string{"-f", r.srv.URL + "/nothing"}},
		"no URL":                 {2, nil},
		"an unknown flag":        {2, []string{"--no-such-flag", me}},
		"-I with a body":         {2, []string{"-I", "-d", "x", me}}, // into the URL only by -G
		"two kinds of body":      {2, []string{"-d", "x", "--json", "{}", me}},
		"the token's header":     {2, []string{"-H", "authorization: Bearer x", me}},
		"no URL at all":          {3, []string{"logni"}},
		"a header's name":        {2, []string{"-H", "Bad Name: x", me}},
		"a header's value":       {2, []string{"-H", "X: a\x01b", me}},
		"a length of its own":    {2, []string{"-H", "content-length: 5", "-d", "x", me}}, // would be ignored
		"a framing of its own":   {2, []string{"-H", "Transfer-Encoding: chunked", "-d", "x", me}},
		"a time before now":      {2, []string{"-m", "-1", me}},
		"no time":                {2, []string{"-m", "NaN", me}},
		"a very long time":       {0, []string{"-m", "1e300", me}},
		"another long time":      {0, []string{"-m", "+Inf", me}},
		"a user in the URL":      {3, []string{strings.Replace(me, "http://", "http://me@", 1)}},
		"another origin":         {111, []string{"https://example.com"}},
		"nobody listens":         {7, []string{nobody}},
		"an unknown name":        {6, []string{"https://name.invalid"}},
		"an unknown certificate": {60, []string{secure.URL}},
		"no TLS":                 {35, []string{plain}},
		"too slow":               {28, []string{"-m", "0.2", broken.URL + "/slow"}},
		"broken off":             {18, []string{broken.URL + "/partial"}},
		"no answer":              {52, []string{broken.URL + "/empty"}},
		"a loop":                 {47, []string{"-L", broken.URL + "/loop"}},
		"an absent file to send": {26, []string{"-d", "@/does/not/exist", me}},
		"an absent folder":       {23, []string{"-o", "/does/not/exist", me}},
		"an absent session":      {67, []string{"--session", "other", me}},
		"a bad name":             {2, []string{"--session", "../x", me}},
	} {
		if got := r.run("", test.args...); got.code != test.code || test.code > 0 && !strings.Contains(got.stderr, fmt.Sprintf("(%d) ", test.code)) {
			t.Errorf("%s: want %d, got %+v", name, test.code, got)
		}
	}
	if got := r.run("", "-s", "-f", r.srv.URL+"/nothing"); got.code != 22 || got.stderr != "" {
		t.Errorf("-s: %+v", got)
	}
	r.srv.RevokeAccess("alice")
	r.srv.FailRefresh(-1, tokentest.Fault{Status: http.StatusServiceUnavailable})
	if got := r.run("", me); got.code != 94 {
		t.Errorf("the token endpoint is down: %+v", got)
	}
	if err := os.Remove(filepath.Join(r.home, "secret.key")); err != nil {
		t.Fatal(err)
	}
	if got := r.run("", me); got.code != 110 {
		t.Errorf("no key: %+v", got)
	}
}

// TestBodies: what is sent arrives whole, also when it is sent a second time.
func TestBodies(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	file := filepath.Join(t.TempDir(), "file.txt")
	if err := os.WriteFile(file, []byte("a\nb\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	latin1 := filepath.Join(t.TempDir(), "latin1.txt")
	if err := os.WriteFile(latin1, []byte("caf\xe9\n\xff\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		stdin, method, body string
		args                []string
	}{
		"not UTF-8":     {"", "POST", "caf\xe9\xff", []string{"-d", "@" + latin1}},
		"data":          {"", "POST", "x=1&y=2", []string{"-d", "x=1", "-d", "y=2"}},
		"data and file": {"", "POST", "x=1&ab", []string{"-d", "x=1", "-d", "@" + file}},
		"binary":        {"", "POST", "a\nb\r\n", []string{"--data-binary", "@" + file}},
		"raw":           {"", "POST", "@x", []string{"--data-raw", "@x"}},
		"stdin":         {"q\n", "POST", "q", []string{"-d", "@-"}},
		"json":          {"", "POST", `{"a":1}`, []string{"--json", `{"a":`, "--json", "1}"}},
		"upload":        {"", "PUT", "a\nb\r\n", []string{"-T", file}},
		"upload stdin":  {"from a pipe", "PUT", "from a pipe", []string{"-T", "-"}},
		"method":        {"", "PATCH", "z", []string{"-XPATCH", "-d", "z"}},
		"none":          {"", "GET", "", nil},
	} {
		r.srv.RevokeAccess("alice")
		var seen struct {
			Method string
			SHA256 string
		}
		got := r.ok(test.stdin, append(test.args, "/api/things")...)
		if err := json.Unmarshal([]byte(got), &seen); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(test.body))
		if seen.Method != test.method || seen.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: %s", name, got)
		}
	}
	r.srv.RevokeAccess("alice")
	got := r.ok("", "-F", "note=hello;type=text/x", "-F", "f=@"+file, "/api/form?echo=1")
	for _, part := range []string{`name="note"`, "Content-Type: text/x", "hello", `name="f"; filename="file.txt"`, "a\nb\r\n"} {
		if !strings.Contains(got, part) {
			t.Errorf("the form lacks %q: %s", part, got)
		}
	}
	if got := r.ok("", "-i", "/api/me"); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Error(got)
	}
	if got := r.ok("", "-G", "-d", "echo=0", "/api/me"); !strings.Contains(got, `"GET"`) {
		t.Error(got)
	}
	out := filepath.Join(t.TempDir(), "out")
	if got := r.ok("", "-o", out, "/api/me"); got != "" {
		t.Error(got)
	}
	if b, err := os.ReadFile(out); err != nil || !strings.Contains(string(b), "alice") {
		t.Errorf("%s %v", b, err)
	}
}

// TestStory: -v tells what happened, in order, and no secret.
func TestStory(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	old := strings.TrimSpace(r.ok("", "token"))
	r.srv.RevokeAccess("alice")
	got := r.run("", "-v", "-H", "Cookie: crumbs", "-H", "Private-Token: gitlab-pw", "-H", "X-Client-Secret: client-pw", "-H", "Ocp-Apim-Subscription-Key: azure-pw", r.srv.URL+"/api/me?q="+old)
	rest := got.stderr
	for _, line := range []string{"* token attached", "> GET /api/me", "> Authorization: [redacted]", "> Cookie: [redacted]", "< HTTP/1.1 401", "* the server refused the token",
		"* token endpoint: POST " + r.srv.URL + "/token/refresh", "* token endpoint: 200 OK", "* new token attached, and the request sent again", "< HTTP/1.1 200 OK"} {
		_, after, ok := strings.Cut(rest, line)
		if !ok {
			t.Fatalf("it lacks %q where that belongs:\n%s", line, got.stderr)
		}
		rest = after
	}
	for _, secret := range []string{"eyJ", "crumbs", "open sesame", "-pw"} {
		if strings.Contains(got.stderr, secret) {
			t.Errorf("it shows %q:\n%s", secret, got.stderr)
		}
	}
}

// TestTerminalSequences: what a server says does not steer the terminal.
func TestTerminalSequences(t *testing.T) {
	r := newRig(t, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 404 \x1b[2J\x9b2Jnot h\xc3\xa9re\r\nX-Title: \x9b2J\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}))
	defer srv.Close()
	r.login("--origin", r.srv.URL, "--origin", srv.URL)
	for _, args := range [][]string{{"-f", srv.URL}, {"-v", srv.URL}, {"-f", "-v", srv.URL}} {
		got := r.run("", args...)
		if strings.ContainsAny(got.stderr, "\x1b\x07\r") || strings.Contains(got.stderr, "\x9b") || !strings.Contains(got.stderr, "404") {
			t.Errorf("%q: %q", args, got.stderr)
		}
	}
}

// TestStatus: what is said of each session, and no secret.
func TestStatus(t *testing.T) {
	r := newRig(t, nil)
	r.login()
	r.env = []string{"MYKEY=" + strings.Repeat("ab", 32)}
	r.login("--session", "work", "--key", "env:MYKEY")
	r.srv.RevokeAccess("alice")
	r.ok("", "--session", "work", "/api/me")
	var list []map[string]any
	said := r.ok("", "status", "--json")
	if err := json.Unmarshal([]byte(said), &list); err != nil || len(list) != 2 {
		t.Fatal(err, said)
	}
	if list[0]["session"] != "default" || list[0]["number"] != 1.0 || list[1]["session"] != "work" || list[1]["number"] != 2.0 || list[1]["state"] != "active" ||
		list[1]["expiry"] == nil || list[1]["issued"] == nil || list[1]["sealed_by"] == list[0]["sealed_by"] || list[1]["held"] != false {
		t.Error(said)
	}
	if text := r.ok("", "status") + said; strings.Contains(text, "eyJ") || !strings.Contains(text, "work") {
		t.Error(text)
	}
	r.env = nil // the key of one session is not there
	if said = r.ok("", "status"); !strings.Contains(said, "MYKEY") || !strings.Contains(said, "active") {
		t.Error(said)
	}
	r.ok("", "logout")
	if got := r.run("", "status", "--session", "default"); got.code != 67 {
		t.Errorf("%+v", got)
	}
}

// TestCompletion: each shell gets its script, and sessions are completed by name.
func TestCompletion(t *testing.T) {
	r := newRig(t, nil)
	r.login("--session", "work")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := r.ok("", "completion", shell); !strings.Contains(got, "tokencurl") {
			t.Error(got)
		}
	}
	if got := r.ok("", "__complete", "--session", ""); !strings.HasPrefix(got, "work\n") {
		t.Error(got)
	}
}
