// Package wire shows tests what net/http dials and what it writes, byte for byte. No
// network is used: a connection is a [net.Pipe], whose other end keeps what it reads.
//
//	w := &wire.Wire{}
//	resp, err := w.Transport().RoundTrip(req)
//	w.Sent()[0].Addr // is what was dialed
//
// It says what a request is by the lines that a server would read, and what a server
// makes of it by [http.ReadRequest]. So it can tell whether other code is right about
// where net/http sends a request, and what it tells the server there.
package wire

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// A Wire is the network of its transports.
type Wire struct {
	// Answer returns the answer to the nth request, from 0 on, up to the end of its
	// header. Nil: 200, without a body.
	Answer func(n int) string

	mu   sync.Mutex // guards all below
	sent []Sent
}

// Sent is a request up to the end of its header.
type Sent struct {
	Scheme string // "https" if a TLS connection was asked for
	Addr   string // what was dialed
	Head   string
}

// ok is the answer without a body. Each connection has one request.
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// Transport returns a transport over w. Over https it speaks HTTP/1.1 in clear text.
func (w *Wire) Transport() *http.Transport {
	dial := func(scheme string) func(context.Context, string, string) (net.Conn, error) {
		return func(_ context.Context, _, addr string) (net.Conn, error) {
			client, server := net.Pipe()
			go w.serve(server, scheme, addr)
			return client, nil
		}
	}
	return &http.Transport{DisableKeepAlives: true, DialContext: dial("http"), DialTLSContext: dial("https")}
}

// Sent returns the requests so far.
func (w *Wire) Sent() []Sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Sent(nil), w.sent...)
}

func (w *Wire) serve(conn net.Conn, scheme, addr string) {
	defer func() { _ = conn.Close() }()
	var head strings.Builder
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		head.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	w.mu.Lock()
	n := len(w.sent)
	w.sent = append(w.sent, Sent{scheme, addr, head.String()})
	w.mu.Unlock()
	answer := ok
	if w.Answer != nil {
		answer = w.Answer(n)
	}
	drained := make(chan struct{})
	go func() { // a client whose body is not read may not see the answer
		defer close(drained)
		_, _ = io.Copy(io.Discard, r)
	}()
	_, _ = conn.Write([]byte(answer))
	<-drained // when the client closes the connection
}

// Line returns the request line.
func (s Sent) Line() string {
	line, _, _ := strings.Cut(s.Head, "\r\n")
	return line
}

// Values returns the values of all lines of the header with that name, in whatever
// spelling.
func (s Sent) Values(name string) []string {
	var values []string
	for _, line := range strings.Split(s.Head, "\r\n")[1:] {
		key, value, _ := strings.Cut(line, ": ")
		if strings.EqualFold(key, name) {
			values = append(values, value)
		}
	}
	return values
}

// Told returns the host that net/http's server takes the request to be for, and
// whether that server understands the request.
func (s Sent) Told() (host string, ok bool) {
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader([]byte(s.Head))))
	if err != nil {
		return "", false
	}
	return req.Host, true
}

// Lower is s as names of hosts are compared by everybody behind net/http: without regard
// to case in ASCII, and in ASCII alone.
func Lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}
