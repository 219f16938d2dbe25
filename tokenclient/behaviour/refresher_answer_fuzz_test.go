package behaviour_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// hasToken reports whether body is an answer of RFC 6749, section 5.1, with an access token
// that can be sent.
func hasToken(body string) bool {
	var m map[string]any
	if len(body) > 1<<20 || json.Unmarshal([]byte(body), &m) != nil {
		return false
	}
	s, _ := m["access_token"].(string)
	return s != "" && s != "null" && s != "undefined" && s != "None" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// FuzzAnswer: whatever a token endpoint answers, an access token that can be used is not
// dropped, nothing panics, no secret shows, and a server that is overloaded or broken ends
// no session.
func FuzzAnswer(f *testing.F) {
	const secret = "planted-refresh-token-0123456789"
	m := map[string]any{"access_token": "a", "refresh_token": "r", "expires_in": 3600, "token_type": "bearer"}
	for _, d := range []string{"as it is", "form", "comment behind it", "warning", "gzip", "nested", "camel case", "string", "access and refresh", "callback"} {
		contentType, body := dialects[d](m)
		f.Add(200, contentType, body, "")
	}
	for _, body := range []string{
		`{"error":"invalid_grant","error_description":"%s is dead"}`, `{"error":"%s"}`, `{"error":{"code":"%s","message":"x"}}`, `error=%s`,
		`{"errors":[{"resource":"RefreshToken","field":"%s","code":"invalid"}]}`, `<html>%s</html>`, `%s`, `{"access_token":"%s`, `{"access_token":{"%s":1}}`,
		`{"status":503,"error":"Invalid Params: invalid refresh_token"}`, `{"code":401,"msg":"x"}`, ``, `[`, `"`, `{"expires_in":1e999,"access_token":"a"}`,
		`{"access_token":"a","refresh_token":17}`, `{"access_token":"a","refresh_token":"r\n"}`, `{"access_token":"a","refresh_token":{}}`,
	} {
		if strings.Contains(body, "%s") {
			body = fmt.Sprintf(body, secret)
		}
		for _, status := range []int{200, 400, 401, 503} {
			f.Add(status, jsonType, body, `Bearer error="invalid_token"`)
		}
	}
	f.Fuzz(func(t *testing.T, status int, contentType, body, challenge string) {
		if status < 200 || status > 599 || status >= 300 && status < 400 {
			return
		}
		client := &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			return &http.Response{StatusCode: status, Request: req, Body: io.NopCloser(strings.NewReader(body)),
				Header: http.Header{"Content-Type": {contentType}, "Www-Authenticate": {challenge}}}, nil
		})}
		for _, r := range []tokenclient.Refresher{
			&tokenclient.OAuth2Refresher{TokenURL: "https://auth.example.com/token", ClientAuth: tokenclient.PublicClient("app"), HTTPClient: client},
			&tokenclient.JSONRefresher{TokenURL: "https://auth.example.com/refresh", HTTPClient: client},
		} {
			sent := time.Now()
			token, err := r.Refresh(t.Context(), &tokenclient.Token{RefreshToken: secret})
			if err == nil {
				if status >= 300 || token.AccessToken == "" || !token.Expiry.IsZero() && token.Expiry.Before(sent) {
					t.Fatalf("status %d: %v", status, token)
				}
				continue
			}
			if status < 300 && hasToken(body) {
				t.Fatalf("dropped: %v", err)
			}
			if strings.Contains(strings.ToLower(fmt.Sprintf("%v %#v", err, err)), secret) {
				t.Fatalf("a secret in %v", err)
			}
			var te *tokenclient.TokenError
			if !errors.As(err, &te) || te.StatusCode != status {
				t.Fatalf("%#v", err)
			}
			if errors.Is(err, tokenclient.ErrLoginRequired) && (status >= 500 || status == 429 || status == 408 || status == 425) {
				t.Fatalf("status %d ends the session: %v", status, err)
			}
		}
	})
}
