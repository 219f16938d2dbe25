package endpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Members are what an answer has, by name. Numbers are of type [json.Number]. What is
// taken is gone.
type Members map[string]any

// A path is an object and what it lies in: the object first, the whole answer last.
type path []step

// A step is an object, and the name that it has in the next one.
type step struct {
	Members
	name string
}

// fold is a name as it is compared: servers write accessToken and access-token, too.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '_', r == '-', r == '.', r == ' ':
			return -1
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// named returns the names of m that are one of those, which are folded. The first ones of
// those go first.
func (m Members) named(folded ...string) []string {
	byPlace := make(map[int][]string)
	for name := range m {
		if i := slices.Index(folded, fold(name)); i >= 0 {
			byPlace[i] = append(byPlace[i], name)
		}
	}
	var found []string
	for _, i := range slices.Sorted(maps.Keys(byPlace)) {
		names := byPlace[i]
		slices.SortFunc(names, func(a, b string) int {
			return strings.Compare(b, a) // "access_token" before "accessToken" and "AccessToken"
		})
		found = append(found, names[:min(len(names), maxSpellings)]...)
	}
	return found
}

// maxSpellings is how many spellings of one name an object is believed to have: the search
// for each costs time.
const maxSpellings = 16

// object returns v as an object, if it is one, holds nothing but one in a list, or is the
// JSON text of one, as gateways make of it.
func object(v any) (Members, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case Members:
		return v, true
	case []any:
		if len(v) == 1 {
			return object(v[0])
		}
	case string:
		return parseObject(v)
	}
	return nil, false
}

// parseObject returns the one object that text is. There may be many such members, so that
// nothing is searched for in one that is no object from its beginning.
func parseObject(text string) (Members, bool) {
	if text = strings.TrimSpace(text); !strings.HasPrefix(text, "{") || !strings.Contains(text, "}") {
		return nil, false
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var m Members
	if dec.Decode(&m) != nil || strings.Contains(text[dec.InputOffset():], "{") {
		return nil, false
	}
	return m, true
}

// lookup follows a dotted name into m: "data.token" is the member token of the object data.
// It returns where the last part of the name is to be found.
func (m Members) lookup(dotted string) (in path, name string, ok bool) {
	in = path{{m, ""}}
	for {
		first, rest, nested := strings.Cut(dotted, ".")
		if _, whole := in[0].Members[dotted]; whole || !nested { // forms have no objects
			return in, dotted, whole
		}
		deeper, ok := in.into(first)
		if !ok {
			return in, dotted, false
		}
		in, dotted = deeper, rest
	}
}

// into returns the path to the object that p's has by name. The object takes the place of
// whatever it was found in, so that what is taken from it is gone.
func (p path) into(name string) (path, bool) {
	inner, ok := object(p[0].Members[name])
	if !ok {
		return nil, false
	}
	p[0].Members[name] = map[string]any(inner)
	return append(path{{inner, name}}, p...), true
}

// take removes a member, and objects that are empty without it.
func (p path) take(name string) {
	delete(p[0].Members, name)
	for i := 0; i+1 < len(p) && len(p[i].Members) == 0; i++ {
		delete(p[i+1].Members, p[i].name)
	}
}

// children returns the names of m's members that may be objects, in an order that is
// always the same.
func (m Members) children() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(m)), func(name string) bool {
		_, ok := object(m[name])
		return !ok
	})
}

// Why an access token cannot be used.
var (
	errNotText    = errors.New("is not a string")
	errUnsendable = errors.New("holds characters that no token may have (RFC 6749, appendix A)")
	errComplaint  = errors.New("is an error message")
)

// saysNothing are texts in the place of a token that say that there is none: what a server's
// language prints then.
var saysNothing = map[string]bool{
	"null": true, "undefined": true, "none": true, "nil": true, "<nil>": true, "<null>": true, "(null)": true, "<no value>": true,
	"[object object]": true, "nan": true, "n/a": true, "false": true, "true": true,
}

// saysWrong are texts in the place of a token that say what is wrong with it, as JSend has
// them: {"status":"fail","data":{"token":"expired"}}.
var saysWrong = map[string]bool{
	"invalid": true, "expired": true, "revoked": true, "denied": true, "missing": true, "required": true, "malformed": true,
	"unknown": true, "unauthorized": true, "forbidden": true, "error": true, "failed": true, "inactive": true,
}

// tokenText returns v as a token: "" if there is none, an error if v is none that could be
// sent. What is around a token that no header can carry is dropped, as a server does that
// reads the header. A number is its text.
func tokenText(v any) (string, error) {
	var text string
	switch v := v.(type) {
	case nil, bool:
		return "", nil
	case string:
		text = v
	case json.Number:
		if text = v.String(); text == "0" {
			return "", nil
		}
	default:
		return "", errNotText
	}
	switch text = strings.Trim(text, " \t\r\n"); {
	case saysNothing[strings.ToLower(text)], strings.Trim(text, "*") == "":
		return "", nil
	case saysWrong[strings.ToLower(text)]:
		return "", errComplaint
	case strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e }):
		return "", errUnsendable
	case strings.HasPrefix(strings.ToLower(text), "error: "): // Casdoor
		return "", errComplaint
	}
	return text, nil
}

// refreshText is [tokenText] for a refresh token, which goes into a body: spaces are a part
// of it. What is none is as good as absent.
func refreshText(v any) string {
	text, _ := tokenText(v)
	if s, ok := v.(string); ok && text != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
		return s
	}
	return text
}

// typeText returns v as a token type. It goes into a header, so one that cannot is not
// used; an error would throw away a pair that was paid for with the old one.
func typeText(v any) string {
	s, _ := v.(string)
	if strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e }) {
		return ""
	}
	return s
}

// scopeText returns v as a scope, a string or an array of strings, which are joined by
// spaces. Anything else is none.
func scopeText(v any) (scope string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []any:
		list := make([]string, len(v))
		for i, s := range v {
			if list[i], ok = s.(string); !ok {
				return "", false
			}
		}
		return strings.Join(list, " "), true
	}
	return "", false
}

// noToken is the error of an answer without an access token.
func noToken(name string, why error) error {
	if why == nil {
		return fmt.Errorf("answer has no %s", name)
	}
	return fmt.Errorf("%s in the answer %w", name, why)
}
