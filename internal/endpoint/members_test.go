package endpoint_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// clock is that of an answer which came without a Date.
var clock = endpoint.Clock{Sent: issuedAt}

// pack compresses text.
func pack(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.Bytes()
}

func deflate(text string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.Bytes()
}

// wide is text in UTF-16, with its byte order mark.
func wide(text string, high, low int) []byte {
	var b []byte
	for _, u := range append([]uint16{0xfeff}, utf16.Encode([]rune(text))...) {
		b = append(b, byte(u>>high), byte(u>>low))
	}
	return b
}

// pairs are answers that hold an access token "a" and a refresh token "r", by what is odd
// about them.
var pairs = map[string][]byte{
	"plain":                    []byte(`{"access_token":"a","refresh_token":"r"}`),
	"byte order mark":          []byte("\xef\xbb\xbf" + `{"access_token":"a","refresh_token":"r"}`),
	"space, byte order mark":   []byte("\n \xef\xbb\xbf\n" + `{"access_token":"a","refresh_token":"r"}`),
	"white space":              []byte(" \r\n" + `{"access_token":"a","refresh_token":"r"}` + "\t\n"),
	"UTF-16, little end first": wide(`{"access_token":"a","refresh_token":"r"}`, 0, 8),
	"UTF-16, big end first":    wide(`{"access_token":"a","refresh_token":"r"}`, 8, 0),
	"gzip":                     pack(`{"access_token":"a","refresh_token":"r"}`),
	"gzip, twice":              pack(string(pack(`{"access_token":"a","refresh_token":"r"}`))),
	"gzip without its end":     pack(`{"access_token":"a","refresh_token":"r"}`)[:len(pack(`{"access_token":"a","refresh_token":"r"}`))-8],
	"gzip of a form":           pack(`access_token=a&refresh_token=r`),
	"deflate":                  deflate(`{"access_token":"a","refresh_token":"r"}`),

	"comment behind it":       []byte(`{"access_token":"a","refresh_token":"r"}<!-- served by web03 -->`),
	"text behind it":          []byte(`{"access_token":"a","refresh_token":"r"} x`),
	"brace behind it":         []byte(`{"access_token":"a","refresh_token":"r"}}`),
	"NUL behind it":           []byte(`{"access_token":"a","refresh_token":"r"}` + "\x00\x00"),
	"another one behind it":   []byte(`{"access_token":"a","refresh_token":"r"}{"access_token":"b"}`),
	"an empty one before it":  []byte(`{}&&{"access_token":"a","refresh_token":"r"}`),
	"one without before it":   []byte(`{"status":"ok"}` + "\n" + `{"access_token":"a","refresh_token":"r"}`),
	"guard before it":         []byte(")]}',\n" + `{"access_token":"a","refresh_token":"r"}`),
	"while before it":         []byte(`while(1);{"access_token":"a","refresh_token":"r"}`),
	"for before it":           []byte(`for(;;);{"access_token":"a","refresh_token":"r"}`),
	"callback":                []byte(`callback({"access_token":"a","refresh_token":"r"});`),
	"callback, commented":     []byte(`/**/ typeof cb === 'function' && cb({"access_token":"a","refresh_token":"r"});`),
	"warning before it":       []byte("\nWarning: undefined {closure} in /srv/token.php on line 3\n" + `{"access_token":"a","refresh_token":"r"}`),
	"warning in HTML":         []byte("<br />\n<b>Notice</b>: undefined index<br />\n" + `{"access_token":"a","refresh_token":"r"}`),
	"a page before it":        []byte("<html><style>b {color:red}</style><script>f({\"debug\":1, on: 2})</script></html>\n" + `{"access_token":"a","refresh_token":"r"}`),
	"comment before it":       []byte(`<!-- served by web03 -->{"access_token":"a","refresh_token":"r"}`),
	"a list of one":           []byte(`[{"access_token":"a","refresh_token":"r"}]`),
	"a JSON string":           []byte(`"{\"access_token\":\"a\",\"refresh_token\":\"r\"}"`),
	"a JSON string in a body": []byte(`{"statusCode":200,"body":"{\"access_token\":\"a\",\"refresh_token\":\"r\"}"}`),

	"form":                        []byte(`access_token=a&refresh_token=r&expires_in=3600`),
	"form, other order":           []byte(`expires_in=3600&token_type=bearer&access_token=a&refresh_token=r`),
	"form as a query":             []byte(`?access_token=a&refresh_token=r`),
	"form with a line break":      []byte("access_token=a&refresh_token=r\r\n"),
	"form by lines":               []byte("access_token=a\nrefresh_token=r\n"),
	"form with a bad escape":      []byte(`access_token=a&refresh_token=r&x=%zz`),
	"form with JSON in it":        []byte(`access_token=a&refresh_token=r&scope={"x":1}`),
	"form with a byte order mark": []byte("\xef\xbb\xbfaccess_token=a&refresh_token=r"),

	"camel case":              []byte(`{"accessToken":"a","refreshToken":"r"}`),
	"Pascal case":             []byte(`{"AccessToken":"a","RefreshToken":"r"}`),
	"capitals":                []byte(`{"ACCESS_TOKEN":"a","REFRESH_TOKEN":"r"}`),
	"dashes":                  []byte(`{"access-token":"a","refresh-token":"r"}`),
	"the same twice":          []byte(`{"access_token":"a","accessToken":"a","refresh_token":"r","refreshToken":"r"}`),
	"null beside it":          []byte(`{"access_token":null,"accessToken":"a","refresh_token":null,"refreshToken":"r"}`),
	"token":                   []byte(`{"token":"a","refresh_token":"r"}`),
	"token in data":           []byte(`{"code":0,"msg":"success","data":{"token":"a","refreshToken":"r"}}`),
	"access and refresh":      []byte(`{"access":"a","refresh":"r"}`), // Simple JWT
	"objects of their own":    []byte(`{"user":{"id":1},"tokens":{"access":{"token":"a","expires":"2026-03-01T13:00:00Z"},"refresh":{"token":"r","expires":"2026-04-01T13:00:00Z"}}}`),
	"object, access_token":    []byte(`{"access_token":{"token":"a","type":"jwt"},"refresh_token":{"token":"r"}}`),
	"jwt":                     []byte(`{"jwt":"a","refresh_token":"r"}`),
	"body":                    []byte(`{"status":0,"body":{"access_token":"a","refresh_token":"r","userid":"363"}}`), // Withings
	"refresh token around it": []byte(`{"refresh_token":"r","data":{"access_token":"a"}}`),
	"two deep":                []byte(`{"response":{"data":{"access_token":"a","refresh_token":"r"}}}`),
	"three deep":              []byte(`{"a":{"b":{"c":{"access_token":"a","refresh_token":"r"}}}}`),
	"in a list of one":        []byte(`{"data":[{"access_token":"a","refresh_token":"r"}]}`),
	"the user's, Slack":       []byte(`{"ok":true,"authed_user":{"id":"U1","access_token":"a","refresh_token":"r"},"team":{"id":"T1"}}`),
	"the bot's, Slack":        []byte(`{"ok":true,"access_token":"a","refresh_token":"r","authed_user":{"access_token":"other","refresh_token":"other"}}`),
	"error that is none":      []byte(`{"error":null,"error_code":0,"data":{"access_token":"a","refresh_token":"r"}}`),
	"error of code 0":         []byte(`{"error":{"code":0,"message":"success"},"data":{"token":"a","refresh_token":"r"}}`),
	"a warning":               []byte(`{"error":"scope was narrowed","access_token":"a","refresh_token":"r"}`),

	"space around them":        []byte(`{"access_token":" a\n","refresh_token":"r\r\n"}`),
	"wrong types":              []byte(`{"access_token":"a","refresh_token":"r","expires_in":{},"token_type":7,"scope":[1],"refresh_expires_in":[]}`),
	"not UTF-8 elsewhere":      []byte("{\"access_token\":\"a\",\"refresh_token\":\"r\",\"name\":\"M\xfcller\"}"),
	"a line break in a string": []byte("{\"access_token\":\"a\",\"refresh_token\":\"r\",\"note\":\"one\ntwo\"}"),
	"NaN":                      []byte(`{"access_token":"a","refresh_token":"r","expires_in":NaN}`),
	"a comma too many":         []byte(`{"access_token":"a","refresh_token":"r",}`),
	"cut off behind both":      []byte(`{"access_token":"a","refresh_token":"r","id_token":"ey`),
	"cut off in an object":     []byte(`{"data":{"access_token":"a","refresh_token":"r","user":{"na`),
	"longer than is read":      []byte(`{"access_token":"a","refresh_token":"r","x":"` + strings.Repeat("x", endpoint.MaxAnswer) + `"}`),
	"much behind it":           []byte(`{"access_token":"a","refresh_token":"r"}` + strings.Repeat(" ", endpoint.MaxAnswer)),
	"exactly 1 MiB":            []byte(`{"access_token":"a","refresh_token":"r"}` + strings.Repeat(" ", endpoint.MaxAnswer-40)),
}

