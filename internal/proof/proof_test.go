package proof_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/proof"
)

const planted = "planted-secret-0123456789"

// method is one that sends a secret.
func method(id, secret string) *proof.Method {
	return proof.New("Way", id, proof.CheckSecret("Way", secret), func(ctx context.Context, endpoint string, form url.Values, header http.Header) error {
		form.Set("secret", secret)
		header.Set("X-Endpoint", endpoint)
		return ctx.Err()
	})
}

func TestMethod(t *testing.T) {
	form, header := url.Values{}, http.Header{}
	ctx, cancel := context.WithCancel(t.Context())
	if err := method("app", planted).Authenticate(ctx, "https://auth.example.com", form, header); err != nil {
		t.Fatal(err)
	}
	if form.Get("secret") != planted || header.Get("X-Endpoint") != "https://auth.example.com" {
		t.Errorf("form %v, header %v", form, header)
	}
	cancel()
	if err := method("app", planted).Authenticate(ctx, "", form, header); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	form = url.Values{}
	if err := method("", planted).Authenticate(t.Context(), "", form, header); err == nil || len(form) != 0 {
		t.Errorf("without an id: %v, %v", form, err)
	}
}

func TestNobody(t *testing.T) {
	form, header := url.Values{}, http.Header{}
	m := proof.Nobody("Way")
	if err := m.Authenticate(t.Context(), "", form, header); err != nil || len(form)+len(header) != 0 || m.Validate() != nil || m.String() != "Way()" {
		t.Errorf("%v: %v, form %v, header %v, %v", m, err, form, header, m.Validate())
	}
}

func TestMethodValidates(t *testing.T) {
	for _, c := range []struct{ id, secret, want string }{
		{"app", planted, ""},
		{"app\u00a0", planted, ""}, // a space is not our business
		{"", planted, "Way has an empty client id; it is the client_id"},
		{"", "", "Way has an empty client id"},
		{"app\n", planted, "the client id of Way has a control character in it"},
		{"app", "", "Way has an empty client secret; use PublicClient(id)"},
		{"app", planted + "\r\n", "the client secret of Way has a control character in it, such as the line break at the end of a file; use strings.TrimSpace"},
	} {
		err := method(c.id, c.secret).Validate()
		switch {
		case c.want == "" && err == nil:
		case err == nil || c.want == "" || !strings.HasPrefix(err.Error(), c.want):
			t.Errorf("%q, %q: %v, want %q", c.id, c.secret, err, c.want)
		case strings.Contains(err.Error(), planted):
			t.Errorf("a secret in %v", err)
		}
	}
}

// TestMethodPrints: the name and the id, and never what is in the function.
func TestMethodPrints(t *testing.T) {
	m := method("app", planted)
	const want = `Way("app")`
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, m); got != want {
			t.Errorf("%s: %s", verb, got)
		}
		if got := fmt.Sprintf(verb, struct{ hidden any }{m}); strings.Contains(got, "planted") || strings.Contains(got, fmt.Sprintf("%x", "planted")) {
			t.Errorf("%s in another struct: %s", verb, got)
		}
	}
	if b, err := json.Marshal(m); err != nil || string(b) != `"Way(\"app\")"` || m.String() != want {
		t.Errorf("%s, %v, %s", b, err, m)
	}
}
