package endpoint_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// TestFailureSaysWhatIsWrong: what people see first.
func TestFailureSaysWhatIsWrong(t *testing.T) {
	const js, form, page = "application/json", "application/x-www-form-urlencoded", "text/html"
	for _, c := range []struct {
		status                   int
		kind, body               string
		code, description, cause string
	}{
		{400, js, `{"error":"invalid_scope","error_description":"no such scope: x"}`, "invalid_scope", "no such scope: x", ""},
		{400, js, `{"error":{"code":"E1","message":"bad"}}`, "E1", "bad", ""},
		{400, js, `{"error":{"message":"bad"},"code":"E2","error_description":"worse"}`, "E2", "bad", ""},
		{400, js, `{"code":"E3","message":"bad"}`, "E3", "bad", ""},
		{400, js, `{"message":"bad"}`, "", "bad", ""},
		{400, form, `error=a&error_description=b+c`, "a", "b c", ""},
		{400, form + "; charset=utf-8", `error=a&%`, "a", "", ""},
		{400, js, `error=a&error_description=b+c`, "a", "b c", ""},
		{400, js, `{"error":"a\"b\\c\nd\u00e9","error_description":"line\r\nbreak\u001b[31m\u202e\u0000"}`, "abcd", "linebreak[31m", ""},
		{400, js, `{"error":"` + strings.Repeat("a", 100) + `","error_description":"` + strings.Repeat("ü", 5000) + `"}`,
			strings.Repeat("a", 64), strings.Repeat("ü", 100), ""},
		{400, js, `{"error":17,"error_description":[]}`, "", "", ""},
		{400, js, `{"error":"cut`, "", "", ""},
		{502, page, `<html><p>token=abc</p></html>`, "", "", "answer is HTML, not JSON"},
		{200, page, "\xef\xbb\xbf <html>", "", "", "answer is HTML, not JSON"},
		{200, js, `{"error":"long"}` + strings.Repeat(" ", 1<<20), "", "", ""},
		{200, js, `{"error":"slow"}`, "slow", "", ""},
	} {
		srv, _ := serve(t, answer(c.status, c.kind, c.body))
		f := wantAnswer(t, refresh(srv)).Failure(nil)
		checkSecrets(t, f)
		cause := ""
		if f.Cause != nil {
			cause = f.Cause.Error()
		}
		if f.Status != c.status || f.Code != c.code || f.Description != c.description || cause != c.cause || f.NotPresented {
			t.Errorf("%d %.80s:\n%+v", c.status, c.body, f)
		}
		if want := strings.TrimPrefix(srv.URL, "http://") + "/token"; f.Endpoint != want {
			t.Errorf("Endpoint %q, want %q", f.Endpoint, want)
		}
		if f := wantAnswer(t, refresh(srv)).Failure(io.EOF); f.Cause != io.EOF || f.Code != c.code {
			t.Errorf("%d %.80s with a cause: %+v", c.status, c.body, f)
		}
	}
}

// TestFailureRedacts: servers echo what they were sent, more or less disguised.
func TestFailureRedacts(t *testing.T) {
	secret := "planted&+/re=<fresh &tok<en+01& 23/45<67=&89ab" // no 16 bytes that escaping leaves alone
	other := "AbCdEfGhIjKlMnOp+/"                              // a client secret
	basic := base64.StdEncoding.EncodeToString([]byte("app:" + url.QueryEscape(other)))
	for name, echo := range map[string]string{
		"refresh token":     "unknown token " + secret + ", sorry",
		"upper case":        strings.ToUpper(secret),
		"first 16 bytes":    "token " + secret[:16] + "...",
		"last 16 bytes":     "token ..." + secret[len(secret)-16:],
		"query":             "token=" + url.QueryEscape(secret),
		"path":              url.PathEscape(secret),
		"HTML":              "&lt;b&gt;" + strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(secret),
		"hexadecimal":       fmt.Sprintf("token %x", secret),
		"base64":            base64.RawURLEncoding.EncodeToString([]byte("x" + secret)),
		"quoted":            fmt.Sprintf("token %+q", secret),
		"broken up":         secret[:10] + "\r\n" + secret[10:20] + "\u200b" + secret[20:],
		"across the cut":    strings.Repeat("x", 195) + secret,
		"client secret":     "bad secret " + other,
		"Basic":             "bad header Basic " + basic,
		"credentials":       "bad credentials " + basic,
		"escaped in header": "bad secret " + url.QueryEscape(other),
		"what is attached":  "bad token " + plantedAccess,
	} {
		for _, member := range []string{"error", "error_description"} {
			body, err := json.Marshal(map[string]string{member: echo})
			if err != nil {
				t.Fatal(err)
			}
			srv, _ := serve(t, answer(400, "application/json", string(body)))
			c := refresh(srv)
			c.Params[1].Value = secret
			c.Secrets = []string{plantedAccess}
			c.Authenticate = func(_ context.Context, _ string, _ url.Values, header http.Header) error {
				header.Set("Authorization", "Basic "+basic)
				return nil
			}
			if f := wantAnswer(t, c).Failure(nil); f.Code+f.Description != "[redacted]" {
				t.Errorf("%s as %s: %q, %q", name, member, f.Code, f.Description)
			}
		}
	}
}

