package behaviour_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

// The authorization responses of RFC 9207, sections 2.1 and 2.2.
const (
	rfc9207Code = `https://client.example/cb?
code=x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58
&state=ZWVlNDBlYzA1NjdkMDNhYjg3ZjUxZjAyNGQzMTM2NzI
&iss=https%3A%2F%2Fhonest.as.example`

	rfc9207Error = `https://client.example/cb?
error=access_denied
&state=N2JjNGJhY2JiZjRhYzA3MGJkMzNmMDE5OWJhZmJhZjA
&iss=https%3A%2F%2Fhonest.as.example`
)

// TestRFC9207Responses: the two examples, to a client of the server that they name, and to
// one of another (section 2.4).
func TestRFC9207Responses(t *testing.T) {
	for _, c := range []struct {
		name, printed, issuer, announced string
		says                             string // "": it is a login
		denied                           bool
	}{
		{"2.1", rfc9207Code, "https://honest.as.example", "true", "", false},
		{"2.1, not announced (2.4, local policy)", rfc9207Code, "https://honest.as.example", "", "", false},
		{"2.1, another client", rfc9207Code, "https://attacker.example", "true", "is from the issuer", false},
		{"2.1, compared as it is", rfc9207Code, "https://honest.as.example/", "true", "is from the issuer", false},
		{"2.1, no normalization", rfc9207Code, "https://honest.as.example:443", "true", "is from the issuer", false},
		{"2.1, another client, not announced", rfc9207Code, "https://attacker.example", "", "is from the issuer", false},
		{"2.2", rfc9207Error, "https://honest.as.example", "true", "answered access_denied", true},
		{"2.2, another client", rfc9207Error, "https://attacker.example", "true", "is from the issuer", false},
		{"2.3, announced and not there", strings.ReplaceAll(rfc9207Code, "\n&iss=https%3A%2F%2Fhonest.as.example", ""), "https://honest.as.example", "true", "has no iss", false},
		{"2.3, not announced and not there", strings.ReplaceAll(rfc9207Code, "\n&iss=https%3A%2F%2Fhonest.as.example", ""), "https://honest.as.example", "false", "", false},
		{"an error, announced and not there", strings.ReplaceAll(rfc9207Error, "\n&iss=https%3A%2F%2Fhonest.as.example", ""), "https://honest.as.example", "true", "has no iss", false},
	} {
		w := &rfcWire{answers: []string{rfc6749Answer}}
		_, err := browserLogin(t, w, func(conf *login.Config) {
			conf.Metadata.Issuer = c.issuer
			if c.announced != "" {
				conf.Metadata.Extra = map[string]json.RawMessage{"authorization_response_iss_parameter_supported": json.RawMessage(c.announced)}
			}
		}, withState(c.printed))
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || errors.Is(err, login.ErrDenied) != c.denied {
			t.Errorf("%s: %v, want %q", c.name, err, c.says)
		}
		sent := 0 // nothing of the answer is used if it is another's
		if c.says == "" {
			sent = 1
		}
		if len(w.got()) != sent {
			t.Errorf("%s: sent %+v", c.name, w.got())
		}
		if sent == 1 && !strings.Contains(w.got()[0].form, "code=x1848ZT64p4IirMPT0R-X3141MFPTuBX-VFL_cvaplMH58") {
			t.Errorf("%s: sent %+v", c.name, w.got())
		}
	}
}