// TestReadPairs: no answer with a pair in it is dropped, nor any part of the pair.
func TestReadPairs(t *testing.T) {
	for name, body := range pairs {
		got, err := endpoint.Read(body, endpoint.Names{}, clock)
		if err != nil || got.Access != "a" || got.Refresh != "r" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestReadAccess: what is wrong with a refresh token, or left out for none to guess, does
// not cost the access token.
func TestReadAccess(t *testing.T) {
	for body, refresh := range map[string]string{
		`{"access_token":"a","refresh_token":17}`:                                    "17",
		`{"access_token":12345678901234}`:                                            "",
		`{"access_token":"a","refresh_token":{"x":1}}`:                               "",
		`{"access_token":"a","refresh_token":["r"]}`:                                 "",
		`{"access_token":"a","refresh_token":false}`:                                 "",
		`{"access_token":"a","refresh_token":"r\u0000"}`:                             "",
		`{"access_token":"a","refresh_token":"schlüssel"}`:                           "",
		`{"access_token":"a","refresh_token":" r "}`:                                 " r ",
		`{"access_token":"a","expires_in":NaN}`:                                      "",
		`{"x":{"access_token":"a"},oops}`:                                            "",
		`access_token=a&refresh_token=null`:                                          "",
		`{"access_token":"a","refresh_token":"undefined"}`:                           "",
		`{"access_token":"a","refresh_token":" "}`:                                   "",
		`{"access_token":"a",}`:                                                      "",
		`{"data":{"access_token":"a"},"other":{"refresh_token":"not this one's"}}`:   "",
		`{"authed_user":{"access_token":"a"},"bot":{"refresh_token":"x"},"ok":true}`: "",
		`access_token=a`:                       "",
		`access_token=a&refresh_token=%00`:     "",
		`{"token":"a","error":""}`:             "",
		`{"token":"a","tokens":{"token":"a"}}`: "",
	} {
		got, err := endpoint.Read([]byte(body), endpoint.Names{}, clock)
		if err != nil || got.Access == "" || got.Refresh != refresh {
			t.Errorf("%s: %+v, %v, want the refresh token %q", body, got, err, refresh)
		}
	}
}

// TestReadNothing: what holds no access token, or several of which none is the one, is an
// error that shows nothing.
func TestReadNothing(t *testing.T) {
	const no = "answer has no access_token"
	for body, want := range map[string]string{
		"":                         "answer is empty",
		" \n":                      "answer is empty",
		"\n<!DOCTYPE html>planted": "answer is HTML, not JSON",
		`<html><script>var config={"access_token":"planted"}</script></html>`:      "answer is HTML, not JSON",
		`<html><script>var config={"token":"planted-csrf"};</script><form></html>`: "answer is HTML, not JSON",
		"planted":     "answer is not a JSON object",
		`["planted"]`: "answer is not a JSON object",
		`"planted"`:   "answer is not a JSON object",
		`null`:        "answer is not a JSON object",
		`[{"access_token":"planted"},{"access_token":"planted2"}]`: "answer is a list of several JSON objects",
		`{"planted":`:                                            "answer is cut off: its JSON has no end",
		`{"access_token":"planted`:                               "answer is cut off: its JSON has no end",
		`{"access_token":"planted"`:                              "answer is cut off: its JSON has no end", // a refresh token may have followed
		`{"access_token":"planted",`:                             "answer is cut off: its JSON has no end",
		`{"access_token":"planted","refresh_token":"planted`:     "answer is cut off: its JSON has no end",
		`{"access_token":"planted","x":nan,"refresh_token":"r"}`: "answer is not valid JSON",
		`{planted}`:                   "answer is not valid JSON",
		`{}`:                          no,
		`{"refresh_token":"planted"}`: no,
		`{"access_token":"","refresh_token":"planted"}`: no,
		`{"access_token":null}`:                         no,
		`{"access_token":" "}`:                          no,
		`{"access_token":false}`:                        no,
		`{"access_token":0}`:                            no,
		`{"access_token":{"value":"planted"}}`:          "access_token in the answer is not a string",
		`{"access_token":["planted"]}`:                  "access_token in the answer is not a string",
		`{"access_token":"planted\u0000"}`:              "access_token in the answer holds characters that no token may have (RFC 6749, appendix A)",
		`{"access_token":"a\r\nX: planted"}`:            "access_token in the answer holds characters that no token may have (RFC 6749, appendix A)",
		`{"access_token":"plantedé"}`:                   "access_token in the answer holds characters that no token may have (RFC 6749, appendix A)",
		`{"access_token":"error: planted is expired by 23m58s","refresh_token":""}`: "access_token in the answer is an error message", // Casdoor
		`{"id_token":"planted"}`:                                    no,
		`{"ok":false,"token":"planted"}`:                            no,
		`access_token=null&refresh_token=planted`:                   no,
		`{"error":"invalid","token":"planted"}`:                     no,
		`{"error":{"code":7},"request":{"access_token":"planted"}}`: no, // an echo
		`{"user":{"token":"planted"}}`:                              no,
		`{"csrf":{"token":"planted"}}`:                              no,
		`{"a":{"b":{"c":{"d":{"access_token":"planted"}}}}}`:        no,
		`{"status":"fail","data":{"token":"planted"}}`:              no, // JSend
		`{"statusCode":403,"token":"planted"}`:                      no,
		`{"code":401,"data":{"token":"planted"}}`:                   no,
		`{"token":17}`:                                                    no,
		`{"token":"a sentence, planted"}`:                                 no,
		`{"token":"planted","jwt":"other"}`:                               no + ", and several members that may be it: name the right one in JSONFields.AccessToken",
		`{"a":{"access_token":"planted"},"b":{"access_token":"other"}}`:   no + ", and several members that may be it: name the right one in JSONFields.AccessToken",
		`error=invalid_grant`:                                             no,
		`access_token=`:                                                   no,
		`{"x":"` + strings.Repeat("x", endpoint.MaxAnswer) + `"}`:         "answer is longer than 1 MiB",
		strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000): "answer is not valid JSON",
		string(pack("")):                                                  "answer is not a JSON object",
		string(pack(strings.Repeat(" ", endpoint.MaxAnswer+1))):           "answer is empty",
	} {
		got, err := endpoint.Read([]byte(body), endpoint.Names{}, clock)
		if err == nil || got != nil || err.Error() != want && !strings.HasPrefix(body, "\x1f") {
			t.Errorf("%.70s: %+v, %v, want %s", body, got, err, want)
		}
	}
}

// noTokens are texts in the place of a token that are none.
var noTokens = []string{
	"null", "undefined", "none", "nil", "<nil>", "<null>", "(null)", "<no value>", "[object object]", "nan", "n/a", "false", "true",
	"invalid", "expired", "revoked", "denied", "missing", "required", "malformed", "unknown", "unauthorized", "forbidden", "error",
	"failed", "inactive",
}

// TestReadNoTokens: what a server's language prints for nothing, and what it says is wrong, is
// not a token: neither one to send nor one to lose the session's own for.
func TestReadNoTokens(t *testing.T) {
	for _, text := range append([]string{"NULL", "None", "Expired", "********"}, noTokens...) {
		for _, body := range []string{`{"access_token":%q}`, `{"data":{"access_token":%q}}`, `{"token":%q}`, `{"access":%q}`} {
			if got, err := endpoint.Read(fmt.Appendf(nil, body, text), endpoint.Names{}, clock); err == nil {
				t.Errorf(body+": %+v", text, got)
			}
		}
		got, err := endpoint.Read(fmt.Appendf(nil, `{"access_token":"a","refresh_token":%q}`, text), endpoint.Names{}, clock)
		if err != nil || got.Access != "a" || got.Refresh != "" {
			t.Errorf("refresh token %q: %+v, %v", text, got, err)
		}
	}
}

// TestReadNames: what the program says goes first, and the guesses follow.
func TestReadNames(t *testing.T) {
	names := endpoint.Names{AccessToken: "data.t.access", RefreshToken: "wrap.refresh", TokenType: "data.kind", ExpiresIn: "no.where"}
	for _, c := range []struct{ body, access, refresh, kind, extra string }{
		{`{"data":{"t":{"access":"a"},"id":12345678901234567890,"kind":"jwt"},"wrap":{"refresh":"r"},"flat":true,"t":"top"}`,
			"a", "r", "jwt", `{"data":{"id":12345678901234567890},"flat":true,"t":"top"}`},
		{`{"data":{"t":{"access":"a"}},"wrap":"x"}`, "a", "", "", `{"wrap":"x"}`},
		{`{"data":{"t":{"access":"a","refreshToken":"r"}}}`, "a", "r", "", `null`},
		{`{"data":{"t":{"access":"a"}},"meta":{},"access_token":"other","refresh_token":"the other's"}`, "a", "", "",
			`{"access_token":"other","meta":{},"refresh_token":"the other's"}`},
		{`{"access_token":"a","refresh_token":"r","data":{}}`, "a", "r", "", `{"data":{}}`},
		{`{"data":{"access_token":"a","refresh_token":"r"}}`, "a", "r", "", `null`},
		{`{"access_token":"a","accessToken":"other"}`, "a", "", "", `{"accessToken":"other"}`},
		{`data.t.access=a&wrap.refresh=r&x=1`, "a", "r", "", `{"x":"1"}`},
	} {
		got, err := endpoint.Read([]byte(c.body), names, clock)
		if err != nil {
			t.Errorf("%s: %v", c.body, err)
			continue
		}
		extra, _ := json.Marshal(got.Extra)
		if got.Access != c.access || got.Refresh != c.refresh || got.Type != c.kind || string(extra) != c.extra {
			t.Errorf("%s: %+v, Extra %s, want %s", c.body, got, extra, c.extra)
		}
	}
	if got, err := endpoint.Read([]byte(`{"token":"a"}`), endpoint.Names{AccessToken: "jwt"}, clock); err == nil {
		t.Errorf("a name that was given: guessed %+v", got)
	}
}

// TestReadTheRest: what is no type, lifetime or scope is as good as none.
func TestReadTheRest(t *testing.T) {
	for _, c := range []struct {
		value, kind string
		lifetime    time.Duration
		scope       string
		stays       bool // as a scope
	}{
		{`"Bearer"`, "Bearer", 0, "Bearer", false},
		{`"Bearer x"`, "", 0, "Bearer x", false},
		{`"a\r\nX: y"`, "", 0, "a\r\nX: y", false},
		{`"3600"`, "3600", time.Hour, "3600", false},
		{`3600.9`, "", time.Hour, "", true},
		{`0.9`, "", 0, "", true},
		{`-1`, "", 0, "", true},
		{`1e300`, "", endpoint.MaxLifetime, "", true},
		{`1e999`, "", 0, "", true},
		{`"0x10"`, "0x10", 0, "0x10", false},
		{`["a","b"]`, "", 0, "a b", false},
		{`["a",1]`, "", 0, "", true},
		{`[]`, "", 0, "", false},
		{`null`, "", 0, "", true},
	} {
		got, err := endpoint.Read(fmt.Appendf(nil, `{"access_token":"a","token_type":%s,"expires_in":%[1]s,"scope":%[1]s}`, c.value), endpoint.Names{}, clock)
		if err != nil {
			t.Fatal(err)
		}
		if got.Type != c.kind || !got.Expiry.Equal(endpoint.Expiry(issuedAt, c.lifetime)) || got.Scope != c.scope || (len(got.Extra) == 1) != c.stays {
			t.Errorf("%s: %+v", c.value, got)
		}
	}
}

// TestReadNearest: the type that counts is the one beside the access token, and what is farther
// away only where that says none.
func TestReadNearest(t *testing.T) {
	for body, want := range map[string]string{
		`{"token_type":"user","data":{"access_token":"a","token_type":"DPoP"}}`:  "DPoP",
		`{"token_type":"user","data":{"access_token":"a","token_type":""}}`:      "user",
		`{"token_type":"user","data":{"access_token":"a","token_type":"a b"}}`:   "user",
		`{"token_type":"user","data":{"access_token":"a"}}`:                      "user",
		`{"data":{"access_token":"a"},"other":{"token_type":"another token's"}}`: "",
	} {
		got, err := endpoint.Read([]byte(body), endpoint.Names{}, clock)
		if err != nil || got.Type != want {
			t.Errorf("%s: %+v, %v, want the type %q", body, got, err, want)
		}
	}
}

// TestReadCharacters: a token may have each character that RFC 6749, appendix A, lets it have
// (VSCHAR), and no other; a type goes into a header before a space, and may have none.
func TestReadCharacters(t *testing.T) {
	for r := rune(1); r <= 0xff; r++ {
		text := "a" + string(r) + "b"
		body, err := json.Marshal(map[string]string{"access_token": text, "refresh_token": text, "token_type": text})
		if err != nil {
			t.Fatal(err)
		}
		got, err := endpoint.Read(body, endpoint.Names{}, clock)
		if visible := r >= 0x20 && r <= 0x7e; visible != (err == nil) {
			t.Errorf("%q: %v", text, err)
		} else if !visible {
			continue
		}
		if kind := strings.Replace(text, "a b", "", 1); got.Access != text || got.Refresh != text || got.Type != kind {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// FuzzRead: no answer with a usable access token is dropped, and what is read can be used.
func FuzzRead(f *testing.F) {
	for _, body := range pairs {
		if len(body) < 10000 {
			f.Add(body)
		}
	}
	for _, s := range []string{`{"access_token":"planted-`, `<html>`, `[]`, ``, `{"error":"x","request":{"access_token":"a"}}`, `"\"{"`, `{"a":{"b":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, names := range []endpoint.Names{{}, {AccessToken: "data.token", RefreshToken: "data.r", ExpiresIn: "data.e", ExpiresAt: "data.at"}} {
			got, err := endpoint.Read(body, names, clock)
			if err != nil {
				if got != nil || strings.Contains(err.Error(), "planted") {
					t.Fatalf("%+v, %v", got, err)
				}
				if usable(body) {
					t.Fatalf("dropped: %v", err)
				}
				continue
			}
			for _, s := range []string{got.Access, got.Refresh} {
				if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Fatalf("token %q", s)
				}
			}
			if got.Access == "" || strings.TrimSpace(got.Access) != got.Access {
				t.Fatalf("access token %q", got.Access)
			}
			if strings.ContainsFunc(got.Type, func(r rune) bool { return r <= ' ' || r > '~' }) {
				t.Fatalf("type %q", got.Type)
			}
			for _, at := range []time.Time{got.Expiry, got.RefreshExpiry} {
				if !at.IsZero() && (!at.After(issuedAt) || at.Sub(issuedAt) > endpoint.MaxLifetime) {
					t.Fatalf("expiry %v", at)
				}
			}
			if got.Extra != nil && len(got.Extra) == 0 {
				t.Fatal("an empty Extra")
			}
		}
	})
}

// usable reports whether body has, by the letter of RFC 6749, section 5.1, an access token
// that can be sent.
func usable(body []byte) bool {
	var m map[string]any
	if len(body) > endpoint.MaxAnswer || json.Unmarshal(body, &m) != nil {
		return false
	}
	s, _ := m["access_token"].(string)
	return s != "" && !slices.Contains(noTokens, strings.ToLower(s)) && strings.Trim(s, "*") != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
