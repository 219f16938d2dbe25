package challenge_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/challenge"
)

// TestParse: what can be understood is kept, whatever stands beside it. The table of all
// cases is that of tokenclient.Challenges.
func TestParse(t *testing.T) {
	type params = map[string]string
	for _, c := range []struct {
		fields []string
		want   []challenge.Challenge
	}{
		{nil, nil},
		{[]string{"", " ,, ,"}, nil},
		{[]string{`Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\""`}, // RFC 9110, section 11.6.1
			[]challenge.Challenge{{"Basic", params{"realm": "simple"}}, {"Newauth", params{"realm": "apps", "type": "1", "title": `Login to "apps"`}}}},
		{[]string{`Negotiate YIIB6wYGKwYBBQU+/a==, DPoP algs="ES256 PS256" error=x`},
			[]challenge.Challenge{{"Negotiate", params{"": "YIIB6wYGKwYBBQU+/a=="}}, {"DPoP", params{"algs": "ES256 PS256", "error": "x"}}}},
		{[]string{`Bearer error=x, realm="abc`, `Basic realm=y`}, []challenge.Challenge{{"Bearer", params{"error": "x"}}, {"Basic", params{"realm": "y"}}}},
		{[]string{`Bearer error=x`, `realm="x"`, `Basic`}, []challenge.Challenge{{"Bearer", params{"error": "x"}}, {"Basic", nil}}},
		{[]string{"Negotiate YIIB", "Negotiate YII==", "Negotiate -abc"}, // a token68 up to the end
			[]challenge.Challenge{{"Negotiate", params{"": "YIIB"}}, {"Negotiate", params{"": "YII=="}}, {"Negotiate", params{"": "-abc"}}}},
		{[]string{`09azAZ a0z9AZ=x, !#$%&'*+-.^_|~ !=y`}, []challenge.Challenge{{"09azAZ", params{"a0z9az": "x"}}, {"!#$%&'*+-.^_|~", params{"!": "y"}}}},
		{[]string{"Bearer error=x, realm=, scope=y", "Basic realm=\"\", a=b"}, []challenge.Challenge{{"Bearer", params{"error": "x", "scope": "y"}}, {"Basic", params{"realm": "", "a": "b"}}}},
		{[]string{"Bearer realm=\"a\tb\", error=\"a\x01b\", scope=a\x01b, acr_values=\"a\x7fb\""}, []challenge.Challenge{{"Bearer", params{"realm": "a\tb"}}}},
		{[]string{`Bearer error="cut\`, `Basic realm="\`}, []challenge.Challenge{{"Bearer", nil}, {"Basic", nil}}},
		{[]string{`Negotiate a-._~+/9=, Bearer error = x scope="a" realm=b"c", d=e`},
			[]challenge.Challenge{{"Negotiate", params{"": "a-._~+/9="}}, {"Bearer", params{"error": "x", "scope": "a", "realm": "b", "d": "e"}}}},
		{[]string{"Negotiate abc \t, Bearer error=x\tscope=y, ERROR=z"}, []challenge.Challenge{{"Negotiate", params{"": "abc"}}, {"Bearer", params{"error": "x", "scope": "y"}}}},
		{[]string{"Bearer realm=\"a\x1fb\", error=\"a b\", scope=\"a\x7eb\""}, []challenge.Challenge{{"Bearer", params{"error": "a b", "scope": "a~b"}}}},
		{[]string{`Bearer realm="\\", error="\a\"b"`}, []challenge.Challenge{{"Bearer", params{"realm": `\`, "error": `a"b`}}}},
		{[]string{`()[]{}, =x, "a,b" c, Bearer error=y`}, []challenge.Challenge{{"Bearer", params{"error": "y"}}}},
	} {
		if got := challenge.Parse(c.fields); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %q, want %q", c.fields, got, c.want)
		}
	}
}

// TestParseBounds: no header makes more than it may.
func TestParseBounds(t *testing.T) {
	if n := len(challenge.Parse([]string{strings.Repeat("Basic, ", 1000)})); n != challenge.Most {
		t.Errorf("%d challenges, want %d", n, challenge.Most)
	}
	long := strings.Repeat(" ", challenge.MaxBytes)
	if got := challenge.Parse([]string{long, "Bearer"}); got != nil {
		t.Errorf("what is beyond the bound is read: %q", got)
	}
	if got := challenge.Parse([]string{long[1:], "Bearer"}); len(got) != 1 || got[0].Scheme != "B" {
		t.Errorf("what is within the bound is not read: %q", got)
	}
}
