package tokenclient_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

var parseSent = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestParseTokenRealServers reads answers as real servers send them.
func TestParseTokenRealServers(t *testing.T) {
	files, err := filepath.Glob("testdata/token_responses/*.json")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d token responses (%v), want at least 10", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var c struct {
				Sent     time.Time
				Fields   *tokenclient.JSONFields
				Response json.RawMessage
				Want     struct {
					ExpiresAfter        int    `json:"expires_after"`
					RefreshExpiresAfter int    `json:"refresh_expires_after"`
					TokenType           string `json:"token_type"`
					Scope               string
					Refresh             bool
					Extra               []string
				}
			}
			if err := json.Unmarshal(raw, &c); err != nil {
				t.Fatal(err)
			}
			tok, err := tokenclient.ParseToken(c.Response, c.Sent, c.Fields)
			if err != nil {
				t.Fatal(err)
			}
			checkLifetime(t, "Expiry", tok.Expiry, c.Sent, c.Want.ExpiresAfter)
			checkLifetime(t, "RefreshExpiry", tok.RefreshExpiry, c.Sent, c.Want.RefreshExpiresAfter)
			if !tok.Issued.Equal(c.Sent) {
				t.Errorf("Issued = %v, want %v", tok.Issued, c.Sent)
			}
			if tok.TokenType != c.Want.TokenType || tok.Scope != c.Want.Scope {
				t.Errorf("type and scope = %q, %q, want %q, %q", tok.TokenType, tok.Scope, c.Want.TokenType, c.Want.Scope)
			}
			if (tok.RefreshToken != "") != c.Want.Refresh {
				t.Errorf("has refresh token: %v, want %v", tok.RefreshToken != "", c.Want.Refresh)
			}
			slices.Sort(c.Want.Extra)
			if got := slices.Sorted(maps.Keys(tok.Extra)); !slices.Equal(got, c.Want.Extra) {
				t.Errorf("Extra has %q, want %q", got, c.Want.Extra)
			}
			left, err := json.Marshal(tok.Extra)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{tok.AccessToken, tok.RefreshToken} {
				if secret != "" && strings.Contains(string(left), secret) {
					t.Error("a token is in Extra as well")
				}
			}
		})
	}
}

// checkLifetime checks that at is so many seconds after sent, or zero for 0.
func checkLifetime(t *testing.T, name string, at, sent time.Time, seconds int) {
	t.Helper()
	want := sent.Add(time.Duration(seconds) * time.Second)
	if seconds == 0 {
		want = time.Time{}
	}
	if !at.Equal(want) {
		t.Errorf("%s = %v, want %v", name, at, want)
	}
}

