package behaviour_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/wire"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// An originCase is a session and a request that a program of no good sense, or with a
// stranger's input, sends with it.
type originCase struct {
	entry         string // of Config.Origins; "": AnyOrigin
	listed        string // in Config.Hosts; "": nothing
	insecure      bool
	method        string
	scheme, host  string // of the URL
	path, opaque  string
	reqHost       string
	key           string // of the header map, besides; "": none
	to            string // where the first answer redirects to; "": nowhere
	token, errors bool   // what the first request does, for the cases that are spelled out
}

// originCases are the attacks that were found, and requests that they come close to.
// On the code before hosts were compared as net/http dials them, and before Host,
// URL.Opaque and URL.Path were looked at, each case with neither a token nor an error
// sent the token, and so did each with an error.
var originCases = []originCase{
	{entry: "https://api.example", host: "api.example", token: true},
	{entry: "https://api.example", host: "API.Example:443", token: true},
	{entry: "https://api.example", host: "api.example", to: "https://API.EXAMPLE/x", token: true},
	{entry: "https://api.example", listed: "tenant.example", host: "api.example", reqHost: "Tenant.Example", to: "/x", token: true},
	{entry: "https://straße.example", host: "straße.example", to: "https://straße.example:443/x", token: true},
	{entry: "https://[::1]:8443", host: "[::1]:8443", opaque: "//[::1]:8443/x", token: true},
	{entry: "http://localhost:1", scheme: "http", host: "localhost:1", opaque: "*", method: "OPTIONS", token: true},
	{entry: "https://api.example", host: "api.example", key: "Host", token: true},
	{host: "api.example", to: "https://evil.example/", token: true},

	// Hosts by Unicode folding: dials strasse.example.
	{entry: "https://straße.example", host: "STRAẞE.example"},
	{entry: "https://βόλος.example", host: "βόλοσ.example"},
	{entry: "https://kelvin.example", host: "\u212aelvin.example"},
	{entry: "http://localho\u017ft", insecure: true, scheme: "http", host: "localhost"},
	{entry: "https://straße.example", host: "straße.example", to: "https://STRAẞE.example/x", token: true},
	// Dials api.example, and says "[api.example]" there.
	{entry: "https://api.example", host: "[api.example]"},
	{entry: "https://[fe80::1]", host: "fe80::1:443"},
	// Another interface.
	{entry: "https://[fe80::1%25eth0]", host: "[fe80::1%ETH0]"},

	{entry: "https://api.example", host: "api.example", reqHost: "evil.example", errors: true},
	{entry: "https://api.example", listed: "tenant.example", host: "api.example", reqHost: "evil.example", errors: true},
	{host: "api.example", reqHost: "evil.example", errors: true},
	{entry: "https://api.example", host: "api.example", opaque: "//evil.example/x", errors: true},
	{entry: "https://api.example", host: "api.example", opaque: "https://evil.example/x", errors: true},
	{entry: "https://api.example", host: "api.example", opaque: "//api.example@evil.example/x", errors: true},
	{entry: "https://api.example", host: "api.example", method: "CONNECT", opaque: "evil.example:443", errors: true},
	{entry: "https://api.example", host: "api.example", path: "http://evil.example/x", errors: true},
	{entry: "https://api.example", host: "api.example", key: "host", errors: true},
	{entry: "https://api.example", host: "api.example", key: "hOSt", errors: true},
	// Beside the caller's own credentials.
	{entry: "https://api.example", host: "api.example", key: "authorization"},
	{entry: "https://api.example", host: "api.example", key: "AUTHORIZATION"},
}

// originSecret is the session's token. No fuzzer comes upon it.
const originSecret = "eyJhbGciOi.tHe-T0kEn.7f1d"

// send sends the request over a wire, follows redirects, and returns what was written.
func (c *originCase) send(t *testing.T) (sent []wire.Sent, err error) {
	config := tokenclient.Config{
		Refresher: sessiontest.Refresher(), Origins: []string{c.entry}, AnyOrigin: c.entry == "", InsecureHTTP: c.insecure,
		Logger: slog.New(slog.DiscardHandler),
	}
	if config.AnyOrigin {
		config.Origins = nil
	}
	if c.listed != "" {
		config.Hosts = []string{c.listed}
	}
	s, err := tokenclient.New(config)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close(context.Background()) }()
	if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: originSecret, RefreshToken: "refresh-0"}); err != nil {
		t.Fatal(err)
	}
	w := &wire.Wire{Answer: func(n int) string {
		const end = "Content-Length: 0\r\nConnection: close\r\n\r\n"
		if n == 0 && c.to != "" {
			return "HTTP/1.1 302 Found\r\nLocation: " + c.to + "\r\n" + end
		}
		return "HTTP/1.1 200 OK\r\n" + end
	}}
	req := &http.Request{
		Method: c.method, Host: c.reqHost, Header: http.Header{},
		URL: &url.URL{Scheme: c.scheme, Host: c.host, Path: c.path, Opaque: c.opaque},
	}
	if c.scheme == "" {
		req.URL.Scheme = "https"
	}
	if c.key != "" {
		req.Header[c.key] = []string{"evil.example"}
	}
	resp, err := s.Wrap(&http.Client{Transport: w.Transport()}).Do(req.WithContext(t.Context()))
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	return w.Sent(), err
}

