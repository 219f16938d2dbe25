package endpoint

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// An Encoding makes a body of params.
type Encoding func([]Param) (contentType string, body []byte, err error)

// Form is the [Encoding] of RFC 6749, appendix B.
func Form(list []Param) (contentType string, body []byte, err error) {
	return "application/x-www-form-urlencoded", []byte(values(list).Encode()), nil
}

// JSON is the [Encoding] as one JSON object. A dot in a name goes into an object:
// "data.token" is the member token of the object data. Of several params with one name it
// makes an array. It fails if two names claim the same place.
func JSON(list []Param) (contentType string, body []byte, err error) {
	object := make(map[string]any)
	byName := values(list)
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		var v any = byName[name]
		if len(byName[name]) == 1 {
			v = byName.Get(name)
		}
		if !put(object, name, v) {
			return "", nil, fmt.Errorf("the names of the members to send clash at %q", name)
		}
	}
	body, err = json.Marshal(object)
	return "application/json", body, err
}

// put adds a member with a dotted name and reports whether its place was free.
func put(m map[string]any, name string, value any) bool {
	first, rest, nested := strings.Cut(name, ".")
	if !nested {
		_, taken := m[first]
		m[first] = value
		return !taken
	}
	if m[first] == nil {
		m[first] = make(map[string]any)
	}
	inner, ok := m[first].(map[string]any)
	return ok && put(inner, rest, value)
}

// values returns list as a form.
func values(list []Param) url.Values {
	form := make(url.Values)
	for _, p := range list {
		form.Add(p.Name, p.Value)
	}
	return form
}

// params returns form as a list. Those that were public before are still.
func params(form url.Values, before []Param) []Param {
	var list []Param
	for _, name := range slices.Sorted(maps.Keys(form)) {
		for _, value := range form[name] {
			p := Param{Name: name, Value: value, Public: true}
			p.Public = slices.Contains(before, p)
			list = append(list, p)
		}
	}
	return list
}

// HasControl reports whether s, a client's id, its secret or a scope, has a control
// character in it, as RFC 6749, appendix A, lets none have.
func HasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
