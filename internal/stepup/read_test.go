package stepup_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/challenge"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/stepup"
)

// TestExamples: what the standards give as examples, and a server's documentation.
func TestExamples(t *testing.T) {
	text, err := os.ReadFile("testdata/examples.json")
	if err != nil {
		t.Fatal(err)
	}
	var examples []struct {
		From   string
		Status int
		Header string
		Demand *stepup.Demand
	}
	if err := json.Unmarshal(text, &examples); err != nil {
		t.Fatal(err)
	}
	if len(examples) < 10 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, e := range examples {
		got, ok := stepup.Read(e.Status, challenge.Parse([]string{e.Header}))
		if ok != (e.Demand != nil) || ok && got != *e.Demand {
			t.Errorf("%s: %+v, %v", e.From, got, ok)
		}
	}
}

func TestRead(t *testing.T) {
	object := `{"access_token":{"acrs":{"essential":true,"value":"c1?>"}}}`
	std := base64.StdEncoding.EncodeToString([]byte(object))
	raw := base64.RawURLEncoding.EncodeToString([]byte(object))
	claims := stepup.Demand{Error: "insufficient_claims", Claims: object}
	long := `{"a":"` + strings.Repeat("a", 8<<10-8) + `"}`
	for name, c := range map[string]struct {
		status int
		header string
		want   *stepup.Demand
	}{
		"claims in base64":              {401, `Bearer error="insufficient_claims", claims="` + std + `"`, &claims},
		"claims in base64url, unpadded": {403, `Bearer error="insufficient_claims", claims="` + raw + `"`, &claims},
		"claims of a dead token":        {401, `Bearer error="invalid_token", claims="` + std + `"`, &stepup.Demand{Error: "invalid_token", Claims: object}},
		"claims without an error":       {401, `Bearer claims="` + std + `"`, &stepup.Demand{Claims: object}},
		"claims that are none":          {401, `Bearer error="insufficient_claims", claims="%%%"`, nil},
		"claims that are a list":        {401, `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte("[1]")) + `"`, nil},
		"claims that are null":          {401, `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte("null")) + `"`, nil},
		"claims without end":            {401, `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(`{"a":"`+strings.Repeat("a", 9<<10)+`"}`)) + `"`, nil},
		"claims of 8 KiB":               {401, `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(long)) + `"`, &stepup.Demand{Error: "insufficient_claims", Claims: long}},
		"claims of more":                {401, `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(long+" ")) + `"`, nil},
		"a dead token":                  {401, `Bearer error="invalid_token"`, nil},
		"no token":                      {401, `Bearer`, nil},
		"another scheme":                {401, `Basic error="insufficient_scope"`, nil},
		"DPoP":                          {403, `DPoP error="insufficient_scope", scope="a b"`, &stepup.Demand{Error: "insufficient_scope", Scope: "a b"}},
		"the second challenge":          {403, `Negotiate, bearer error=insufficient_scope`, &stepup.Demand{Error: "insufficient_scope"}},
		"claims without an object":      {401, `Bearer error="invalid_token", claims=""`, nil},
		"claims cut off":                {401, `Bearer error="insufficient_claims", claims="` + std[:len(std)/2] + `"`, nil},
		"claims in no quotes":           {401, `Bearer error=insufficient_claims, claims=` + std, &claims},
		"half of a header":              {401, `Bearer error="insufficient_scope`, nil},
		"a control character":           {401, "Bearer error=\"insufficient_scope\", scope=\"a\x01b\"", &stepup.Demand{Error: "insufficient_scope"}},
		"an error in other letters":     {401, `Bearer error="INSUFFICIENT_SCOPE"`, nil},
		"the same twice":                {403, `Bearer error="insufficient_scope", scope="a", scope="b"`, &stepup.Demand{Error: "insufficient_scope", Scope: "a"}},
		"nothing":                       {401, ``, nil},
		"an answer that is no refusal":  {200, `Bearer error="insufficient_scope"`, nil},
		"another status":                {400, `Bearer error="insufficient_scope"`, nil},
		"a max_age that is none":        {401, `Bearer error="insufficient_user_authentication", max_age="soon"`, &stepup.Demand{Error: "insufficient_user_authentication"}},
		"a negative max_age":            {401, `Bearer error="insufficient_user_authentication", max_age="-1"`, &stepup.Demand{Error: "insufficient_user_authentication"}},
		"a max_age of ten digits":       {401, `Bearer error="insufficient_user_authentication", max_age=9999999999`, &stepup.Demand{Error: "insufficient_user_authentication", MaxAge: "9999999999"}},
		"a max_age of eleven":           {401, `Bearer error="insufficient_user_authentication", max_age=10000000000`, &stepup.Demand{Error: "insufficient_user_authentication"}},
		"a max_age of now":              {401, `Bearer error="insufficient_user_authentication", max_age=0`, &stepup.Demand{Error: "insufficient_user_authentication", MaxAge: "0"}},
	} {
		got, ok := stepup.Read(c.status, challenge.Parse([]string{c.header}))
		if ok != (c.want != nil) || ok && got != *c.want {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(401, `Bearer error="insufficient_user_authentication", acr_values="a", max_age="5"`)
	f.Add(403, `DPoP error="insufficient_scope", scope="a b", claims="eyJhIjoxfQ=="`)
	f.Fuzz(func(t *testing.T, status int, header string) {
		d, ok := stepup.Read(status, challenge.Parse([]string{header}))
		switch {
		case !ok && d != stepup.Demand{}:
			t.Fatalf("no demand, and %+v", d)
		case ok && status != 401 && status != 403:
			t.Fatalf("a demand with status %d", status)
		case strings.Trim(d.MaxAge, "0123456789") != "":
			t.Fatalf("max_age %q", d.MaxAge)
		case d.Claims != "" && !json.Valid([]byte(d.Claims)):
			t.Fatalf("claims %q", d.Claims)
		}
	})
}
