package behaviour_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A dialect writes the answer of a token endpoint as some servers do. It returns the
// Content-Type and the body.
type dialect func(m map[string]any) (contentType, body string)

const jsonType = "application/json"

func asJSON(m any) string {
	b, _ := json.Marshal(m)
	return string(b)
}

// with is m with more members, or others.
func with(m map[string]any, more map[string]any) map[string]any {
	m = maps.Clone(m)
	for name, v := range more {
		if m[name] = v; v == nil {
			delete(m, name)
		}
	}
	return m
}

// around has f change the text of the answer.
func around(contentType string, f func(string) string) dialect {
	return func(m map[string]any) (string, string) { return contentType, f(asJSON(m)) }
}

// changed has the answer with other members.
func changed(more map[string]any) dialect {
	return func(m map[string]any) (string, string) { return jsonType, asJSON(with(m, more)) }
}

func form(contentType string) dialect {
	return func(m map[string]any) (string, string) {
		f := make(url.Values)
		for name, v := range m {
			f.Set(name, fmt.Sprint(v))
		}
		return contentType, f.Encode()
	}
}

func camelCase(m map[string]any) map[string]any {
	c := make(map[string]any)
	for name, v := range m {
		first, rest, _ := strings.Cut(name, "_")
		if rest != "" {
			rest = strings.ToUpper(rest[:1]) + rest[1:]
		}
		c[strings.ReplaceAll(first+rest, "_", "")] = v
	}
	return c
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

func epoch(d time.Duration) int64 { return time.Now().Add(d).Unix() }

var dialects = map[string]dialect{
	"as it is":               changed(nil),
	"text/html":              around("text/html", func(s string) string { return s }),
	"no Content-Type":        around("", func(s string) string { return s }),
	"form":                   form("application/x-www-form-urlencoded"),
	"form, text/plain":       form("text/plain"),
	"form, application/json": form(jsonType),
	"comment behind it":      around(jsonType, func(s string) string { return s + "<!-- x -->" }),
	"value behind it":        around(jsonType, func(s string) string { return s + `{"access_token":"other"}` }),
	"byte order mark":        around(jsonType, func(s string) string { return "\xef\xbb\xbf" + s }),
	"guard":                  around(jsonType, func(s string) string { return ")]}',\n" + s }),
	"while":                  around(jsonType, func(s string) string { return "while(1);" + s }),
	"callback":               around("text/javascript", func(s string) string { return "cb(" + s + ");" }),
	"warning":                around("text/html", func(s string) string { return "<br />\n<b>Notice</b>: x<br />\n" + s }),
	"gzip":                   around(jsonType, gzipped),
	"list of one":            around(jsonType, func(s string) string { return "[" + s + "]" }),
	"string":                 around(jsonType, func(s string) string { return asJSON(s) }),
	"nested": func(m map[string]any) (string, string) {
		return jsonType, asJSON(map[string]any{"status": 0, "body": m})
	},
	"nested twice": func(m map[string]any) (string, string) {
		return jsonType, asJSON(map[string]any{"ok": true, "response": map[string]any{"data": m}})
	},
	"the user's": func(m map[string]any) (string, string) {
		return jsonType, asJSON(map[string]any{"ok": true, "authed_user": m})
	},
	"camel case": func(m map[string]any) (string, string) { return jsonType, asJSON(camelCase(m)) },
	"camel case, nested": func(m map[string]any) (string, string) {
		return jsonType, asJSON(map[string]any{"data": camelCase(m)})
	},
	"token": func(m map[string]any) (string, string) {
		return jsonType, asJSON(with(m, map[string]any{"access_token": nil, "token": m["access_token"]}))
	},
	"access and refresh": func(m map[string]any) (string, string) {
		return jsonType, asJSON(map[string]any{"access": m["access_token"], "refresh": m["refresh_token"]})
	},
	"line break behind the tokens": func(m map[string]any) (string, string) {
		return jsonType, asJSON(with(m, map[string]any{"access_token": m["access_token"].(string) + "\n", "refresh_token": m["refresh_token"].(string) + "\n"}))
	},
	"type of RFC 8693":     changed(map[string]any{"token_type": "urn:ietf:params:oauth:token-type:access_token"}),
	"jwt-bearer":           changed(map[string]any{"token_type": "jwt-bearer"}),
	"N_A":                  changed(map[string]any{"token_type": "N_A"}),
	"type of a wrong type": changed(map[string]any{"token_type": []int{1}}),
	"no type":              changed(map[string]any{"token_type": ""}),
	"wrong types":          changed(map[string]any{"expires_in": map[string]any{}, "scope": 7, "refresh_expires_in": "x"}),
	"epoch": func(m map[string]any) (string, string) {
		return changed(map[string]any{"expires_in": epoch(15 * time.Minute)})(m)
	},
	"milliseconds": changed(map[string]any{"expires_in": 900000}),
	"expires_at": func(m map[string]any) (string, string) {
		return changed(map[string]any{"expires_in": nil, "expires_at": time.Now().Add(15 * time.Minute).Format(time.RFC3339)})(m)
	},
	"expires_at in milliseconds": func(m map[string]any) (string, string) {
		return changed(map[string]any{"expires_in": nil, "expires_at": epoch(15*time.Minute) * 1000})(m)
	},
	"an error that is none": changed(map[string]any{"error": nil, "error_description": ""}),
}

// speak has the token endpoint answer refreshes in d: each answer that brought tokens.
func speak(d dialect) sessiontest.Change {
	return func(c *tokenclient.Config, srv *tokentest.Server) {
		r := srv.OAuth2Refresher()
		base := r.HTTPClient.Transport
		r.HTTPClient = &http.Client{Transport: sessiontest.RoundTrip(func(req *http.Request) (*http.Response, error) {
			resp, err := base.RoundTrip(req)
			if err != nil || resp.StatusCode != 200 {
				return resp, err
			}
			var m map[string]any
			if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
				return nil, err
			}
			_ = resp.Body.Close()
			contentType, body := d(m)
			resp.Header.Set("Content-Type", contentType)
			resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			return resp, nil
		})}
		c.Refresher = r
	}
}

