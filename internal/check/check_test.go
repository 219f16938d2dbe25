package check_test

import (
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/check"
)

// says is a part that says err of itself.
type says struct{ err error }

func (s *says) Validate() error { return s.err }

// embeds is another part, whose Validate is that of what it embeds.
type embeds struct{ *says }

// wants fails t unless err says want; "": there is none.
func wants(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := ""; err != nil || want != "" {
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
}

// TestPart: nil pointers are found, and what a part says of itself is told without secrets.
func TestPart(t *testing.T) {
	own := new(says)
	own.err = check.Invalid(own, nil, errors.New("its URL is empty"), errors.New("and more"))
	for _, c := range []struct {
		name string
		part any
		want string
	}{
		{"says nothing of itself", 7, ""},
		{"is right", new(says), ""},
		{"nil pointer", (*says)(nil), "Field holds a nil pointer, a *check_test.says; assign one that points to something"},
		{"is wrong", &says{errors.New("its name is empty")}, "Field: its name is empty"},
		{"ours", own, "Field: its URL is empty"},
		{"ours, embedded", embeds{own}, "Field: its URL is empty (if a check_test.embeds can do without, have its own method Validate say so)"},
		{"shows a key", &says{&url.Error{Op: "Get", URL: "https://a.example.com/x?key=secret", Err: errors.New("no")}},
			`Field: Get "https://a.example.com/x": no`},
	} {
		wants(t, c.name, check.Part("Field", c.part), c.want)
	}
	if err := check.Invalid(own, nil, nil); err != nil {
		t.Errorf("nothing is wrong: %v", err)
	}
}

// TestNil: what would panic when it is called is nil, and nothing else.
func TestNil(t *testing.T) {
	for _, v := range []any{nil, (*says)(nil), (func())(nil), http.Header(nil)} {
		if !check.Nil(v) {
			t.Errorf("%T is not nil", v)
		}
	}
	for _, v := range []any{0, "", new(says), func() {}, http.Header{}, says{}} {
		if check.Nil(v) {
			t.Errorf("%T is nil", v)
		}
	}
}

// TestFields: what each kind of field can have wrong.
func TestFields(t *testing.T) {
	wants(t, "client", check.Client("F", nil), "")
	wants(t, "client", check.Client("F", &http.Client{Transport: http.DefaultTransport}), "")
	wants(t, "transport", check.Client("F", &http.Client{Transport: (*http.Transport)(nil)}),
		"F.Transport holds a nil pointer, a *http.Transport; leave it nil for http.DefaultTransport")
	wants(t, "jar", check.Client("F", &http.Client{Jar: (*cookiejar.Jar)(nil)}),
		"F.Jar holds a nil pointer, a *cookiejar.Jar; leave it nil for no cookies")
	for _, d := range []time.Duration{-1, 0, time.Millisecond, time.Hour} {
		wants(t, d.String(), check.Duration("F", d), "")
	}
	wants(t, "20", check.Duration("F", 20), "F is 20ns, less than a millisecond; write a unit, like 20*time.Second")
	wants(t, "endpoint", check.Endpoint("F", "https://a.example.com/token", false), "")
	wants(t, "endpoint", check.Endpoint("F", "http://10.0.0.1/token", true), "")
	for _, u := range []string{"", "a.example.com/token", "http://10.0.0.1/token", "ftp://a.example.com"} {
		if check.Endpoint("F", u, false) == nil {
			t.Errorf("%q is an endpoint", u)
		}
	}
}

// TestMembers: no two names want the same place, nor one a place inside of another's.
func TestMembers(t *testing.T) {
	const clash = `F.A and B clash at "data"; give each a member of its own`
	for _, c := range []struct{ a, b, want string }{
		{"access", "refresh", ""},
		{"data.access", "data.refresh", ""},
		{"data", "database", ""},
		{"data", "data", clash},
		{"data", "data.refresh", clash},
		{"data.access", "data", clash},
		{"data.", "b", `F.A is "data.", which has nothing before or after a dot; write it like "data.token"`},
		{"a", "", `F.B is "", which has nothing before or after a dot; write it like "data.token"`},
	} {
		wants(t, c.a+", "+c.b, check.Members("F", check.Member{"A", c.a}, check.Member{"B", c.b}), c.want)
	}
}
