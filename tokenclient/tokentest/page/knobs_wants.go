package page

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// The knobs of what a server wants beside a token: proofs, and more than the login that there is.
// The server reads what these options point to without its lock, so each turn makes it anew.
var wantGroups = []knobGroup{
	{"Proofs (DPoP)", []knob{
		{
			Name: "dpop", Label: "Proofs", Help: "tokens are bound to a key, and each request proves that it has it", Flag: true,
			get: func(o *tokentest.Options) string { return strconv.FormatBool(o.DPoP != nil) },
			set: func(o *tokentest.Options, v string) error {
				on, err := strconv.ParseBool(v)
				switch {
				case err != nil:
					return errors.New("want true or false")
				case !on:
					o.DPoP = nil
				case o.DPoP == nil:
					o.DPoP = new(tokentest.DPoP)
				}
				return nil
			},
		},
		ofProofs(flagKnob("token-nonce", "Nonce for refreshes", "proofs need one of the server's; turns proofs on", func(o *tokentest.Options) *bool { return &o.DPoP.TokenNonce })),
		ofProofs(flagKnob("api-nonce", "Nonce for the API", "the same for API requests", func(o *tokentest.Options) *bool { return &o.DPoP.APINonce })),
		ofProofs(countKnob("nonce-uses", "Uses of a nonce", "how many proofs it is good for; 0: no limit", func(o *tokentest.Options) *int { return &o.DPoP.NonceUses })),
		ofProofs(timeKnob("nonce-lifetime", "Life of a nonce", "0s: no limit", func(o *tokentest.Options) *time.Duration { return &o.DPoP.NonceLifetime })),
		ofProofs(timeKnob("proof-window", "Age of a proof", "how far off its time may be; 0s: 30s", func(o *tokentest.Options) *time.Duration { return &o.DPoP.Window })),
	}},
	{"Demands (step-up)", []knob{
		ofDemand("demand-path", "Where", "such as /api/orders; empty: the whole API",
			func(d *tokentest.Demand) *string { return &d.Path }, func(v string) bool { return v[0] == '/' }, "want a path, such as /api/orders"),
		ofDemand("demand-scope", "Scope", "which the login must have; else 403, insufficient_scope",
			func(d *tokentest.Demand) *string { return &d.Scope }, isWords, "want words"),
		ofDemand("demand-acr", "Strength", "acr_values such as mfa; else 401, insufficient_user_authentication",
			func(d *tokentest.Demand) *string { return &d.ACRValues }, isWords, "want words"),
		ofDemands(timeKnob("demand-age", "Age of the login", "at most; 0s: any", func(o *tokentest.Options) *time.Duration { return &o.Demands[0].MaxAge })),
		ofDemand("demand-claims", "Claims", "a JSON object; else 401, insufficient_claims",
			func(d *tokentest.Demand) *string { return &d.Claims }, isObject, "want a JSON object"),
	}},
	{"OAuth clients", []knob{{
		Name: "client-secret", Label: "Client secret", Help: "which they must know; empty: they are public",
		get: func(o *tokentest.Options) string { return o.ClientSecret },
		set: func(o *tokentest.Options, v string) error { o.ClientSecret = v; return nil },
	}}},
}

// ofProofs is k, a knob of Options.DPoP, which there may not be. As the flags of
// examples/mockserver do, it turns proofs on.
func ofProofs(k knob) knob {
	get, set := k.get, k.set
	k.get = func(o *tokentest.Options) string {
		d := o.DPoP
		if d == nil {
			d = new(tokentest.DPoP)
		}
		return get(&tokentest.Options{DPoP: d})
	}
	k.set = func(o *tokentest.Options, v string) error {
		var d tokentest.DPoP
		if o.DPoP != nil {
			d = *o.DPoP
		}
		if err := set(&tokentest.Options{DPoP: &d}, v); err != nil {
			return err
		}
		if o.DPoP != nil || d != (tokentest.DPoP{}) {
			o.DPoP = &d
		}
		return nil
	}
	return k
}

// ofDemands is k, a knob of the first of Options.Demands, which there may not be. What a program
// demands beyond it stays.
func ofDemands(k knob) knob {
	get, set := k.get, k.set
	first := func(o *tokentest.Options) []tokentest.Demand {
		if len(o.Demands) == 0 {
			return []tokentest.Demand{{}}
		}
		return slices.Clone(o.Demands)
	}
	k.get = func(o *tokentest.Options) string { return get(&tokentest.Options{Demands: first(o)}) }
	k.set = func(o *tokentest.Options, v string) error {
		demands := first(o)
		if err := set(&tokentest.Options{Demands: demands}, v); err != nil {
			return err
		}
		if demands[0] == (tokentest.Demand{}) {
			demands = demands[1:]
		}
		o.Demands = demands
		return nil
	}
	return k
}

// ofDemand is a knob of a text in the first demand; wrong is said of one that is not empty nor ok.
func ofDemand(name, label, help string, field func(*tokentest.Demand) *string, ok func(string) bool, wrong string) knob {
	return ofDemands(knob{
		Name: name, Label: label, Help: help,
		get: func(o *tokentest.Options) string { return *field(&o.Demands[0]) },
		set: func(o *tokentest.Options, v string) error {
			if v != "" && !ok(v) {
				return errors.New(wrong)
			}
			*field(&o.Demands[0]) = v
			return nil
		},
	})
}

// isWords is about lists as RFC 6749, section 3.3, has them: they stand in a challenge.
func isWords(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}

func isObject(v string) bool {
	var object map[string]any
	return json.Unmarshal([]byte(v), &object) == nil && object != nil
}