func TestParseTokenLifetime(t *testing.T) {
	cap := int(tokenclient.MaxLifetime / time.Second)
	for _, c := range []struct {
		expiresIn string // JSON; "" leaves the member out
		want      int    // seconds; 0: unknown
	}{
		{``, 0},
		{`3600`, 3600},
		{`"3600"`, 3600},
		{`" 3600 "`, 3600},
		{`3600.9`, 3600},
		{`"3600.9"`, 3600},
		{`3.6e3`, 3600},
		{`1`, 1},
		{`0`, 0},
		{`0.9`, 0},
		{`-1`, 0},
		{`"-3600"`, 0},
		{`315360000`, 315360000}, // 10 years
		{`9223372036`, cap},      // the longest time.Duration
		{`9223372037`, cap},
		{`18446744073709551616`, cap},
		{`1e300`, cap},
		{`1e999`, 0},
		{`"inf"`, 0},
		{`"nan"`, 0},
		{`"0x10"`, 0},
		{`"1_000"`, 0},
		{`"soon"`, 0},
		{`""`, 0},
		{`null`, 0},
		{`true`, 0},
		{`[3600]`, 0},
		{`{"seconds":3600}`, 0},
	} {
		t.Run(c.expiresIn, func(t *testing.T) {
			members := ""
			if c.expiresIn != "" {
				members = fmt.Sprintf(`,"expires_in":%s,"refresh_expires_in":%[1]s`, c.expiresIn)
			}
			tok, err := tokenclient.ParseToken([]byte(`{"access_token":"a"`+members+`}`), parseSent, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkLifetime(t, "Expiry", tok.Expiry, parseSent, c.want)
			checkLifetime(t, "RefreshExpiry", tok.RefreshExpiry, parseSent, c.want)
			if tok.Extra != nil {
				t.Errorf("Extra = %v, want nil", tok.Extra)
			}
		})
	}
}

// TestParseTokenLifetimeFallsToJWT: a lifetime that makes no sense is no better
// than none; a good one wins over the claims.
func TestParseTokenLifetimeFallsToJWT(t *testing.T) {
	jwt := testJWT(fmt.Sprintf(`{"iat":%d,"exp":%d}`, parseSent.Unix(), parseSent.Unix()+900))
	for expiresIn, want := range map[string]int{`0`: 900, `-5`: 900, `"soon"`: 900, `null`: 900, `60`: 60} {
		body := fmt.Sprintf(`{"access_token":%q,"expires_in":%s}`, jwt, expiresIn)
		tok, err := tokenclient.ParseToken([]byte(body), parseSent, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkLifetime(t, "Expiry for expires_in "+expiresIn, tok.Expiry, parseSent, want)
	}
}

func TestParseTokenRefuses(t *testing.T) {
	const planted = "planted-secret-token"
	long := `{"access_token":"` + planted + `","x":"` + strings.Repeat("x", 10<<20) + `"}`
	for _, c := range []struct{ name, body, want string }{
		{"empty", "", "answer is empty"},
		{"white space", " \r\n\t", "answer is empty"},
		{"HTML", "\n<!DOCTYPE html><title>" + planted + "</title>", "answer is HTML, not JSON"},
		{"text", planted, "answer is not a JSON object"},
		{"array", `["` + planted + `"]`, "answer is not a JSON object"},
		{"null", `null`, "answer is not a JSON object"},
		{"form", "access_token=" + planted, "answer is not a JSON object"},
		{"10 MiB", long, "answer is longer than 1 MiB"},
		{"truncated", `{"access_token":"` + planted, "answer is cut off: its JSON has no end"},
		{"truncated after a member", `{"access_token":"` + planted + `",`, "answer is cut off: its JSON has no end"},
		{"not JSON", `{access_token:` + planted + `}`, "answer is not valid JSON"},
		{"trailing data", `{"access_token":"` + planted + `"}{}`, "answer has something after its JSON object"},
		{"trailing text", `{"access_token":"` + planted + `"} x`, "answer has something after its JSON object"},
		{"no access token", `{"refresh_token":"` + planted + `"}`, "answer has no access_token"},
		{"empty access token", `{"access_token":"","refresh_token":"` + planted + `"}`, "answer has no access_token"},
		{"null access token", `{"access_token":null,"refresh_token":"` + planted + `"}`, "answer has no access_token"},
		{"number", `{"access_token":12345678901234}`, "access_token in the answer is not a string"},
		{"object", `{"access_token":{"value":"` + planted + `"}}`, "access_token in the answer is not a string"},
		{"line break", `{"access_token":"` + planted + `\r\nX-Evil: 1"}`, "access_token in the answer holds characters that no token may have"},
		{"NUL", `{"access_token":"` + planted + `\u0000"}`, "access_token in the answer holds characters"},
		{"DEL", `{"access_token":"` + planted + `\u007f"}`, "access_token in the answer holds characters"},
		{"not ASCII", `{"access_token":"` + planted + `é"}`, "access_token in the answer holds characters"},
		{"invalid UTF-8", `{"access_token":"` + planted + "\xff" + `"}`, "access_token in the answer holds characters"},
		{"leading space", `{"access_token":" ` + planted + `"}`, "access_token in the answer begins or ends with a space"},
		{"trailing space", `{"access_token":"` + planted + ` "}`, "access_token in the answer begins or ends with a space"},
		{"only a space", `{"access_token":" ","x":"` + planted + `"}`, "access_token in the answer begins or ends with a space"},
		{"line break in the refresh token", `{"access_token":"a","refresh_token":"` + planted + `\n"}`, "refresh_token in the answer holds characters"},
		{"refresh token is a number", `{"access_token":"a","refresh_token":1}`, "refresh_token in the answer is not a string"},
		{"nested too deep", strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), "answer is not valid JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok, err := tokenclient.ParseToken([]byte(c.body), parseSent, nil)
			if err == nil || tok != nil {
				t.Fatalf("ParseToken = %v, %v, want an error", tok, err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
			if strings.Contains(err.Error(), "planted") {
				t.Errorf("error %q shows the answer", err)
			}
		})
	}
}

func TestParseTokenTolerates(t *testing.T) {
	for _, c := range []struct{ name, body string }{
		{"byte order mark", "\xef\xbb\xbf" + `{"access_token":"a"}`},
		{"white space", "\n " + `{"access_token":"a"}` + " \r\n"},
		{"null refresh token", `{"access_token":"a","refresh_token":null}`},
		{"null type", `{"access_token":"a","token_type":null}`},
		{"type with a line break", `{"access_token":"a","token_type":"Bearer\r\nX: y"}`},
		{"type with a space", `{"access_token":"a","token_type":"Bearer x"}`},
		{"type is a number", `{"access_token":"a","token_type":1}`},
		{"exactly 1 MiB", `{"access_token":"a"}` + strings.Repeat(" ", tokenclient.MaxAnswer-len(`{"access_token":"a"}`))},
	} {
		tok, err := tokenclient.ParseToken([]byte(c.body), parseSent, nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if tok.AccessToken != "a" || tok.RefreshToken != "" || tok.TokenType != "" || tok.Extra != nil {
			t.Errorf("%s: read as %q, %q, %q, %v", c.name, tok.AccessToken, tok.RefreshToken, tok.TokenType, tok.Extra)
		}
	}
}

func TestParseTokenScope(t *testing.T) {
	for scope, want := range map[string]string{
		`"a b"`: "a b", `["a","b"]`: "a b", `[]`: "", `""`: "",
	} {
		tok, err := tokenclient.ParseToken([]byte(`{"access_token":"a","scope":`+scope+`}`), parseSent, nil)
		if err != nil || tok.Scope != want || tok.Extra != nil {
			t.Errorf("scope %s: %q, Extra %v, %v; want %q, no Extra", scope, tok.Scope, tok.Extra, err, want)
		}
	}
	tok, err := tokenclient.ParseToken([]byte(`{"access_token":"a","scope":["a",1]}`), parseSent, nil)
	if err != nil || tok.Scope != "" || len(tok.Extra) != 1 {
		t.Errorf("scope that is no scope: %q, Extra %v, %v", tok.Scope, tok.Extra, err)
	}
}

func TestParseTokenExtra(t *testing.T) {
	body := `{"data":{"t":{"access":"a"},"id":12345678901234567890},"wrap":{"refresh":"r"},"flat":true,"t":"top"}`
	tok, err := tokenclient.ParseToken([]byte(body), parseSent, &tokenclient.JSONFields{
		AccessToken: "data.t.access", RefreshToken: "wrap.refresh", TokenType: "flat.x.y", ExpiresIn: "no.where",
	})
	if err != nil {
		t.Fatal(err)
	}
	if tok.AccessToken != "a" || tok.RefreshToken != "r" {
		t.Errorf("tokens = %q, %q", tok.AccessToken, tok.RefreshToken)
	}
	got, err := json.Marshal(tok.Extra)
	if want := `{"data":{"id":12345678901234567890},"flat":true,"t":"top"}`; err != nil || string(got) != want {
		t.Errorf("Extra = %s, %v, want %s", got, err, want)
	}
}

// TestParseTokenSent: a zero sent is now, and stored times have no monotonic
// reading, which stops while a machine sleeps.
func TestParseTokenSent(t *testing.T) {
	before := time.Now()
	tok, err := tokenclient.ParseToken([]byte(`{"access_token":"a","expires_in":60}`), time.Time{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tok.Issued.Before(before.Round(0)) || tok.Issued.After(time.Now().Round(0)) {
		t.Errorf("Issued = %v, want now", tok.Issued)
	}
	for _, at := range []time.Time{tok.Issued, tok.Expiry} {
		if at != at.Round(0) {
			t.Errorf("%v has a monotonic reading", at)
		}
	}
	tok, err = tokenclient.ParseToken([]byte(`{"access_token":"a","expires_in":1e9}`), time.Date(9990, 1, 1, 0, 0, 0, 0, time.UTC), nil)
	if err != nil || !tok.Expiry.IsZero() {
		t.Errorf("an expiry after the year 9999: %v, %v, want none", tok.Expiry, err)
	}
}

func FuzzTokenResponse(f *testing.F) {
	for _, s := range []string{
		`{"access_token":"a","refresh_token":"r","expires_in":3600,"token_type":"bearer","scope":"x y"}`,
		`{"access_token":"a","expires_in":"1e3","refresh_expires_in":-1,"scope":["x"]}`,
		`{"data":{"accessToken":"a","n":1e99}}`,
		`{"access_token":"` + testJWT(`{"iat":1.7e12,"exp":"1700000900000"}`) + `"}`,
		"\xef\xbb\xbf{}", `<html>`, `{"access_token":"a\n"}`, `{"access_token":" "}`, `[]`, ``,
	} {
		f.Add([]byte(s), int64(1772366400))
	}
	f.Fuzz(func(t *testing.T, body []byte, sentUnix int64) {
		const year = 365 * 24 * 3600
		sent := time.Unix(sentUnix%(9000*year), 0)
		for _, fields := range []*tokenclient.JSONFields{nil, {AccessToken: "data.accessToken"}} {
			tok, err := tokenclient.ParseToken(body, sent, fields)
			if err != nil {
				if tok != nil {
					t.Fatalf("both %v and %v", tok, err)
				}
				continue
			}
			for _, s := range []string{tok.AccessToken, tok.RefreshToken} {
				for i := range len(s) {
					if s[i] < 0x20 || s[i] > 0x7e {
						t.Fatalf("%q is not printable", s)
					}
				}
			}
			if tok.AccessToken == "" || strings.TrimSpace(tok.AccessToken) != tok.AccessToken {
				t.Fatalf("access token %q", tok.AccessToken)
			}
			for _, at := range []time.Time{tok.Expiry, tok.RefreshExpiry} {
				if !at.IsZero() && (!at.After(tok.Issued) || at.Sub(tok.Issued) > tokenclient.MaxLifetime || at.UTC().Year() > 9999) {
					t.Fatalf("%v for a token issued %v", at, tok.Issued)
				}
			}
			if tok.Extra != nil && len(tok.Extra) == 0 {
				t.Fatal("an empty Extra")
			}
		}
	})
}
