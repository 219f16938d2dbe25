package login

import (
	"cmp"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

// expected is what an authorization response has to have (RFC 6749, section 4.1.2; RFC
// 9207).
type expected struct {
	state   string
	issuer  string // "": not known
	named   bool   // the server says who it is in each answer
	secrets redact.Secrets
}

const (
	maxCode        = 64  // bytes of ResponseError.Code
	maxDescription = 200 // bytes of ResponseError.Description
)

// namesItself reports whether the server has announced that it says who it is in each answer
// (RFC 9207, section 3).
func namesItself(md *discovery.Metadata) bool {
	var named bool
	err := json.Unmarshal(md.Extra["authorization_response_iss_parameter_supported"], &named)
	return err == nil && named
}

// isMine reports whether values have the state of this login, once. It takes as long whatever
// the state is.
func (e *expected) isMine(values url.Values) bool {
	got := values["state"]
	return len(got) == 1 && subtle.ConstantTimeCompare([]byte(got[0]), []byte(e.state)) == 1
}

// read returns the code of an answer that is for this login. unparsed is what was wrong with
// its query.
func (e *expected) read(values url.Values, unparsed error) (code string, err error) {
	wrong := func(format string, args ...any) (string, error) {
		return "", &ResponseError{Err: fmt.Errorf(format, args...)}
	}
	if unparsed != nil {
		return wrong("has a query that cannot be read")
	}
	for _, name := range []string{"iss", "code", "error", "error_description"} { // RFC 6749, section 3.1
		if len(values[name]) > 1 {
			return wrong("has %s more than once", name)
		}
	}
	// RFC 9207, section 2.4: before anything else of the answer is believed.
	switch iss := values.Get("iss"); {
	case e.issuer == "":
	case iss == "" && e.named:
		return wrong("has no iss, and the server %s has announced one", e.issuer)
	case iss != "" && iss != e.issuer:
		return wrong("is from the issuer %q, and not from %s", e.show(iss, maxDescription), e.issuer)
	}
	if values.Get("error") != "" {
		return "", &ResponseError{Code: cmp.Or(e.show(values.Get("error"), maxCode), redact.Mark), Description: e.show(values.Get("error_description"), maxDescription)}
	}
	code = values.Get("code")
	if code == "" {
		return wrong("has neither a code nor an error")
	}
	for i := range len(code) { // RFC 6749, appendix A.11
		if code[i] < 0x20 || code[i] > 0x7e {
			return wrong("has a code with a character in it that no code has")
		}
	}
	return code, nil
}

// show makes what came by the browser fit for a log.
func (e *expected) show(text string, limit int) string {
	if e.secrets.In(text) {
		return redact.Mark
	}
	return redact.Clean(text, limit)
}
