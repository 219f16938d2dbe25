package endpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxAnswer is the longest answer of a token endpoint that is read.
const maxAnswer = 1 << 20

// What is wrong with an answer. The text of the answer is not shown: it may hold
// tokens, and logs are read by many.
var (
	errTooLong = errors.New("answer is longer than 1 MiB")
	errEmpty   = errors.New("answer is empty")
	errHTML    = errors.New("answer is HTML, not JSON")
)

// Members are what an answer has, by name. Numbers are of type [json.Number]. A dot in
// a name goes into an object: "data.token" is the member token of the object data. What
// is taken is gone, and so is an object that is empty afterwards.
type Members map[string]any

// Decode reads a JSON object and nothing after it. Its errors say what is wrong and never
// show any of it.
func Decode(body []byte) (Members, error) {
	if len(body) > maxAnswer {
		return nil, errTooLong
	}
	body = trim(body)
	switch {
	case len(body) == 0:
		return nil, errEmpty
	case isHTML(body):
		return nil, errHTML
	case body[0] != '{':
		return nil, errors.New("answer is not a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber() // large numbers stay exact
	var m map[string]any
	switch err := dec.Decode(&m); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("answer is cut off: its JSON has no end")
	case err != nil: // its text quotes the answer
		return nil, errors.New("answer is not valid JSON")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("answer has something after its JSON object")
	}
	return m, nil
}

// trim drops space and a byte order mark.
func trim(body []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
}

// isHTML reports whether body is a page for people: then it is from a proxy or a
// portal on the way, more likely than from a token endpoint.
func isHTML(body []byte) bool { return bytes.HasPrefix(trim(body), []byte("<")) }

// take removes a member and returns its value, nil if there is none.
func (m Members) take(name string) any {
	first, rest, nested := strings.Cut(name, ".")
	if !nested {
		v := m[first]
		delete(m, first)
		return v
	}
	inner, ok := m[first].(map[string]any)
	if !ok {
		return nil
	}
	v := Members(inner).take(rest)
	if len(inner) == 0 {
		delete(m, first)
	}
	return v
}

// TakeToken takes an access or refresh token; null and absent give "".
func (m Members) TakeToken(name string) (string, error) {
	v := m.take(name)
	if v == nil {
		return "", nil
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return "", fmt.Errorf("%s in the answer is not a string", name)
	case strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }):
		return "", fmt.Errorf("%s in the answer holds characters that no token may have (RFC 6749, appendix A)", name)
	case strings.TrimSpace(s) != s:
		return "", fmt.Errorf("%s in the answer begins or ends with a space", name)
	}
	return s, nil
}

// TakeType takes a token type. It goes into a header, so one that cannot is not used; an
// error would throw away a pair that was paid for with the old one.
func (m Members) TakeType(name string) string {
	s, _ := m.take(name).(string)
	if strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
		return ""
	}
	return s
}

// TakeLifetime takes a lifetime in seconds; 0 if it is absent or makes no sense.
func (m Members) TakeLifetime(name string) time.Duration {
	var text string
	switch v := m.take(name).(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	f, ok := parseNumber(text)
	if !ok || f < 1 {
		return 0
	}
	return time.Duration(min(f, maxLifetime.Seconds())) * time.Second
}

// TakeScope takes the member scope, a string or an array of strings, which are joined by
// spaces. Anything else stays.
func (m Members) TakeScope() string {
	switch v := m["scope"].(type) {
	case string:
		delete(m, "scope")
		return v
	case []any:
		list := make([]string, len(v))
		for i, s := range v {
			var ok bool
			if list[i], ok = s.(string); !ok {
				return ""
			}
		}
		delete(m, "scope")
		return strings.Join(list, " ")
	}
	return ""
}
