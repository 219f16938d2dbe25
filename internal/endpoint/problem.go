package endpoint

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/challenge"
)

// A problem is what an answer says went wrong, as the server wrote it: error codes and what
// goes for one (RFC 6749, section 5.2), and descriptions, each in the order of the places
// where servers put them.
type problem struct {
	codes, texts []string
	likely       []string // descriptions that are written like codes: one word
	number       string   // a code that is a number, "" if there is none
	status       int      // the status that the body has for itself, 0 if it has none
	plain        string   // a body that is nothing but text
}

// Where codes and descriptions are, folded; the places that are asked first come first. A
// name may be in both: "error" is a code for some and a sentence for others.
var (
	codeNames = []string{
		"error", "errors", "fault", // also objects with a code in them
		"errorcode", "errcode", "code", "errortype", "errorname", "subcode", "suberror", "reason", "type",
		"status", "statuscode", "httpstatus",
	}
	textNames = []string{
		"errordescription", "errormessage", "errmsg", "message", "msg", "description", "detail", "details",
		"errordetail", "errordetails", "faultstring", "title", "reason", "info",
	}
	problemObjects = []string{"detail", "details", "data", "body", "result", "response", "meta", "status", "errordetails"}
)

// problem finds what the answer says went wrong, wherever it is.
func (a *Answer) problem() problem {
	d := read(a.Body)
	var p problem
	for _, m := range d.objects {
		p.add(m, 0)
	}
	if !errors.Is(d.err, errTooLong) {
		p.add(d.part, 0)
	}
	for _, c := range challenge.Parse(a.Header.Values("WWW-Authenticate")) { // RFC 6750, section 3
		p.code1(c.Params["error"])
		p.texts = append(p.texts, c.Params["error_description"])
	}
	if plain := strings.TrimSpace(d.text); len(plain) <= maxPlain {
		p.plain = plain
		p.addLikely(plain)
	}
	return p
}

// maxPlain is the longest plain text that is looked into.
const maxPlain = 400

// add adds what m and the objects in it say.
func (p *problem) add(m Members, depth int) {
	if m == nil || depth > maxDepth {
		return
	}
	for _, name := range m.named(codeNames...) {
		switch v := m[name].(type) {
		case string:
			if n := json.Number(v); isInteger(n) {
				p.numeric(fold(name), n)
			} else {
				p.code1(v)
			}
		case json.Number:
			p.numeric(fold(name), v)
		case []any:
			for _, v := range v[:min(len(v), maxDepth)] {
				if s, ok := v.(string); ok {
					p.code1(s)
				} else if in, ok := object(v); ok {
					p.add(in, depth+1)
				}
			}
		case map[string]any:
			p.add(v, depth+1)
		}
	}
	for _, name := range m.named(textNames...) {
		if s, ok := m[name].(string); ok && s != "" {
			p.texts = append(p.texts, s)
			if fold(name) != "errordescription" { // of the RFC, where the code has its own place
				p.addLikely(s)
			}
		}
	}
	p.field(m)
	for _, name := range m.named(problemObjects...) {
		if in, ok := object(m[name]); ok {
			p.add(in, depth+1)
		}
	}
}

// addLikely adds a description, if it is written like a code.
func (p *problem) addLikely(s string) {
	if s != "" && len(s) <= maxCode && !strings.ContainsAny(s, " \t\r\n") {
		p.likely = append(p.likely, s)
	}
}

// field adds what m says to be wrong with a field of the request, as Strava does.
func (p *problem) field(m Members) {
	var said []string
	for _, name := range m.named("resource", "field", "param", "code") {
		if s, ok := m[name].(string); ok {
			said = append(said, s)
		}
	}
	if len(said) > 1 {
		p.texts = append(p.texts, strings.Join(said, " "))
	}
}

// code1 adds a code, or a sentence in the place of one.
func (p *problem) code1(s string) {
	switch fold(s) {
	case "", "error", "fail", "failed", "failure", "ko", "false", "ok", "success", "null", "none":
		return // says that it is a problem, and not which one
	}
	p.codes = append(p.codes, s)
}

// numeric adds a number: a status if it may be one, and a code that is better than none.
func (p *problem) numeric(name string, v json.Number) {
	n, err := v.Int64()
	if err != nil || n == 0 || name == "error" || name == "type" {
		return
	}
	if n >= 100 && n < 600 {
		if p.status == 0 && n >= 400 {
			p.status = int(n)
		}
		return
	}
	if p.number == "" {
		p.number = v.String()
	}
}

func isInteger(n json.Number) bool {
	_, err := n.Int64()
	return err == nil
}

// code is what is shown as the code if none is known.
func (p *problem) code() string {
	if len(p.codes) > 0 {
		return p.codes[0]
	}
	return p.number
}

// description is what is shown beside it.
func (p *problem) description() string {
	for _, s := range p.texts {
		if s != "" {
			return s
		}
	}
	return ""
}
