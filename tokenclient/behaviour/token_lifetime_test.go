package behaviour_test

import (
	"encoding/base64"
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

// maxLifetime is a bound, as it is documented.
const maxLifetime = 100 * 365 * 24 * time.Hour

var parseSent = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testJWT is a JWT with these claims and a signature that nothing looks at.
func testJWT(claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"HS256"}`)) + "." + enc([]byte(claims)) + ".c2ln"
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
	cap := int(maxLifetime / time.Second)
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
				if !at.IsZero() && (!at.After(tok.Issued) || at.Sub(tok.Issued) > maxLifetime || at.UTC().Year() > 9999) {
					t.Fatalf("%v for a token issued %v", at, tok.Issued)
				}
			}
			if tok.Extra != nil && len(tok.Extra) == 0 {
				t.Fatal("an empty Extra")
			}
		}
	})
}

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
