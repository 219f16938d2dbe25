package behaviour_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/wire"
)

// TestOriginCombinations: nor does the token go astray with several odd things at once.
// The parts of requests are drawn from lists, which a fuzzer takes long to come upon.
func TestOriginCombinations(t *testing.T) {
	n := 20000
	if testing.Short() || sessiontest.Race {
		n = 2000
	}
	hosts := []string{
		"api.example", "API.example", "api.example:443", "api.example:80", "api.example:", "api.example.", "[api.example]", "u@api.example", "evil.example",
		"straße.example", "STRAẞE.example", "Straße.example", "strasse.example", "xn--strae-oqa.example", "localhost", "LOCALHOST", "localho\u017ft", "127.0.0.1", "127.1",
		"[::1]", "::1", "fe80::1:443", "[fe80::1]", "[fe80::1%eth0]", "[fe80::1%ETH0]", "tenant.example", "Tenant.Example:443", "tenant.example:8443",
	}
	after := func(prefix string) func(string) string { return func(s string) string { return prefix + s } }
	draw := func(r *rand.Rand, rare int, kinds ...func(string) string) string {
		if r.IntN(rare) != 0 {
			return ""
		}
		return kinds[r.IntN(len(kinds))](hosts[r.IntN(len(hosts))])
	}
	plain := after("")
	target := []func(string) string{
		plain, after("//"), after("https://"), after("http://"), after("/"), after("//u@"), after("///"), after("//\\"),
		func(s string) string { return "//" + s + "/x" }, func(s string) string { return "//" + s + "?//evil.example/" }, func(string) string { return "*" },
	}
	sent, attached := 0, 0
	for seed := range uint64(n) {
		r := rand.New(rand.NewPCG(seed, 14))
		c := originCase{
			entry: draw(r, 1, after("https://"), after("https://"), after("http://"), func(string) string { return "" }), host: draw(r, 1, plain),
			listed: draw(r, 3, plain), reqHost: draw(r, 3, plain), path: draw(r, 5, target...), opaque: draw(r, 5, target...),
			to: draw(r, 3, after("https://"), after("http://"), after("//"), after("/")), insecure: r.IntN(3) == 0,
		}
		if scheme, host, _ := strings.Cut(c.entry, "://"); r.IntN(2) == 0 && host != "" { // so that tokens are sent
			c.scheme, c.host = scheme, host
		}
		c.key = draw(r, 8, func(string) string { return []string{"host", "HOST", "Host", "authorization"}[r.IntN(4)] })
		c.method = draw(r, 5, func(string) string { return []string{"CONNECT", "OPTIONS"}[r.IntN(2)] })
		requests, _ := c.send(t)
		c.checkSent(t, requests)
		for _, s := range requests {
			sent++
			if carriesSecret(s) {
				attached++
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if attached < n/10 || sent < n/3 {
		t.Errorf("%d of %d requests had the token, in %d cases: the lists test nothing", attached, sent, n)
	}
}

func carriesSecret(s wire.Sent) bool { return strings.Contains(s.Head, originSecret) }

// FuzzOrigin: the token goes only where the dialed host, port, scheme and the Host
// header are those of an allowed origin.
func FuzzOrigin(f *testing.F) {
	for _, c := range originCases {
		f.Add(c.entry, c.listed, c.insecure, c.method, c.scheme, c.host, c.path, c.opaque, c.reqHost, c.key, c.to)
	}
	f.Fuzz(func(t *testing.T, entry, listed string, insecure bool, method, scheme, host, path, opaque, reqHost, key, to string) {
		if strings.ContainsAny(to, "\r\n") {
			t.Skip("an answer of its own, and no redirect")
		}
		c := originCase{
			entry: entry, listed: listed, insecure: insecure, method: method, scheme: scheme, host: host,
			path: path, opaque: opaque, reqHost: reqHost, key: key, to: to,
		}
		sent, _ := c.send(t)
		c.checkSent(t, sent)
	})
}
