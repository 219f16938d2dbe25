package wire_test

import (
	"net/http"
	"net/url"
	"reflect"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/wire"
)

// TestWire: what is dialed, the lines that are written, and what a server makes of
// them are three things.
func TestWire(t *testing.T) {
	w := &wire.Wire{Answer: func(n int) string {
		if n == 0 {
			return "HTTP/1.1 302 Found\r\nLocation: http://[::1]:8080/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
		}
		return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	}}
	req := &http.Request{
		URL:    &url.URL{Scheme: "https", Host: "Bücher.example", Opaque: "//elsewhere.example/x"},
		Header: http.Header{"host": {"stray.example"}},
	}
	resp, err := (&http.Client{Transport: w.Transport()}).Do(req.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	sent := w.Sent()
	if len(sent) != 2 || resp.StatusCode != 200 {
		t.Fatalf("%d requests, status %d", len(sent), resp.StatusCode)
	}
	if sent[0].Scheme != "https" || sent[0].Addr != "xn--bcher-kva.example:443" || sent[1].Scheme != "http" || sent[1].Addr != "[::1]:8080" {
		t.Errorf("dialed %s %s, then %s %s", sent[0].Scheme, sent[0].Addr, sent[1].Scheme, sent[1].Addr)
	}
	if got := sent[0].Line(); got != "GET https://elsewhere.example/x HTTP/1.1" {
		t.Errorf("request line %q", got)
	}
	if got := sent[0].Values("Host"); !reflect.DeepEqual(got, []string{"xn--Bcher-kva.example", "stray.example"}) {
		t.Errorf("Host headers %q", got)
	}
	if host, ok := sent[0].Told(); ok {
		t.Errorf("net/http's server accepts two Host headers, for %s", host)
	}
	whole := wire.Sent{Head: "GET http://elsewhere.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n"}
	if host, ok := whole.Told(); host != "elsewhere.example" || !ok {
		t.Errorf("told %q, %v: net/http's server does not prefer the request line", host, ok)
	}
}