// TestAnswersInDialects: whatever way a server answers in, no pair is lost and nothing is
// presented twice, with a store of files and a server that takes a second presentation for
// theft.
func TestAnswersInDialects(t *testing.T) {
	if len(dialects) < 30 {
		t.Fatalf("%d dialects, want at least 30", len(dialects))
	}
	for name, d := range dialects {
		files, err := store.NewFile(filepath.Join(t.TempDir(), "tokens"), store.Plaintext())
		if err != nil {
			t.Fatal(err)
		}
		sessiontest.Bubble(t, name, func(t *testing.T) {
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, func(c *tokenclient.Config, srv *tokentest.Server) {
				speak(d)(c, srv)
				sessiontest.Kept(files)(c, srv)
			})
			r.Login(t)
			for n := range 3 {
				r.Server.RevokeAccess("alice")
				r.WantGet(t, 200)
				r.WantRefreshes(t, n+1)
			}
			if n := r.Server.Counters().Reuses; n != 0 {
				t.Errorf("%d second presentations", n)
			}
			now, err := r.Session.Peek(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(now.Expiry); left < 14*time.Minute || left > 15*time.Minute {
				t.Errorf("the token is good for %v, want about 15 minutes", left)
			}
		})
	}
}

// TestAnswersThatCannotBeRead: after a complete success that brought no token the refresh
// token is presented again, but not at once, by whomever.
func TestAnswersThatCannotBeRead(t *testing.T) {
	for _, body := range []string{
		"", "<html>log in to the network</html>", "welcome", "[]", "null", `{}`, `{"ok":true}`, `{"access_token":""}`,
		`{"access_token":"a` + "\x01" + `"}`, `{"access_token":"a","refresh_token":"r`, `access_token=`, `{"error":"server_busy"}`,
		`{"token":"x","jwt":"y"}`, gzipped("<html>"), `{"x":"` + strings.Repeat("x", 2<<20) + `"}`,
	} {
		sessiontest.Bubble(t, fmt.Sprintf("%.40s", body), func(t *testing.T) {
			r := sessiontest.New(t, &tokentest.Options{InMemory: true, ReuseGrace: time.Minute}, nil)
			r.Login(t)
			r.Server.RevokeAccess("alice")
			r.Server.FailRefresh(1, tokentest.Fault{Status: 200, Body: body, AfterCommit: true})
			sessiontest.Crowd(10, func() {
				for range 5 {
					_, err := r.Get(t.Context())
					sessiontest.WantTransient(t, "GET", err)
				}
			})
			r.WantRefreshes(t, 1)
			time.Sleep(900 * time.Millisecond)
			if _, err := r.Get(t.Context()); err == nil {
				t.Error("presented again within a second")
			}
			r.WantRefreshes(t, 1)
			time.Sleep(time.Second)
			r.WantGet(t, 200) // the server still has its grace
			r.WantRefreshes(t, 2)
		})
	}
}

