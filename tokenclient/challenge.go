package tokenclient

import (
	"net/http"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/peek"
)

// Bounds of what is read of a WWW-Authenticate header. A server that sends more
// has nothing to say to a client; what is beyond them is ignored.
const (
	maxChallengeBytes = 16 << 10
	maxChallenges     = 32
)

// A Challenge is one challenge of a WWW-Authenticate header: how a server wants a
// request to be authenticated, and often why this one was not enough (RFC 9110,
// section 11.6.1).
type Challenge struct {
	// Scheme is the authentication scheme as the server wrote it. Compare it
	// with [strings.EqualFold]: "bearer" and "Bearer" are the same scheme.
	Scheme string

	// Params holds the parameters. Their names are in lower case; their values
	// are as the server wrote them, without quotes and escapes. The name ""
	// holds a token68, the one value without a name that some schemes, such as
	// Negotiate, have in the place of parameters. Nil if there are none.
	Params map[string]string
}

// Challenges returns the challenges of all WWW-Authenticate fields of resp, in
// the server's order. Use it on a 401 or 403 that a [Transport] handed back, to
// learn what the server wants: a wider scope ("error" is "insufficient_scope",
// RFC 6750, section 3.1), or a fresh or stronger login
// ("insufficient_user_authentication" with "acr_values" and "max_age", RFC 9470).
// Package discovery follows a "resource_metadata" (RFC 9728) to the server that
// gives out the tokens.
//
// Headers are often malformed. Challenges returns what can be understood and
// leaves out the rest; of a parameter given twice the first counts. It reads at
// most 16 KiB and returns at most 32 challenges. It does not touch resp's body.
// Challenges of nil is nil.
func Challenges(resp *http.Response) []Challenge {
	if resp == nil {
		return nil
	}
	p := challengeParser{}
	budget := maxChallengeBytes
	for _, v := range resp.Header["Www-Authenticate"] {
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

// PeekBody returns the first bytes of resp's body, most at most, and leaves the answer
// whole: resp.Body is replaced by one that begins with them. It is for Config.Rejected and
// Config.Renewed, if a server says in the body what others say by the status. Nothing is
// read of answers for which it is not called, so look at the status and the Content-Type
// first.
//
// It returns what there is when the body ends or fails, when wait is over (0: a second),
// or when the request's context ends: a stream that says nothing for an hour holds nobody
// up for longer. An error of the body comes to who reads it later, in its place. most is
// at most 1 MiB. A body encoded with gzip is decoded for that; of one with another
// Content-Encoding, of none, and of a connection that was switched to another protocol
// (101) it returns nothing. It may be called again, for more. It must not be called while
// somebody else uses resp.
func PeekBody(resp *http.Response, most int, wait time.Duration) []byte {
	if wait <= 0 {
		wait = time.Second
	}
	return peek.At(resp, most, wait)
}

// challengeAllowsRefresh reports whether a new token of the same session might
// help: false if the server says that it wants a wider scope (RFC 6750, section
// 3.1) or another login (RFC 9470, section 3).
func challengeAllowsRefresh(resp *http.Response) bool {
	for _, c := range Challenges(resp) {
		if !strings.EqualFold(c.Scheme, "Bearer") && !strings.EqualFold(c.Scheme, "DPoP") {
			continue
		}
		switch c.Params["error"] {
		case "insufficient_scope", "insufficient_user_authentication":
			return false
		}
	}
	return true
}

// challengeParser reads one field after the other into list. s is what is left
// of the field; open says that the last of list belongs to this field, so that
// parameters may still be added to it.
type challengeParser struct {
	s    string
	open bool
	list []Challenge
}

// parse takes s apart. The comma separates challenges as well as parameters, so
// it tells nothing: a name followed by "=" is a parameter, any other is a scheme.
func (p *challengeParser) parse() {
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
		case len(p.list) == maxChallenges:
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
func (p *challengeParser) param(name string) {
	value, ok := p.value()
	if ok && p.open {
		p.set(strings.ToLower(name), value)
	}
}

// set adds a parameter to the last challenge, unless it has it already.
func (p *challengeParser) set(name, value string) {
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
func (p *challengeParser) token68() {
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
func (p *challengeParser) token() string {
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
func (p *challengeParser) value() (value string, ok bool) {
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
func (p *challengeParser) quoted() (value string, ok bool) {
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
func (p *challengeParser) skip() {
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
