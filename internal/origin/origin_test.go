package origin_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/wire"
)

func parse(tb testing.TB, s string) *url.URL {
	tb.Helper()
	u, err := url.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

// spellings are hosts of URLs as [url.Parse] or a program's own code may make them.
var spellings = []string{
	"api.example", "API.Example", "api.example:", "api.example:443", "API.EXAMPLE:80", "api.example:0443", "api.example:8443",
	"api.example.", "[api.example]", "[api.example]:443", "u@api.example", "api.example:x", "api example", "%61pi.example",
	"ａpi.example", "api。example", "api.exaſple", "api.e\u212aample", "\xffapi.example", "api.example\x00", "",
	"straße.example", "straße.example:443", "STRAẞE.example", "Straße.example", "strasse.example", "STRASSE.example", "xn--strae-oqa.example", "[straße.example]",
	"βόλος.example", "βόλοσ.example", "ΒΌΛΟΣ.example", "bücher.example", "bu\u0308cher.example", "BÜCHER.example", "xn--bcher-kva.example", "XN--BCHER-KVA.example",
	"localhost", "LOCALHOST", "localho\u017ft", "localhost.", "127.0.0.1", "127.1", "0x7f.0.0.1", "2130706433", "127.0.0.1:80", "127.0.0.01",
	"[::1]", "[::1]:443", "::1", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::FFFF:127.0.0.1]", "fe80::1:443", "[fe80::1]:443",
	"[fe80::1%eth0]", "[fe80::1%ETH0]", "[FE80::1%eth0]", "[fe80::1]", "[FE80::1]", "[::1%lo]",
}

// dialed is where net/http goes with a URL of that scheme and host, and what it says
// there.
func dialed(t *testing.T, scheme, host string) (addr, told string, ok bool) {
	t.Helper()
	w := &wire.Wire{}
	req := (&http.Request{URL: &url.URL{Scheme: scheme, Host: host}, Header: http.Header{}}).WithContext(t.Context())
	resp, err := w.Transport().RoundTrip(req)
	if err != nil {
		return "", "", false
	}
	_ = resp.Body.Close()
	sent := w.Sent()[0]
	return sent.Addr, strings.Join(sent.Values("Host"), "|"), true
}

// withoutPort is a Host header without what says nothing.
func withoutPort(scheme, host string) string {
	return strings.TrimSuffix(strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[scheme]), ":")
}

// TestEqualIsWhatIsDialed: two spellings are the same origin only if net/http dials the
// same for both and tells the server the same host. Before hosts were compared so,
// "STRAẞE.example" (which dials strasse.example), "βόλοσ.example", "localhoſt" and
// "[api.example]" were the same as their neighbours in the list.
func TestEqualIsWhatIsDialed(t *testing.T) {
	for _, scheme := range []string{"https", "http"} {
		type way struct {
			addr, told string
			ok         bool
		}
		ways := make([]way, len(spellings))
		for i, s := range spellings {
			ways[i].addr, ways[i].told, ways[i].ok = dialed(t, scheme, s)
		}
		for i, a := range spellings {
			for j, b := range spellings {
				same := origin.Of(&url.URL{Scheme: scheme, Host: a}).Equal(origin.Of(&url.URL{Scheme: scheme, Host: b}))
				x, y := ways[i], ways[j]
				switch {
				case a == b && !same:
					t.Errorf("%q is not itself", a)
				case !same || !x.ok && !y.ok:
				case x.ok != y.ok, wire.Lower(x.addr) != wire.Lower(y.addr), withoutPort(scheme, wire.Lower(x.told)) != withoutPort(scheme, wire.Lower(y.told)):
					t.Errorf("%s: %q and %q are equal, and net/http dials %s with Host %q, and %s with Host %q", scheme, a, b, x.addr, x.told, y.addr, y.told)
				case strings.Contains(x.addr, "%") && x.addr != y.addr:
					t.Errorf("%s: %q and %q are equal, and are in the zones of %s and %s", scheme, a, b, x.addr, y.addr)
				}
			}
		}
	}
}