// TestFailureOfLongToken: a token endpoint that issues half a megabyte does not make its
// next error take seconds. What the search does is counted in package redact.
func TestFailureOfLongToken(t *testing.T) {
	long := strings.Repeat("0123456789abcdeF", 480<<10/16)
	srv, _ := serve(t, answer(400, "application/json", `{"error":"x","error_description":"`+long[8:4<<10]+`"}`))
	c := refresh(srv)
	c.Params[1].Value = long
	if f := wantAnswer(t, c).Failure(nil); f.Code != "x" || f.Description != "[redacted]" {
		t.Errorf("%q, %q", f.Code, f.Description)
	}
}

// TestFailureKeepsWhatIsNoSecret: an error that names the wrong parameter is worth a lot.
func TestFailureKeepsWhatIsNoSecret(t *testing.T) {
	srv, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		_, _ = fmt.Fprintf(w, `{"error":"invalid_target","error_description":"%s %s %s"}`, r.FormValue("audience"), r.FormValue("scope"), r.FormValue("client_id"))
	})
	c := refresh(srv)
	c.Params = append(c.Params,
		endpoint.Param{Name: "client_id", Value: "my-application-id"},
		endpoint.Param{Name: "scope", Value: "read:everything-there-is"},
		endpoint.Param{Name: "audience", Value: "https://api.example.com/v2"})
	if f := wantAnswer(t, c).Failure(nil); f.Description != "https://api.example.com/v2 read:everything-there-is my-application-id" {
		t.Errorf("Description = %q", f.Description)
	}
}

// TestFailureKeepsTheNamesOfTypes: they are the same for everybody, and the tokens are not.
func TestFailureKeepsTheNamesOfTypes(t *testing.T) {
	const kind = "urn:ietf:params:oauth:token-type:access_token"
	for name, shown := range map[string]bool{
		"subject_token_type": true, "actor_token_type": true, "requested_token_type": true, "client_assertion_type": true,
		"subject_token": false, "actor_token": false, "assertion": false, "client_assertion": false, "another": false,
	} {
		srv, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			_, _ = fmt.Fprintf(w, `{"error":"invalid_request","error_description":"no %s"}`, r.FormValue(name))
		})
		c := refresh(srv)
		c.Params = append(c.Params, endpoint.Param{Name: name, Value: kind})
		want := "[redacted]"
		if shown {
			want = "no " + kind
		}
		if f := wantAnswer(t, c).Failure(nil); f.Description != want {
			t.Errorf("%s: Description = %q, want %q", name, f.Description, want)
		}
	}
}

