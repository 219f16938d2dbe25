package tokenclient_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

var parseSent = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

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
		{"10 MiB", long, "answer is longer than 1 MiB"},
		{"truncated", `{"access_token":"` + planted, "answer is cut off: its JSON has no end"},
		{"truncated after a member", `{"access_token":"` + planted + `",`, "answer is cut off: its JSON has no end"},
		{"not JSON", `{access_token:` + planted + `}`, "answer is not valid JSON"},
		{"no access token", `{"refresh_token":"` + planted + `"}`, "answer has no access_token"},
		{"empty access token", `{"access_token":"","refresh_token":"` + planted + `"}`, "answer has no access_token"},
		{"null access token", `{"access_token":null,"refresh_token":"` + planted + `"}`, "answer has no access_token"},
		{"object", `{"access_token":{"value":"` + planted + `"}}`, "access_token in the answer is not a string"},
		{"line break", `{"access_token":"` + planted + `\r\nX-Evil: 1"}`, "access_token in the answer holds characters that no token may have"},
		{"NUL", `{"access_token":"` + planted + `\u0000"}`, "access_token in the answer holds characters"},
		{"DEL", `{"access_token":"` + planted + `\u007f"}`, "access_token in the answer holds characters"},
		{"not ASCII", `{"access_token":"` + planted + `é"}`, "access_token in the answer holds characters"},
		{"invalid UTF-8", `{"access_token":"` + planted + "\xff" + `"}`, "access_token in the answer holds characters"},
		{"only a space", `{"access_token":" ","x":"` + planted + `"}`, "answer has no access_token"},
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
		{"form", "access_token=a"},
		{"trailing data", `{"access_token":"a"}{}`},
		{"trailing text", `{"access_token":"a"} x`},
		{"leading space", `{"access_token":" a"}`},
		{"trailing space", `{"access_token":"a "}`},
		{"trailing line break", `{"access_token":"a\n"}`},
		{"NUL in the refresh token", `{"access_token":"a","refresh_token":"r\u0000"}`},
		{"byte order mark", "\xef\xbb\xbf" + `{"access_token":"a"}`},
		{"white space", "\n " + `{"access_token":"a"}` + " \r\n"},
		{"null refresh token", `{"access_token":"a","refresh_token":null}`},
		{"null type", `{"access_token":"a","token_type":null}`},
		{"type with a line break", `{"access_token":"a","token_type":"Bearer\r\nX: y"}`},
		{"type with a space", `{"access_token":"a","token_type":"Bearer x"}`},
		{"type is a number", `{"access_token":"a","token_type":1}`},
		{"exactly 1 MiB", `{"access_token":"a"}` + strings.Repeat(" ", 1<<20-len(`{"access_token":"a"}`))},
	} {
		tok, err := tokenclient.ParseToken([]byte(c.body), parseSent, nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.name == "NUL in the refresh token" { // it was not read
			tok.Extra = nil
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

// TestParseTokenNumbers: a token that is a number is its text, digit by digit.
func TestParseTokenNumbers(t *testing.T) {
	tok, err := tokenclient.ParseToken([]byte(`{"access_token":12345678901234567890,"refresh_token":17}`), parseSent, nil)
	if err != nil || tok.AccessToken != "12345678901234567890" || tok.RefreshToken != "17" {
		t.Errorf("%v, %v", tok, err)
	}
}

// TestParseTokenAbsoluteExpiry: who knows the names of the server says them.
func TestParseTokenAbsoluteExpiry(t *testing.T) {
	f := &tokenclient.JSONFields{AccessToken: "session.key", AbsoluteExpiry: "session.till", RefreshAbsoluteExpiry: "session.end"}
	body := `{"session":{"key":"a","till":1772370000,"end":"2026-03-02T12:00:00Z","id":7}}`
	tok, err := tokenclient.ParseToken([]byte(body), parseSent, f)
	if err != nil || !tok.Expiry.Equal(parseSent.Add(time.Hour)) || !tok.RefreshExpiry.Equal(parseSent.Add(24*time.Hour)) || len(tok.Extra) != 1 {
		t.Errorf("%v, refresh token until %v, Extra %v, %v", tok, tok.RefreshExpiry, tok.Extra, err)
	}
}