// place is where the token may go: what net/http dials, and tells the server, for a
// request to the allowed origin in which nothing but its URL is set.
func (c *originCase) place(t *testing.T) (wire.Sent, bool) {
	t.Helper()
	u := &url.URL{Scheme: c.scheme, Host: c.host}
	if c.scheme == "" {
		u.Scheme = "https"
	}
	if c.entry != "" {
		var err error
		if u, err = url.Parse(c.entry); err != nil {
			return wire.Sent{}, false
		}
	}
	w := &wire.Wire{}
	req := (&http.Request{URL: u, Host: u.Host, Header: http.Header{}}).WithContext(t.Context())
	resp, err := w.Transport().RoundTrip(req)
	if err != nil {
		return wire.Sent{}, false
	}
	_ = resp.Body.Close()
	return w.Sent()[0], true
}

// checkSent holds what was written against the promise: the token goes only where the
// dialed host, port, scheme and the Host header are those of an allowed origin. The
// judges are net/http's own dialer, writer and server.
func (c *originCase) checkSent(t *testing.T, sent []wire.Sent) {
	t.Helper()
	allowed, known := c.place(t)
	for i, s := range sent {
		if !carriesSecret(s) {
			continue
		}
		if !known {
			t.Errorf("%+v: the token was sent, and net/http cannot reach the allowed origin:\n%+v", c, s)
			continue
		}
		// Nor does the token go anywhere once the chain has been elsewhere.
		for _, hop := range sent[:i+1] {
			if why := c.elsewhere(hop, allowed); why != "" {
				t.Errorf("%+v: the token was sent, and hop %d: %s\n%s %s\n%s", c, i, why, hop.Scheme, hop.Addr, hop.Head)
			}
		}
		if n := len(s.Values("Authorization")); n != 1 {
			t.Errorf("%+v: the token was sent in %d headers Authorization:\n%s", c, n, s.Head)
		}
	}
}

// elsewhere says why s was not sent to allowed.
func (c *originCase) elsewhere(s, allowed wire.Sent) string {
	host, _, _ := net.SplitHostPort(s.Addr)
	local := wire.Lower(host) == "localhost"
	if a, err := netip.ParseAddr(host); err == nil {
		local = a.Unmap().IsLoopback()
	}
	mine := allowed.Values("Host")[0]
	same := func(told string) bool {
		return hostTold(s.Scheme, told) == hostTold(allowed.Scheme, mine) ||
			c.listed != "" && hostTold(s.Scheme, told) == hostTold(s.Scheme, c.listed)
	}
	told, understood := s.Told()
	target := strings.TrimPrefix(strings.Split(s.Line(), " ")[1], s.Scheme+"://")
	named := target
	if end := strings.IndexAny(target, "/?#"); end >= 0 {
		named = target[:end] // "" if there is only a path
	}
	switch hosts := s.Values("Host"); {
	case s.Scheme != allowed.Scheme:
		return "another scheme"
	case s.Scheme != "https" && !local && !c.insecure:
		return "plain http"
	case s.Addr != allowed.Addr && (strings.Contains(s.Addr, "%") || wire.Lower(s.Addr) != wire.Lower(allowed.Addr)):
		return "not " + allowed.Addr
	case len(hosts) != 1 || !same(hosts[0]):
		return "told " + strings.Join(hosts, ", ") + " and not " + mine
	case understood && !same(told):
		return "told " + told + " and not " + mine
	case !understood && named != "" && named != "*" && named != hosts[0]: // a host that no URL may have
		return "told what nobody understands"
	}
	return ""
}

// hostTold is a Host header without what says nothing.
func hostTold(scheme, host string) string {
	host = strings.TrimSuffix(host, map[string]string{"https": ":443", "http": ":80"}[scheme])
	return wire.Lower(strings.TrimSuffix(host, ":"))
}

// TestOriginCases: each attack is stopped, in the way in which it should be.
func TestOriginCases(t *testing.T) {
	for _, c := range originCases {
		sent, err := c.send(t)
		c.checkSent(t, sent)
		got := slices.ContainsFunc(sent, carriesSecret)
		if got != c.token || c.errors && (err == nil || len(sent) > 0 || !strings.Contains(err.Error(), "is not sent: ")) {
			t.Errorf("%+v: token sent %v, error %v, %d requests", c, got, err, len(sent))
		}
	}
}