// TestEqual: what must be the same, and what must not although net/http dials the same.
func TestEqual(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"https://api.example", "https://api.example", true},
		{"https://API.Example", "https://api.eXAMPLE", true},
		{"https://api.example", "https://api.example:443", true},
		{"https://api.example", "https://api.example:", true},
		{"http://api.example", "http://api.example:80", true},
		{"https://api.example/a?b#c", "https://u:p@api.example", true},
		{"https://[::1]", "https://[::1]:443", true},
		{"https://[FE80::1]", "https://[fe80::1]", true},
		{"https://straße.example", "https://straße.example:443", true},
		{"https://a%C3%BCb", "https://aüb", true}, // url.Parse makes one of both

		{"https://api.example", "http://api.example", false},
		{"https://api.example:80", "http://api.example", false},
		{"https://api.example:443", "https://api.example:0443", false},
		{"https://api.example", "https://api.example.", false},
		{"https://straße.example", "https://Straße.example", false},
		{"https://straße.example", "https://xn--strae-oqa.example", false},
		{"https://[::1]", "https://[0:0:0:0:0:0:0:1]", false},
		{"https://[fe80::1%25eth0]", "https://[fe80::1%25ETH0]", false},
		{"https://[fe80::1%25eth0]", "https://[fe80::1]", false},
		{"https://127.0.0.1", "https://127.1", false},
		{"ws://api.example", "wss://api.example", false},
	} {
		a, b := origin.Of(parse(t, tc.a)), origin.Of(parse(t, tc.b))
		if a.Equal(b) != tc.want || b.Equal(a) != tc.want {
			t.Errorf("%s and %s: equal %v, want %v", tc.a, tc.b, !tc.want, tc.want)
		}
	}
	// Only a program's own code can make these, and nobody dials them.
	for a, b := range map[string]string{"\x80pi.example": "\x80PI.example", "%lo": "%LO"} {
		if origin.Of(&url.URL{Scheme: "https", Host: a}).Equal(origin.Of(&url.URL{Scheme: "https", Host: b})) {
			t.Errorf("%q and %q are equal", a, b)
		}
	}
	for _, scheme := range []string{"HTTPS", "http\u017f", ""} {
		if origin.Of(&url.URL{Scheme: scheme, Host: "api.example:443"}).Equal(origin.Of(parse(t, "https://api.example"))) {
			t.Errorf("scheme %q is https", scheme)
		}
	}
}

func TestSecure(t *testing.T) {
	for s, want := range map[string][2]bool{ // loopback, secure
		"https://api.example":       {false, true},
		"http://api.example":        {false, false},
		"http://localhost":          {true, true},
		"https://localhost":         {true, true},
		"http://127.0.0.1":          {true, true},
		"http://127.9.9.9:1":        {true, true},
		"http://[::1]":              {true, true},
		"http://[::ffff:127.0.0.1]": {true, true},
		"ws://localhost":            {true, true},

		"http://LOCALHOST:8080":         {false, false},
		"http://localho\u017ft":         {false, false},
		"http://localhost.":             {false, false},
		"http://localhost.example":      {false, false},
		"http://x.localhost":            {false, false},
		"http://10.0.0.1":               {false, false},
		"http://0.0.0.0":                {false, false},
		"http://[::]":                   {false, false},
		"http://[::1%25eth0]":           {false, false},
		"http://[::ffff:10.0.0.1]":      {false, false},
		"http://127.1":                  {false, false},
		"http://0x7f.0.0.1":             {false, false},
		"http://2130706433":             {false, false},
		"http://127.0.0.1.example":      {false, false},
		"http://169.254.169.254":        {false, false},
		"http://localhost@evil.example": {false, false},
		"ftp://api.example":             {false, false},
		"//api.example":                 {false, false},
		"":                              {false, false},
	} {
		o := origin.Of(parse(t, s))
		if got := [2]bool{o.IsLoopback(), o.Secure()}; got != want {
			t.Errorf("%s: loopback and secure are %v, want %v", s, got, want)
		}
	}
	for _, host := range []string{"", "[", "]", "[]", "[127.0.0.1", "127.0.0.1]", "[::1", "::1]", "[[::1]]"} {
		if origin.Of(&url.URL{Scheme: "http", Host: host}).Secure() {
			t.Errorf("%q is on this machine", host)
		}
	}
	if origin.Of(&url.URL{Scheme: "HTTPS", Host: "api.example"}).Secure() {
		t.Error("a scheme that net/http does not know is secure")
	}
}

func TestString(t *testing.T) {
	for s, want := range map[string]string{
		"HTTPS://API.Example/x":   "https://api.example:443",
		"http://[FE80::1%25eth0]": "http://[fe80::1%eth0]:80",
		"http://u:secret@h:8080":  "http://h:8080",
		"https://STRAẞE.example":  "https://straẞe.example:443",
		"ftp://h":                 "ftp://h:",
	} {
		if got := origin.Of(parse(t, s)).String(); got != want {
			t.Errorf("%s prints as %s, want %s", s, got, want)
		}
	}
	if o := origin.Of(parse(t, "https://h")); fmt.Sprint(o) != "https://h:443" {
		t.Errorf("package fmt prints %v", o)
	}
	both := map[origin.Origin]int{origin.Of(parse(t, "https://h")): 1, origin.Of(parse(t, "https://h:443")): 2}
	if len(both) != 1 {
		t.Errorf("as keys of a map: %v", both)
	}
}

// TestLoopbackHasNoProxy: what goes over plain http because it stays within this machine is
// not what net/http sends to a proxy.
func TestLoopbackHasNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://proxy.example:3128") // read once, and by this test alone
	for _, s := range []string{"localhost", "LOCALHOST", "Localhost:8080", "localhost.", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::ffff:127.0.0.1]", "[::FFFF:127.0.0.1]", "api.example"} {
		u := parse(t, "http://"+s)
		proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
		if err != nil {
			t.Fatal(err)
		}
		if s == "api.example" && proxy == nil {
			t.Fatal("there is no proxy")
		}
		if proxy != nil && origin.Of(u).Secure() {
			t.Errorf("a token goes to %s by %s", u, proxy)
		}
	}
}
