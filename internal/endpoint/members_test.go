package endpoint_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

func TestDecode(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{ // want: an error; "": none
		{"object", `{"a":1}`, ""},
		{"byte order mark", "\xef\xbb\xbf" + `{}`, ""},
		{"white space", " \r\n{}\t", ""},
		{"exactly 1 MiB", `{}` + strings.Repeat(" ", endpoint.MaxAnswer-2), ""},
		{"longer", `{}` + strings.Repeat(" ", endpoint.MaxAnswer-1), "answer is longer than 1 MiB"},
		{"empty", "", "answer is empty"},
		{"only space", " \n", "answer is empty"},
		{"HTML", "\n<!DOCTYPE html>planted", "answer is HTML, not JSON"},
		{"text", "planted", "answer is not a JSON object"},
		{"array", `["planted"]`, "answer is not a JSON object"},
		{"null", `null`, "answer is not a JSON object"},
		{"cut off", `{"planted":`, "answer is cut off: its JSON has no end"},
		{"not JSON", `{planted}`, "answer is not valid JSON"},
		{"more after it", `{} planted`, "answer has something after its JSON object"},
		{"a second one", `{}{}`, "answer has something after its JSON object"},
	} {
		m, err := endpoint.Decode([]byte(c.body))
		switch {
		case c.want == "" && (err != nil || m == nil):
			t.Errorf("%s: %v, %v", c.name, m, err)
		case c.want != "" && (err == nil || err.Error() != c.want || m != nil):
			t.Errorf("%s: %v, %v, want %s", c.name, m, err, c.want)
		}
	}
}

// TestTake: what is taken by a name is gone, with the objects that held nothing else.
func TestTake(t *testing.T) {
	const body = `{"a":"1","data":{"t":{"b":"2"},"id":12345678901234567890},"wrap":{"c":"3"},"flat":"x"}`
	for name, c := range map[string]struct{ want, rest string }{
		"a":        {"1", `{"data":{"id":12345678901234567890,"t":{"b":"2"}},"flat":"x","wrap":{"c":"3"}}`},
		"data.t.b": {"2", `{"a":"1","data":{"id":12345678901234567890},"flat":"x","wrap":{"c":"3"}}`},
		"wrap.c":   {"3", `{"a":"1","data":{"id":12345678901234567890,"t":{"b":"2"}},"flat":"x"}`},
		"flat.x":   {"", `{"a":"1","data":{"id":12345678901234567890,"t":{"b":"2"}},"flat":"x","wrap":{"c":"3"}}`},
		"no.where": {"", `{"a":"1","data":{"id":12345678901234567890,"t":{"b":"2"}},"flat":"x","wrap":{"c":"3"}}`},
	} {
		m, err := endpoint.Decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.TakeToken(name)
		rest, _ := json.Marshal(m)
		if err != nil || got != c.want || string(rest) != c.rest {
			t.Errorf("%s: %q, %v, leaves %s; want %q, %s", name, got, err, rest, c.want, c.rest)
		}
	}
}

func TestTakeToken(t *testing.T) {
	for value, want := range map[string]string{ // an error if it begins with "!"
		`"abc"`:           "abc",
		`" ~!"`:           "!begins or ends with a space",
		`"a "`:            "!begins or ends with a space",
		`"a b"`:           "a b",
		`""`:              "",
		`null`:            "",
		`12`:              "!is not a string",
		`["planted"]`:     "!is not a string",
		`"planted\n"`:     "!holds characters that no token may have",
		`"planted\u007f"`: "!holds characters that no token may have",
		`"plantedé"`:      "!holds characters that no token may have",
	} {
		m, err := endpoint.Decode([]byte(`{"the_token":` + value + `}`))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.TakeToken("the_token")
		if why, wrong := strings.CutPrefix(want, "!"); wrong {
			if err == nil || !strings.HasPrefix(err.Error(), "the_token in the answer "+why) || strings.Contains(err.Error(), "planted") {
				t.Errorf("%s: %q, %v", value, got, err)
			}
		} else if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", value, got, err, want)
		}
	}
}

func TestTakeTheRest(t *testing.T) {
	for _, c := range []struct {
		value    string
		kind     string
		lifetime time.Duration
		scope    string
		stays    bool // as a scope
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
		m, err := endpoint.Decode(fmt.Appendf(nil, `{"type":%s,"lifetime":%[1]s,"scope":%[1]s}`, c.value))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.TakeType("type"); got != c.kind {
			t.Errorf("%s as a type: %q", c.value, got)
		}
		if got := m.TakeLifetime("lifetime"); got != c.lifetime {
			t.Errorf("%s as a lifetime: %v", c.value, got)
		}
		if got := m.TakeScope(); got != c.scope || (len(m) == 1) != c.stays {
			t.Errorf("%s as a scope: %q, leaves %v", c.value, got, m)
		}
	}
}

// FuzzMembers: whatever an answer holds, what is taken from it can be used, and errors
// quote nothing.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":"token","c":1},"d":"3600","scope":["x","y"]}`, `{"a":"b","d":1e99,"scope":"x"}`, `{"a":{"b":{}}}`,
		"\xef\xbb\xbf{}", `<html>`, `{"a":{"b":"x\n"}}`, `{"a":{"b":"planted `, `[]`, ``,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := endpoint.Decode(body)
		if err != nil {
			if m != nil {
				t.Fatalf("both %v and %v", m, err)
			}
			return
		}
		token, err := m.TakeToken("a.b")
		if err != nil && (token != "" || !strings.HasPrefix(err.Error(), "a.b in the answer ")) {
			t.Fatalf("%q, %v", token, err)
		}
		if strings.TrimSpace(token) != token || strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("token %q", token)
		}
		if kind := m.TakeType("a.c"); strings.ContainsFunc(kind, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("type %q", kind)
		}
		if d := m.TakeLifetime("d"); d < 0 || d > endpoint.MaxLifetime || d%time.Second != 0 {
			t.Fatalf("lifetime %v", d)
		}
		m.TakeScope()
		if again, err := m.TakeToken("a.b"); again != "" || err != nil {
			t.Fatalf("taken twice: %q, %v", again, err)
		}
		if inner, ok := m["a"].(map[string]any); ok && len(inner) == 0 && token != "" {
			t.Fatal("an empty object stays")
		}
	})
}