// TestAnswersThatAreFinal: the first answer that says that the refresh token is dead ends
// the session, whatever way it is said in, and it is not presented again.
func TestAnswersThatAreFinal(t *testing.T) {
	for name, f := range map[string]tokentest.Fault{
		"UAA":        {Status: 401, Body: `{"error":"invalid_token"}`},
		"Atlassian":  {Status: 403, Body: `{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`},
		"Zoho":       {Status: 200, Body: `{"error":"invalid_code"}`},
		"GitHub":     {Status: 200, Body: `{"error":"bad_refresh_token"}`},
		"form":       {Status: 400, Body: `error=invalid_grant`},
		"capitals":   {Status: 400, Body: `{"errorCode":"INVALID_GRANT"}`},
		"Withings":   {Status: 200, Body: `{"status":503,"error":"Invalid Params: invalid refresh_token"}`},
		"Strava":     {Status: 400, Body: `{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}`},
		"Twitch":     {Status: 400, Body: `{"status":400,"message":"Invalid refresh token"}`},
		"Firebase":   {Status: 400, Body: `{"error":{"code":400,"message":"TOKEN_EXPIRED","status":"INVALID_ARGUMENT"}}`},
		"Supabase":   {Status: 400, Body: `{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token: Refresh Token Not Found"}`},
		"text":       {Status: 401, Body: `Invalid refresh token`},
		"challenge":  {Status: 401, Header: http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}}},
		"wrong type": {Status: 400, Header: http.Header{"Content-Type": {"text/html"}}, Body: `{"error":"invalid_grant"}`},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			r := sessiontest.New(t, &tokentest.Options{InMemory: true}, nil)
			r.Login(t)
			time.Sleep(time.Hour)
			r.Server.FailRefresh(-1, f)
			for range 3 {
				if status, err := r.Get(t.Context()); !errors.Is(err, tokenclient.ErrLoginRequired) {
					t.Errorf("status %d, error %v", status, err)
				}
			}
			r.WantRefreshes(t, 1)
		})
	}
}

// TestAnswersOfForeignRefreshers: a Refresher of the user's spent the old token too, so
// that what cannot be used beside the access token is left out.
func TestAnswersOfForeignRefreshers(t *testing.T) {
	for name, bad := range map[string]*tokenclient.Token{
		"line break in the refresh token": {AccessToken: "T1", RefreshToken: "r\n"},
		"not ASCII":                       {AccessToken: "T1", RefreshToken: "schlüssel"},
		"odd type":                        {AccessToken: "T1", RefreshToken: "R1", TokenType: "Bearer x"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var used string
			refresh := func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
				used += old.RefreshToken
				return bad, nil
			}
			api := func(req *http.Request) (*http.Response, error) {
				if req.Header.Get("Authorization") == "Bearer T1" {
					return sessiontest.Reply(req, 200), nil
				}
				return sessiontest.Reply(req, 401), nil
			}
			r := sessiontest.NewFake(t, refresh, api, nil)
			r.Give(t, sessiontest.Pair("T0", "R0", time.Hour))
			r.WantGet(t, 200)
			now, err := r.Session.Peek(t.Context())
			if err != nil || used != "R0" || now.RefreshToken != "R0" && now.RefreshToken != "R1" || now.TokenType != "" {
				t.Errorf("%s: %q used, %v, %v", name, used, now, err)
			}
		})
	}
}

// TestAnswerEchoesTheRefreshToken: an answer that says what it was sent has no access token in
// it. The refresh token goes to no API.
func TestAnswerEchoesTheRefreshToken(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"message":"could not renew","token":"refresh-1"}`)
	}))
	t.Cleanup(srv.Close)
	for _, c := range []struct {
		access string
		want   bool
	}{{"access-1", false}, {"refresh-1", true}} { // some have one token for both
		s, err := tokenclient.New(tokenclient.Config{
			Refresher: &tokenclient.JSONRefresher{TokenURL: srv.URL, Request: tokenclient.RequestFields{RefreshToken: "token"}},
			Origins:   []string{srv.URL},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: c.access, RefreshToken: "refresh-1"}); err != nil {
			t.Fatal(err)
		}
		_, err = s.Refresh(t.Context())
		if (err == nil) != c.want || errors.Is(err, tokenclient.ErrLoginRequired) {
			t.Errorf("%s: %v", c.access, err)
		}
		if got, err := s.Peek(t.Context()); err != nil || got.AccessToken != c.access {
			t.Errorf("%s: holds %v, %v", c.access, got, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
