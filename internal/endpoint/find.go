package endpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// access takes the access token and returns where it was.
func (n Names) access(m Members, t *Tokens) (path, error) {
	name := cmp.Or(n.AccessToken, "access_token")
	var why error
	for _, given := range []string{name, "access_token"} {
		if in, last, ok := m.lookup(given); ok {
			text, err := tokenText(in[0].Members[last])
			if t.Access = text; text != "" {
				in.take(last)
				return in, nil
			}
			why = cmp.Or(why, err)
		}
	}
	found, failed := search{usable: tokenText}, hasError(m)
	found.walk(path{{m, ""}}, accessNames, nil)
	if found.depth = maxDepth; len(found.values) == 0 && failed { // it may quote what was sent
		found.walk(path{{m, ""}}, accessNames, wrappers)
	} else if len(found.values) == 0 {
		found.walk(path{{m, ""}}, accessNames, nil)
	}
	if len(found.values) == 0 && n.AccessToken == "" && !failed {
		found.usable = weakText
		found.walk(path{{m, ""}}, weakAccess, wrappers)
	}
	switch len(found.values) {
	case 0:
		return nil, noToken(name, why)
	case 1:
		t.Access = found.values[0]
		found.in.take(found.name)
		return found.in, nil
	}
	return nil, errors.New("answer has no " + name + ", and several members that may be it: name the right one in JSONFields.AccessToken")
}

// hasError reports whether m says that something went wrong.
func hasError(m Members) bool {
	for _, name := range m.named("ok", "success") {
		if m[name] == false {
			return true
		}
	}
	for _, name := range m.named("status", "statuscode", "code") {
		switch v := m[name].(type) {
		case string:
			switch strings.ToLower(v) {
			case "error", "fail", "failed", "failure":
				return true
			}
		case json.Number: // that of HTTP
			if n, err := v.Int64(); err == nil && n >= 400 && n < 600 {
				return true
			}
		}
	}
	names := m.named("error")
	if len(names) == 0 {
		return false
	}
	in, ok := object(m[names[0]])
	if !ok {
		return !isNothing(m[names[0]])
	}
	if codes := in.named("code", "errorcode", "status"); len(codes) > 0 {
		return !isNothing(in[codes[0]])
	}
	return len(in) > 0
}

// isNothing reports whether v, in the place of an error, says that there is none.
func isNothing(v any) bool {
	switch v := v.(type) {
	case string:
		switch strings.ToLower(v) {
		case "", "0", "200", "ok", "success", "none", "no", "null", "false":
			return true
		}
		return false
	case json.Number:
		return v == "0" || v == "200"
	case bool:
		return !v
	}
	return v == nil
}

// weakText is [tokenText] for a member whose name promises little.
func weakText(v any) (string, error) {
	if _, ok := v.(string); !ok {
		return "", errNotText
	}
	text, err := tokenText(v)
	if err != nil || strings.Contains(text, " ") {
		return "", errNotText
	}
	return text, nil
}

// search finds the values that members of some names have, wherever they are.
type search struct {
	usable func(any) (string, error)
	depth  int      // how many objects they may lie in
	values []string // each once
	in     path     // where the first one is, and by which name
	name   string
}

// walk looks into the object p[0] and those inside of it. inside are the names of the
// objects that are looked into, nil for all.
func (s *search) walk(p path, names, inside []string) {
	for _, name := range p[0].named(names...) {
		if v, err := s.usable(p[0].Members[name]); err == nil && v != "" {
			s.found(v, p, name)
		} else if in, ok := p.into(name); ok { // {"access":{"token":"…","expires":"…"}}
			for _, name := range in[0].named("token") {
				if v, err := s.usable(in[0].Members[name]); err == nil && v != "" {
					s.found(v, in, name)
				}
			}
		}
	}
	if len(p) > s.depth {
		return
	}
	for _, name := range p[0].children() {
		if inside != nil && !slices.Contains(inside, fold(name)) {
			continue
		}
		if in, ok := p.into(name); ok {
			s.walk(in, names, inside)
		}
	}
}

func (s *search) found(value string, in path, name string) {
	if slices.Contains(s.values, value) {
		return
	}
	if s.values = append(s.values, value); len(s.values) == 1 {
		s.in, s.name = in, name
	}
}

// own returns p without the objects that hold another access token.
func (p path) own() path {
	for i := 1; i < len(p); i++ {
		for _, name := range p[i].named(accessNames...) {
			if v, err := tokenText(p[i].Members[name]); err == nil && v != "" {
				return p[:i]
			}
		}
	}
	return p
}

// refresh takes the refresh token. It returns the object that this had to itself, nil if
// there is none.
func (n Names) refresh(m Members, home path, t *Tokens) path {
	list := places(m, home, n.RefreshToken, refreshNames)
	for _, in := range append(list, places(m, home, "", weakRefresh)...) {
		v := in.path[0].Members[in.name]
		if t.Refresh = refreshText(v); t.Refresh != "" {
			in.path.take(in.name)
			return nil
		}
		if isNothing(v) {
			in.path.take(in.name)
		} else if deeper, ok := in.path.into(in.name); ok {
			for _, name := range deeper[0].named("token") {
				if t.Refresh = refreshText(deeper[0].Members[name]); t.Refresh != "" {
					deeper.take(name)
					return deeper
				}
			}
		}
	}
	return nil
}

// A place is where a member is.
type place struct {
	path path
	name string
}

// places are where a member may be: by the name that was given, and in the objects of home
// by one of names.
func places(m Members, home path, given string, names []string) []place {
	var list []place
	if given != "" {
		if in, name, ok := m.lookup(given); ok {
			list = append(list, place{in, name})
		}
	}
	for i := range home {
		for _, name := range home[i].named(names...) {
			list = append(list, place{home[i:], name})
		}
	}
	return list
}
