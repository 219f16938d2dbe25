package stepup

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/challenge"
)

// A Demand is what a challenge asks for. Empty: it does not say.
type Demand struct {
	Error, Description string
	Realm              string
	Scope              string
	ACRValues          string
	MaxAge             string // digits
	Claims             string // a JSON object
	ResourceMetadata   string
}

// maxClaims bounds the claims, decoded.
const maxClaims = 8 << 10

// Read returns the first demand of a 401 or 403 with these challenges. Others are about the
// token itself, or of a scheme that is not ours.
func Read(status int, list []challenge.Challenge) (Demand, bool) {
	if status != http.StatusUnauthorized && status != http.StatusForbidden {
		return Demand{}, false
	}
	for _, c := range list {
		if !strings.EqualFold(c.Scheme, "Bearer") && !strings.EqualFold(c.Scheme, "DPoP") {
			continue
		}
		d := Demand{
			Error: c.Params["error"], Description: c.Params["error_description"],
			Realm: c.Params["realm"], Scope: c.Params["scope"],
			ACRValues: c.Params["acr_values"], MaxAge: digits(c.Params["max_age"]), Claims: claims(c.Params["claims"]),
			ResourceMetadata: c.Params["resource_metadata"],
		}
		switch d.Error {
		case "insufficient_scope", "insufficient_user_authentication":
			return d, true
		}
		if d.Claims != "" {
			return d, true
		}
	}
	return Demand{}, false
}

// digits returns s if it is a number of seconds.
func digits(s string) string {
	if len(s) > 10 || strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

// claims returns the object that s encodes in base64, of either alphabet, with padding or
// without; "" if it is none.
func claims(s string) string {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	text, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(text) > maxClaims {
		return ""
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(text, &object) != nil || object == nil {
		return ""
	}
	return string(text)
}