// TestTransportErrors: what a transport says is passed on, but for its secrets and the
// query of the URL.
func TestTransportErrors(t *testing.T) {
	broken := errors.New("broken pipe")
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: broken}
	const left = "the call failed; why is left out, because it may hold a secret"
	for name, c := range map[string]struct {
		err, is error
		says    string
	}{
		"plain":                {broken, broken, "broken pipe"},
		"wrapped":              {fmt.Errorf("write: %w", broken), broken, "write: broken pipe"},
		"of the net":           {dial, dial, "dial tcp: broken pipe"},
		"with URL":             {&url.Error{Op: "Post", URL: "https://x/?key=planted", Err: broken}, broken, "broken pipe"},
		"with URL, twice":      {fmt.Errorf("proxy: %w", &url.Error{Op: "Get", URL: "planted", Err: &url.Error{Op: "Get", URL: "planted", Err: broken}}), broken, "broken pipe"},
		"echo":                 {errors.New("cannot send " + plantedRefresh), nil, left},
		"echo of a secret":     {errors.New("cannot send " + plantedSecret), nil, left},
		"echo, in hexadecimal": {fmt.Errorf("cannot send %x", plantedRefresh), nil, left},
		"echo, too late":       {errors.Join(errors.New(plantedRefresh), context.DeadlineExceeded), context.DeadlineExceeded, left},
		"echo, left":           {errors.Join(errors.New(plantedRefresh), context.Canceled), context.Canceled, left},
		"long":                 {errors.New(strings.Repeat("x", 5000)), nil, left},
	} {
		call := refreshAt("https://auth.example.com/refresh?key=planted")
		call.Client = through(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			return nil, c.err
		})
		f := wantFailure(t, t.Context(), call)
		if f.Cause.Error() != c.says || f.NotPresented {
			t.Errorf("%s: %+v, want %q", name, f, c.says)
		}
		if c.is != nil && !errors.Is(f.Cause, c.is) {
			t.Errorf("%s: %v is not %v", name, f.Cause, c.is)
		}
		call.Client = through(func(req *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Request: req, Body: io.NopCloser(failingReader{c.err})}, nil
		})
		if f := wantFailure(t, t.Context(), call); f.Cause.Error() != "the answer broke off: "+c.says || c.is != nil && !errors.Is(f.Cause, c.is) {
			t.Errorf("%s, in the answer: %+v", name, f)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestRetryAfter(t *testing.T) {
	date := time.Now().UTC()
	at := func(d time.Duration) string { return date.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		retryAfter, date string
		min, max         time.Duration
	}{
		{"", "", 0, 0},
		{"7", "", 7 * time.Second, 7 * time.Second},
		{" 7 ", "", 7 * time.Second, 7 * time.Second},
		{"1.5", "", 1500 * time.Millisecond, 1500 * time.Millisecond},
		{"0", "", 0, 0},
		{"-7", "", 0, 0},
		{"86400", "", 10 * time.Minute, 10 * time.Minute},
		{"99999999999999999999", "", 10 * time.Minute, 10 * time.Minute},
		{"soon", "", 0, 0},
		{at(time.Minute), "", 50 * time.Second, time.Minute},
		{at(-time.Minute), "", 0, 0},
		{at(24 * time.Hour), "", 10 * time.Minute, 10 * time.Minute},
		{at(time.Hour + time.Minute), at(time.Hour), time.Minute, time.Minute}, // the server's clock is one hour ahead
	} {
		srv, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.date != "" {
				w.Header().Set("Date", c.date)
			}
			w.Header().Set("Retry-After", c.retryAfter)
			w.WriteHeader(503)
		})
		if f := wantAnswer(t, refresh(srv)).Failure(nil); f.RetryAfter < c.min || f.RetryAfter > c.max {
			t.Errorf("%q: %v, want %v to %v", c.retryAfter, f.RetryAfter, c.min, c.max)
		}
	}
}

func BenchmarkFailure(b *testing.B) {
	for _, size := range []int{1 << 10, 480 << 10} {
		body := fmt.Sprintf(`{"error":"invalid_request","error_description":%q}`, strings.Repeat("no token like that, ", 200))
		c := refreshAt("https://auth.example.com/refresh")
		c.Params[1].Value = strings.Repeat("0123456789abcdeF", size/16)
		c.Client = through(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			return &http.Response{StatusCode: 400, Request: req, Body: io.NopCloser(strings.NewReader(body))}, nil
		})
		b.Run(fmt.Sprintf("token=%d", size), func(b *testing.B) {
			for b.Loop() {
				a, f := c.Do(b.Context())
				if f != nil {
					b.Fatal(f)
				}
				if f = a.Failure(nil); f.Code != "invalid_request" {
					b.Fatal(f)
				}
			}
		})
	}
}
