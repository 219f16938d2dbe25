package redact_test

import (
	"encoding/ascii85"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
)

// encodings are what programs do to a text that they then print.
var encodings = map[string]func(string) string{
	"none":         func(s string) string { return s },
	"upper case":   strings.ToUpper,
	"query":        url.QueryEscape,
	"query, lower": func(s string) string { return strings.ToLower(url.QueryEscape(s)) },
	"path":         url.PathEscape,
	"path, lower":  func(s string) string { return strings.ToLower(url.PathEscape(s)) },
	"URL's path":   func(s string) string { return (&url.URL{Scheme: "https", Host: "h", Path: "/" + s}).String() },
	"URL's user": func(s string) string {
		return (&url.URL{Scheme: "https", Host: "h", User: url.UserPassword("u", s)}).String()
	},
	"URL's fragment": func(s string) string { return (&url.URL{Host: "h", Fragment: s}).String() },
	"form":           func(s string) string { return url.Values{"a": {"b"}, "c": {s}}.Encode() },
	"HTML":           html.EscapeString,
	"JSON":           func(s string) string { b, _ := json.Marshal(map[string]string{"x": s}); return string(b) },
	"JSON, plain": func(s string) string {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(s)
		return b.String()
	},
	"%q":              strconv.Quote,
	"%+q":             strconv.QuoteToASCII,
	"%x":              func(s string) string { return fmt.Sprintf("%x", s) },
	"%X":              func(s string) string { return fmt.Sprintf("%X", s) },
	"% x":             func(s string) string { return fmt.Sprintf("% x", s) },
	"%v of bytes":     func(s string) string { return fmt.Sprint([]byte(s)) },
	"hex":             func(s string) string { return hex.EncodeToString([]byte(s)) },
	"base64":          func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64, raw":     func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64 URL":      func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"base64 URL, raw": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base32":          func(s string) string { return base32.StdEncoding.EncodeToString([]byte(s)) },
	"base32 hex": func(s string) string {
		return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(s))
	},
	"ascii85": func(s string) string {
		b := make([]byte, ascii85.MaxEncodedLen(len(s)))
		return string(b[:ascii85.Encode(b, []byte(s))])
	},
}

// secrets are as servers issue them and as people choose them. In the last one every
// escape has something to do within any 16 bytes.
var secrets = []string{
	"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImV4cCI6MTc3MjM2NzMwMH0.c2lnbmF0dXJlMDEyMw",
	"4f3c2a1b-98d7-4e6f-a5b4-c3d2e1f00918",
	"1//0gAbCdEfGhIjKlMnOp+qRsTuVwXyZ/0123456789==",
	"correct horse battery staple",
	"planted&+/re=<fresh &tok<en+01& 23/45<67=&89ab\"'\\%",
}

// TestInFindsEncodings: whatever a program of the standard library makes of a secret,
// from wherever on inside of a longer text.
func TestInFindsEncodings(t *testing.T) {
	for _, secret := range secrets {
		for name, encode := range encodings {
			for _, before := range []string{"", "~", "~~", "~~~", "~~~~", "~~~~~", `{"token":"`} {
				for _, after := range []string{"", "!", ", as it was sent"} {
					text := encode(before + secret + after)
					if !(redact.Secrets{"another secret of the same call", secret}).In("error: " + text + ".") {
						t.Errorf("%s of %q, with %q before and %q after: not found in %q", name, secret, before, after, text)
					}
				}
			}
		}
	}
}

// TestInFindsPieces: 16 bytes in a row are a leak, 15 are not.
func TestInFindsPieces(t *testing.T) {
	for _, secret := range append(secrets, secrets[0][:17], secrets[0][:18]) {
		for i := range len(secret) - 15 {
			if piece := secret[i : i+16]; !(redact.Secrets{secret}).In("token "+piece+"...") || !(redact.Secrets{secret}).In(piece) {
				t.Errorf("bytes %d to %d of %q are not found", i, i+16, secret)
			}
			if (redact.Secrets{secret}).In(secret[i : i+15]) {
				t.Errorf("bytes %d to %d of %q are found", i, i+15, secret)
			}
		}
	}
}

