package tokenclient_test

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

type params = map[string]string

func challengeResponse(fields ...string) *http.Response {
	return &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": fields}}
}

func TestChallenges(t *testing.T) {
	type ch = tokenclient.Challenge
	for _, c := range []struct {
		name   string
		fields []string
		want   []ch
	}{
		{"none", nil, nil},
		{"empty", []string{"", " ,, ,"}, nil},
		{"scheme only", []string{"Negotiate"}, []ch{{"Negotiate", nil}}},
		{"bearer", []string{`Bearer realm="api", error="invalid_token", error_description="The token is expired"`},
			[]ch{{"Bearer", params{"realm": "api", "error": "invalid_token", "error_description": "The token is expired"}}}},
		{"several in one field", []string{`Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\""`}, // RFC 9110, section 11.6.1
			[]ch{{"Basic", params{"realm": "simple"}}, {"Newauth", params{"realm": "apps", "type": "1", "title": `Login to "apps"`}}}},
		{"several fields", []string{`DPoP algs="ES256 PS256"`, `Bearer`}, []ch{{"DPoP", params{"algs": "ES256 PS256"}}, {"Bearer", nil}}},
		{"scheme only, then another", []string{`Negotiate, Basic realm="x"`}, []ch{{"Negotiate", nil}, {"Basic", params{"realm": "x"}}}},
		{"token68", []string{`Negotiate YIIB6wYGKwYBBQU+/a==, Basic realm=x`},
			[]ch{{"Negotiate", params{"": "YIIB6wYGKwYBBQU+/a=="}}, {"Basic", params{"realm": "x"}}}},
		{"token68 without padding", []string{`NTLM TlRMTVNTUAAC`}, []ch{{"NTLM", params{"": "TlRMTVNTUAAC"}}}},
		{"comma and scheme in quotes", []string{`Bearer realm="a, Basic realm=\"b", error=x`}, []ch{{"Bearer", params{"realm": `a, Basic realm="b`, "error": "x"}}}},
		{"escapes", []string{`Bearer realm="a\\b\c"`}, []ch{{"Bearer", params{"realm": `a\bc`}}}},
		{"empty string", []string{`Bearer realm=""`}, []ch{{"Bearer", params{"realm": ""}}}},
		{"empty elements", []string{`, Bearer ,, realm="x" , , error=y,`}, []ch{{"Bearer", params{"realm": "x", "error": "y"}}}},
		{"bad white space", []string{"Bearer \t realm \t=\t \"x\" , error = y"}, []ch{{"Bearer", params{"realm": "x", "error": "y"}}}},
		{"case of names", []string{`bEARER ReAlM="X"`}, []ch{{"bEARER", params{"realm": "X"}}}},
		{"first wins", []string{`Bearer error=a, ERROR=b, error=c`}, []ch{{"Bearer", params{"error": "a"}}}},
		{"same scheme twice", []string{`Bearer error=a, Bearer error=b`}, []ch{{"Bearer", params{"error": "a"}}, {"Bearer", params{"error": "b"}}}},
		{"not ASCII", []string{`Basic realm="Zugang für alle"`}, []ch{{"Basic", params{"realm": "Zugang für alle"}}}},

		{"no comma", []string{`Bearer realm="x" error="y"`}, []ch{{"Bearer", params{"realm": "x", "error": "y"}}}},
		{"URL without quotes", []string{`Bearer authorization_uri=https://login.example.com/a?b=c, error=x`},
			[]ch{{"Bearer", params{"authorization_uri": "https://login.example.com/a?b=c", "error": "x"}}}},
		{"open quote", []string{`Bearer error=x, realm="abc`, `Basic realm=y`}, []ch{{"Bearer", params{"error": "x"}}, {"Basic", params{"realm": "y"}}}},
		{"open escape", []string{`Bearer error=x, realm="abc\`}, []ch{{"Bearer", params{"error": "x"}}}},
		{"no value", []string{`Bearer realm=, error=x`}, []ch{{"Bearer", params{"": "realm=", "error": "x"}}}}, // a token68 by the grammar
		{"no value later", []string{`Bearer error=x, realm=, scope=y`}, []ch{{"Bearer", params{"error": "x", "scope": "y"}}}},
		{"parameter without scheme", []string{`realm="x", Bearer error=y`}, []ch{{"Bearer", params{"error": "y"}}}},
		{"parameter of the field before", []string{`Bearer error=x`, `realm="x"`}, []ch{{"Bearer", params{"error": "x"}}}},
		{"lone quote", []string{`"Bearer", Basic realm=x`}, []ch{{"Basic", params{"realm": "x"}}}},
		{"junk", []string{`()[]{}, =x, "a,b" c, Bearer error=y`}, []ch{{"Bearer", params{"error": "y"}}}},
		{"control character", []string{"Bearer realm=\"a\x00b\", error=y"}, []ch{{"Bearer", params{"error": "y"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := tokenclient.Challenges(challengeResponse(c.fields...))
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			again := tokenclient.Challenges(challengeResponse(writeChallenges(got)))
			if !reflect.DeepEqual(again, got) {
				t.Errorf("written and read again: %q", again)
			}
		})
	}
}

func TestChallengesNil(t *testing.T) {
	if got := tokenclient.Challenges(nil); got != nil {
		t.Errorf("of nil: %v", got)
	}
	if got := tokenclient.Challenges(&http.Response{}); got != nil {
		t.Errorf("of a response without a header: %v", got)
	}
}

func TestChallengesBounds(t *testing.T) {
	many := tokenclient.Challenges(challengeResponse(strings.Repeat("Basic realm=x, ", 1000)))
	if len(many) != 32 {
		t.Errorf("%d challenges, want 32", len(many))
	}
	fill := `Basic realm="` + strings.Repeat("x", tokenclient.MaxChallenge-len(`Basic realm=""`)) + `"`
	got := tokenclient.Challenges(challengeResponse(fill, "Bearer error=x"))
	if len(got) != 1 || len(got[0].Params["realm"]) != tokenclient.MaxChallenge-len(`Basic realm=""`) {
		t.Errorf("16 KiB are not read, or more are: %d challenges", len(got))
	}
	got = tokenclient.Challenges(challengeResponse("x"+fill, "Bearer error=x"))
	if len(got) != 1 || len(got[0].Params) != 0 {
		t.Errorf("a string that is cut at 16 KiB counts: %d challenges", len(got))
	}
}

func TestChallengeAllowsRefresh(t *testing.T) {
	for field, want := range map[string]bool{
		``:                                  true,
		`Bearer`:                            true,
		`Bearer error="invalid_token"`:      true,
		`Basic error="insufficient_scope"`:  true, // not an OAuth scheme
		`Bearer error="insufficient_scope"`: false,
		`bearer ERROR=insufficient_scope`:   false,
		`DPoP error="insufficient_scope"`:   false,
		`Basic realm=x, Bearer scope="a", error="insufficient_scope"`:                   false,
		`Bearer error="insufficient_user_authentication", acr_values="myACR",max_age=5`: false,
		`Bearer error_description="insufficient_scope"`:                                 true,
		`Bearer realm="error=insufficient_scope"`:                                       true,
	} {
		if got := tokenclient.ChallengeAllowsRefresh(challengeResponse(field)); got != want {
			t.Errorf("%s: %v, want %v", field, got, want)
		}
	}
}

// writeChallenges writes challenges as a server should.
func writeChallenges(list []tokenclient.Challenge) string {
	var all []string
	for _, c := range list {
		var ps []string
		if v, ok := c.Params[""]; ok {
			ps = append(ps, v)
		}
		for _, name := range slices.Sorted(maps.Keys(c.Params)) {
			if name != "" {
				v := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.Params[name])
				ps = append(ps, fmt.Sprintf(`%s="%s"`, name, v))
			}
		}
		all = append(all, strings.TrimSpace(c.Scheme+" "+strings.Join(ps, ", ")))
	}
	return strings.Join(all, ", ")
}

func FuzzChallenges(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="api", error="invalid_token"`, `Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\""`,
		`Negotiate YII==, Basic`, `Bearer a=, b=c`, `a b c="d`, `,,=,"x\`, `Bearer realm=https://x/?a=b`, "A\tb\x00=c", `x y=,z`,
	} {
		f.Add(s)
	}
	isName := func(s string) bool {
		return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	}
	f.Fuzz(func(t *testing.T, field string) {
		list := tokenclient.Challenges(challengeResponse(field))
		for _, c := range list {
			if !isName(c.Scheme) {
				t.Fatalf("scheme %q", c.Scheme)
			}
			for name := range c.Params {
				if name != "" && !isName(name) || name != strings.ToLower(name) {
					t.Fatalf("name %q", name)
				}
			}
		}
		written := writeChallenges(list)
		if len(written) > tokenclient.MaxChallenge {
			return // quotes made it longer than what is read
		}
		if again := tokenclient.Challenges(challengeResponse(written)); !reflect.DeepEqual(again, list) {
			t.Fatalf("%q\nis  %q\nand %q\nis  %q", field, list, written, again)
		}
	})
}

func TestDemandParams(t *testing.T) {
	d := tokenclient.Demand{Scope: "a b", ACRValues: "mfa", MaxAge: "0", Claims: `{"id_token":{}}`}
	if got, want := d.Params().Encode(), "acr_values=mfa&claims=%7B%22id_token%22%3A%7B%7D%7D&max_age=0"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := (tokenclient.Demand{}).Params(); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for _, resp := range []*http.Response{nil, {StatusCode: 200}, {StatusCode: 401}, {StatusCode: 403, Header: http.Header{"Www-Authenticate": {"Bearer"}}}} {
		if d, ok := tokenclient.DemandOf(resp); ok {
			t.Errorf("%v: %+v", resp, d)
		}
	}
}
