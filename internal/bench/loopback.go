package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

var bare = contender{name: "bare http.Client", open: func(p place) (*session, error) {
	return roundTripper(p.base), nil
}}

// loopback measures a GET from beginning to end, with a server on this machine.
func loopback(p *page, s settings) error {
	fmt.Fprintf(p, "## Loopback\n\nA GET from beginning to end, over one connection that stays open, as an application makes it: the time, and the throughput over a bare http.Client's with the range in which it is with a confidence of 95 %%. HTTP/2 is without TLS, whose cost would hide differences.\n\n")
	picture := chart{name: "loopback", title: "Loopback: throughput over a bare http.Client's, with 95 % ranges"}
	all := append([]contender{bare}, contenders...)
	for _, version := range []struct {
		name      string
		protocols *http.Protocols
	}{
		{"HTTP/1.1", protocols((*http.Protocols).SetHTTP1)},
		{"HTTP/2", protocols((*http.Protocols).SetUnencryptedHTTP2)},
	} {
		took, err := loopbackOver(version.name, version.protocols, all, s)
		if err != nil {
			return err
		}
		fmt.Fprintf(p, "### %s\n\n", version.name)
		t := newTable("", "time", "throughput over the bare client's", "time over the floor's")
		g := group{title: version.name, mark: 1}
		for i, c := range all {
			throughput := took[0].over(took[i])
			cell := fmt.Sprintf("×%.3f", throughput.median())
			drawn := bar{label: c.name, value: throughput.median()}
			if i != 0 {
				drawn.low, drawn.high = throughput.interval()
				cell += fmt.Sprintf(" (×%.3f to ×%.3f)", drawn.low, drawn.high)
			}
			drawn.text = cell
			t.add(c.name, fmt.Sprintf("%.1f µs %s", took[i].median()/float64(time.Microsecond), percent(took[i].spread())),
				cell, fmt.Sprintf("×%.2f", took[i].over(took[1]).median()))
			g.bars = append(g.bars, drawn)
		}
		t.print(p)
		low, _ := took[0].over(took[1+indexOf(ours)]).interval()
		fmt.Fprintf(p, "The lower end of silentrefresh's range over %s: ×%.3f.\n\n", version.name, low)
		picture.groups = append(picture.groups, g)
	}
	return p.draw(picture)
}

func protocols(set func(*http.Protocols, bool)) *http.Protocols {
	p := new(http.Protocols)
	set(p, true)
	return p
}

// loopbackOver returns what a GET of each contender takes over one version of HTTP.
func loopbackOver(version string, protocols *http.Protocols, all []contender, s settings) ([]series, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasPrefix(req.Proto, version) {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
		}
		_, _ = io.WriteString(w, `{"ok": true}`)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	base := &http.Transport{Protocols: protocols}
	defer base.CloseIdleConnections()
	at := "http://" + l.Addr().String()

	var calls []func() error
	var times []int
	for _, c := range all {
		opened, err := c.open(place{base: base, issuer: newIssuer(), origin: at})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		defer opened.close()
		call := func() error {
			status, err := opened.get(context.Background(), at+"/things")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%s: answered %d", c.name, status)
			}
			return err
		}
		n, err := calibrate(s.turn, call)
		if err != nil {
			return nil, err
		}
		calls, times = append(calls, call), append(times, n)
	}
	took := make([]series, len(all))
	err = interleave(s.long, len(all), func(i int) error {
		ns, err := timed(times[i], calls[i])
		took[i] = append(took[i], ns)
		return err
	})
	return took, err
}