// TestInFindsShortSecrets: a password is found whole.
func TestInFindsShortSecrets(t *testing.T) {
	for _, c := range []struct {
		secret, text string
		want         bool
	}{
		{"hunter2", "wrong password hunter2", true},
		{"hunter2", "wrong password HUNTER2", true},
		{"hunter2", "wrong password hunter", false},
		{"a&b", "a&amp;b", true},
		{"a&b", "a%26b", true},
		{"pässword", "no PÄSSWORD", true},
		{"pässword", `no p\u00e4ssword`, true},
		{"pässword", "no p%c3%a4ssword", true},
		{"hunter2", "68756e74657232", true},
		{"hunter2-hunter2", base64.StdEncoding.EncodeToString([]byte("app:hunter2-hunter2")), true},
		{"qwerty", "717765727479", true},
		{"qwerty", "[113 119 101 114 116 121]", true},
		{"qwerty", "EHbu7FEm", true},     // ascii85
		{"hunter2", `no hunter2\`, true}, // cut in the middle of an escape
		{"abc", "YWJj", false},           // any text may have that
		{"abc", "abc", true},
		{"exactly 16 bytes", "was exactly 16 bytes", true},
		{"exactly 16 bytes", "was exactly 16 byte", false},
		{"", "anything", false},
		{"", "", false},
		{"x", "", false},
	} {
		if got := (redact.Secrets{c.secret}).In(c.text); got != c.want {
			t.Errorf("%q in %q: %v", c.secret, c.text, got)
		}
	}
	if (redact.Secrets)(nil).In("x") {
		t.Error("there is a secret in no secrets")
	}
}

// TestInLeavesTheRestAlone: an error that names the cause is worth a lot.
func TestInLeavesTheRestAlone(t *testing.T) {
	for _, text := range []string{
		"dial tcp 127.0.0.1:443: connect: connection refused",
		"tokenclient: token endpoint auth.example.com/oauth2/v1/token: status 400: invalid_scope (no such scope: read:everything)",
		"The refresh token was issued to another client; see https://auth.example.com/errors/4711.",
		"tls: failed to verify certificate: x509: certificate signed by unknown authority",
		"[112 108 97 110]", "0123456789abcdef0123456789abcdef", strings.Repeat("A", 4000),
	} {
		for _, secret := range secrets {
			if (redact.Secrets{secret}).In(text) {
				t.Errorf("%q in %q", secret, text)
			}
		}
	}
}

func TestInOfLongText(t *testing.T) {
	s := redact.Secrets{secrets[0]}
	if long := strings.Repeat("x", 16<<10); s.In(long) || !s.In(long+"x") {
		t.Error("the bound is not 16 KiB")
	}
	if at := strings.Repeat("x", 12<<10) + secrets[0] + strings.Repeat("x", 3<<10); !s.In(at) {
		t.Error("not found in the middle")
	}
}

// TestInBounded counts what a search does for the longest token that an answer can bring,
// with text that shares nothing with it, and with text made to look as if it did.
func TestInBounded(t *testing.T) {
	const size = 480 << 10
	almost := func(c string) string { return strings.Repeat(strings.Repeat(c, 15)+" ", 256) } // no piece of it
	for name, c := range map[string]struct{ secret, text string }{
		"random":       {random(size), random(4 << 10)},
		"other":        {strings.Repeat("<&>\"'", size/5), random(4 << 10)},
		"almost":       {strings.Repeat("x", size), almost("x")},
		"almost, hex":  {strings.Repeat("\"", size), almost("2")},
		"any alphabet": {random(size), strings.Repeat("ABCDEF234567", 4<<10/12)},
		"all escapes":  {random(size), strings.Repeat("%41&amp;\\n+", 4<<10/12)},
		"short text":   {random(size), "no"},
	} {
		steps, indexed := redact.Steps(redact.Secrets{c.secret}, c.text)
		if steps > len(c.secret)*10/9+10 {
			t.Errorf("%s: %d looks for a secret of %d bytes", name, steps, len(c.secret))
		}
		if indexed > 32*len(c.text) {
			t.Errorf("%s: %d bytes of text became %d", name, len(c.text), indexed)
		}
	}
	if steps, _ := redact.Steps(redact.Secrets{random(size)}, random(4<<10)); steps < size/9 || steps > size/8 {
		t.Errorf("%d looks for an opaque token of %d bytes", steps, size)
	}
	if steps, _ := redact.Steps(redact.Secrets{random(size)}, "no piece of it"); steps != 0 {
		t.Errorf("%d looks into text that has no room for a piece", steps)
	}
}

func TestReplace(t *testing.T) {
	access, refresh := "access-token-0123456789", "refresh/token+0123456789"
	s := redact.Secrets{access, "", refresh}
	for text, want := range map[string]string{
		"":                 "",
		"nothing in there": "nothing in there",
		"cannot use " + access + " and " + refresh: "cannot use [redacted] and [redacted]",
		access + access: "[redacted][redacted]",
		"GET /?t=" + url.QueryEscape(refresh) + ": EOF":             "[redacted]",
		"cannot use " + access + " and " + refresh[2:18]:            "[redacted]",
		"cannot use " + strings.ToUpper(access):                     "[redacted]",
		"body " + base64.StdEncoding.EncodeToString([]byte(access)): "[redacted]",
		strings.Repeat("x", 17<<10):                                 "[redacted]",
	} {
		if got := s.Replace(text); got != want {
			t.Errorf("%.80q gave %q, want %q", text, got, want)
		}
	}
	for secret, want := range map[string]string{"k&y=1": "wrong key k%26y%3D1", "k&y=12": "[redacted]"} {
		if got := (redact.Secrets{secret}).Replace("wrong key " + url.QueryEscape(secret)); got != want {
			t.Errorf("%d bytes, escaped: %q, want %q", len(secret), got, want)
		}
	}
	// Tokens of tests are as short as that.
	if got := (redact.Secrets{"q", "z9"}).Replace("cannot use z9 or Q, 7a39"); got != "cannot use [redacted] or Q, 7a39" {
		t.Errorf("short secrets: %q", got)
	}
}

func TestClean(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"as it is", 100, "as it is"},
		{"line\r\nbreak\x1b[31m\u202e\x00\u200b", 100, "linebreak[31m"},
		{"not\xffUTF-8\ufffd", 100, "notUTF-8"},
		{"cut here", 3, "cut"},
		{"cutü", 4, "cut"},
		{"ünï", 100, "ünï"},
	} {
		if got := redact.Clean(c.text, c.limit); got != c.want {
			t.Errorf("%q cut to %d: %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}

func random(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b, r := make([]byte, n), rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

// FuzzIn: a secret that a header may hold is found in every encoding of any text around it.
func FuzzIn(f *testing.F) {
	names := slices.Sorted(maps.Keys(encodings))
	for i := range names {
		f.Add(secrets[i%len(secrets)], "before ", " after", uint8(i))
		f.Add(secrets[(i+1)%len(secrets)], "\xff&<ü", "\"\x00", uint8(i))
	}
	f.Fuzz(func(t *testing.T, secret, before, after string, which uint8) {
		secret = strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, secret)
		if len(secret) < 24 || len(secret)+len(before)+len(after) > 1000 {
			t.Skip()
		}
		s, name := redact.Secrets{secret}, names[int(which)%len(names)]
		text := encodings[name](before + secret + after)
		if !s.In(text) {
			t.Errorf("%s: %q not found in %q", name, secret, text)
		}
		if got := s.Replace(text); s.In(strings.ReplaceAll(got, redact.Mark, " ")) {
			t.Errorf("%s: Replace left %q", name, got)
		}
	})
}

func BenchmarkIn(b *testing.B) {
	for _, size := range []int{1 << 10, 480 << 10} {
		secret := redact.Secrets{random(size)}
		for _, length := range []int{100, 4 << 10} {
			text := random(length)
			b.Run(fmt.Sprintf("secret=%d/text=%d", size, length), func(b *testing.B) {
				for b.Loop() {
					if secret.In(text) {
						b.Fatal("found")
					}
				}
			})
		}
	}
}
