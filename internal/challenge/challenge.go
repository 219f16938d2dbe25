// Package challenge takes the WWW-Authenticate fields of an answer apart (RFC 9110, section
// 11.6.1).
//
// What servers send is often malformed: parameters without a comma between them, URLs without
// quotes, quotes that are never closed. [Parse] keeps what can be understood and leaves out the
// rest, and never fails. A comma separates challenges as well as parameters, so it tells
// nothing: a name with "=" behind it is a parameter, any other name is a scheme.
//
// Whoever sends a header chooses its length, so what is read is bounded: [MaxBytes] of all
// fields together, and [Most] challenges. Time and memory grow with the length, and no faster.
package challenge

import "strings"

// Bounds of what is read. A server that sends more has nothing to say to a client; what is
// beyond them is ignored.
const (
	MaxBytes = 16 << 10
	Most     = 32
)

// A Challenge is one way in which a server wants a request to be authenticated.
type Challenge struct {
	Scheme string            // as the server wrote it
	Params map[string]string // names in lower case; "" is that of a token68; nil: none
}

// Parse returns the challenges of fields, in their order. Of a parameter that comes twice the
// first counts.
func Parse(fields []string) []Challenge {
	p := parser{}
	budget := MaxBytes
	for _, v := range fields {
		// Each field is read by itself, although a list may be spread over
		// several: an unclosed quote must not swallow what follows.
		if len(v) > budget {
			v = v[:budget]
		}
		budget -= len(v)
		p.s, p.open = v, false
		p.parse()
	}
	return p.list
}

// parser reads one field after the other into list. s is what is left
// of the field; open says that the last of list belongs to this field, so that
// parameters may still be added to it.
type parser struct {
	s    string
	open bool
	list []Challenge
}

// parse takes s apart.
func (p *parser) parse() {
	for {
		p.s = strings.TrimLeft(p.s, " \t,") // empty list elements too
		if p.s == "" {
			return
		}
		name := p.token()
		rest := strings.TrimLeft(p.s, " \t")
		switch {
		case name == "":
			p.skip()
		case strings.HasPrefix(rest, "="):
			p.s = rest[1:]
			p.param(name)
		case len(p.list) == Most:
			return
		default:
			p.list, p.open = append(p.list, Challenge{Scheme: name}), true
			if rest != p.s {
				p.s = rest
				p.token68()
			}
		}
	}
}

// param reads the value of name and gives it to the open challenge.
func (p *parser) param(name string) {
	value, ok := p.value()
	if ok && p.open {
		p.set(strings.ToLower(name), value)
	}
}

// set adds a parameter to the last challenge, unless it has it already.
func (p *parser) set(name, value string) {
	c := &p.list[len(p.list)-1]
	if _, twice := c.Params[name]; twice {
		return
	}
	if c.Params == nil {
		c.Params = make(map[string]string)
	}
	c.Params[name] = value
}

// token68 reads a token68 if that is what follows the scheme. What looks like one
// is the name of a parameter if a value comes after its "=".
func (p *parser) token68() {
	end := 0
	for end < len(p.s) && isToken68Byte(p.s[end]) {
		end++
	}
	if end == 0 {
		return
	}
	for end < len(p.s) && p.s[end] == '=' {
		end++
	}
	if rest := strings.TrimLeft(p.s[end:], " \t"); rest == "" || rest[0] == ',' {
		p.set("", p.s[:end])
		p.s = rest
	}
}

// token reads an RFC 9110 token, which may be empty.
func (p *parser) token() string {
	end := 0
	for end < len(p.s) && isTokenByte(p.s[end]) {
		end++
	}
	t := p.s[:end]
	p.s = p.s[end:]
	return t
}

// value reads a quoted string or what stands in its place. Servers put URLs there
// without quotes, so all but separators and control characters is taken.
func (p *parser) value() (value string, ok bool) {
	p.s = strings.TrimLeft(p.s, " \t")
	if strings.HasPrefix(p.s, `"`) {
		return p.quoted()
	}
	end := 0
	for end < len(p.s) && !strings.ContainsRune(" \t,\"", rune(p.s[end])) {
		end++
	}
	value = p.s[:end]
	p.s = p.s[end:]
	return value, value != "" && !hasControl(value)
}

// quoted reads a quoted string (RFC 9110, section 5.6.4). One that is not closed
// is not a value: it may be cut.
func (p *parser) quoted() (value string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '"':
			p.s = p.s[i+1:]
			return b.String(), !hasControl(b.String())
		case c == '\\' && i+1 < len(p.s):
			i++
			b.WriteByte(p.s[i])
		default:
			b.WriteByte(c)
		}
	}
	p.s = ""
	return "", false
}

// skip drops what is no list element, up to the next comma that is not in quotes.
func (p *parser) skip() {
	for p.s != "" && p.s[0] != ',' {
		if p.s[0] == '"' {
			p.quoted()
		} else {
			p.s = p.s[1:]
		}
	}
}

// hasControl reports whether s holds a control character, which a field value
// must not (RFC 9110, section 5.5); a tab is allowed.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func isTokenByte(c byte) bool {
	return isAlphaNum(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func isToken68Byte(c byte) bool {
	return isAlphaNum(c) || strings.IndexByte("-._~+/", c) >= 0
}

func isAlphaNum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
