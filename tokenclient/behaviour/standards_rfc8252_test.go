package behaviour_test

import (
	"net"
	"net/url"
	"regexp"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

// TestRFC8252Loopback: the two forms of section 7.3, each with a port that is free; and localhost, of which section 8.3 advises against. The port is
// open on the loopback interface alone, and no longer than the login (8.3).
func TestRFC8252Loopback(t *testing.T) {
	for _, c := range []struct{ given, want string }{
		{"", `^http://127\.0\.0\.1:\d+/callback$`},
		{"http://127.0.0.1/{path}", `^http://127\.0\.0\.1:\d+/%7Bpath%7D$`},
		{"http://[::1]/{path}", `^http://\[::1\]:\d+/%7Bpath%7D$`},
		{"http://localhost/{path}", `^http://localhost:\d+/%7Bpath%7D$`},
	} {
		w := &rfcWire{answers: []string{rfc6749Answer}}
		var port string
		asked, err := browserLogin(t, w, func(conf *login.Config) { conf.RedirectURL = c.given }, func(asked url.Values) string {
			u, err := url.Parse(asked.Get("redirect_uri"))
			if err != nil {
				t.Error(err)
				return ""
			}
			port = u.Port()
			for _, address := range outsideAddresses(t) {
				if c, err := net.Dial("tcp", net.JoinHostPort(address, port)); err == nil {
					_ = c.Close()
					t.Errorf("%s can be reached by others, at %s", u.Host, address)
				}
			}
			return withState("?code=x&state=x")(asked)
		})
		if err != nil {
			t.Errorf("%q: %v", c.given, err)
			continue
		}
		if !regexp.MustCompile(c.want).MatchString(asked.Get("redirect_uri")) {
			t.Errorf("%q has become %s", c.given, asked.Get("redirect_uri"))
		}
		for _, host := range []string{"127.0.0.1", "::1"} {
			if c, err := net.Dial("tcp", net.JoinHostPort(host, port)); err == nil {
				_ = c.Close()
				t.Errorf("%q: %s is open after the login", asked.Get("redirect_uri"), host)
			}
		}
	}
}

// outsideAddresses are those by which other machines reach this one.
func outsideAddresses(t *testing.T) (list []string) {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && !n.IP.IsLoopback() {
			list = append(list, n.IP.String())
		}
	}
	return list
}

// TestRFC8252State: each login has a state of its own, and without it an answer is for
// nobody (section 8.9).
func TestRFC8252State(t *testing.T) {
	seen := map[string]bool{}
	for range 5 {
		w := &rfcWire{answers: []string{rfc6749Answer}}
		asked, err := browserLogin(t, w, nil, withState("?code=x&state=x"))
		if state := asked.Get("state"); err != nil || len(state) < 22 || seen[state] {
			t.Errorf("the state is %q, %v", state, err)
		}
		seen[asked.Get("state")] = true
	}
}
