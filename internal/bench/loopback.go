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

// bare sends no token, and so a shorter request than the others.
var bare = contender{name: "bare, no token", open: func(p place) (*session, error) {
	return roundTripper(p.base), nil
}}

// byCaller sends what the others send, from a caller who has the token.
var byCaller = contender{name: "bare, token by hand", open: func(p place) (*session, error) {
	client := &http.Client{Transport: p.base}
	value := "Bearer " + p.issuer.mint().access
	return &session{
		get: func(ctx context.Context, url string) (int, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return 0, err
			}
			req.Header.Set("Authorization", value)
			resp, err := client.Do(req)
			if err != nil {
				return 0, err
			}
			return drain(resp)
		},
		close: func() error { return nil },
	}, nil
}}

// loopbackTurn is how many turns a turn is as long as here: a collection in it or not
// must not make much of a difference.
const loopbackTurn = 4

// loopback measures a GET from beginning to end, with a server on this machine.
func loopback(p *page, s settings) error {
	fmt.Fprintf(p, "## Loopback\n\nA GET from beginning to end, over one connection that stays open, as an application makes it: the time, and the throughput over that of a bare http.Client whose caller sets the header with the token, and over that of one that sends none. Ranges have a confidence of 95 %%. HTTP/2 is without TLS, whose cost would hide differences.\n\n")
	picture := chart{name: "loopback", title: "Loopback: throughput over a bare http.Client's that sends the same"}
	for _, version := range []struct {
		name      string
		protocols *http.Protocols
		all       []contender
	}{
		{"HTTP/1.1", protocols((*http.Protocols).SetHTTP1), append([]contender{bare, byCaller}, contenders...)},
		{"HTTP/2", protocols((*http.Protocols).SetUnencryptedHTTP2), []contender{bare, byCaller, floor, ours, xoauth2}},
	} {
		took, err := loopbackOver(version.name, version.protocols, version.all, s)
		if err != nil {
			return err
		}
		fmt.Fprintf(p, "### %s\n\n", version.name)
		t := newTable("", "time", "throughput over the bare client's", "over its without a token", "time over the floor's")
		g := group{title: version.name, mark: 1}
		for i, c := range version.all {
			over, without := took[1].over(took[i]), took[0].over(took[i])
			low, high := over.interval()
			cell := ranged(over)
			g.bars = append(g.bars, bar{c.name, over.median(), low, high, cell})
			t.add(c.name, fmt.Sprintf("%.1f µs %s", took[i].median()/float64(time.Microsecond), percent(took[i].spread())),
				cell, ranged(without), fmt.Sprintf("×%.2f", took[i].over(took[2]).median()))
		}
		t.print(p)
		own := took[2+indexOf(ours)] // in both lists
		low, _ := took[1].over(own).interval()
		lowWithout, _ := took[0].over(own).interval()
		fmt.Fprintf(p, "The lower end of silentrefresh's range: ×%.3f, and ×%.3f over a client without a token.\n\n", low, lowWithout)
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
		defer func() { _ = opened.close() }()
		call := func() error {
			status, err := opened.get(context.Background(), at+"/things")
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("%s: answered %d", c.name, status)
			}
			return err
		}
		n, err := calibrate(loopbackTurn*s.turn, call)
		if err != nil {
			return nil, err
		}
		calls, times = append(calls, call), append(times, n)
	}
	took := make([]series, len(all))
	err = interleave(s.long, len(all), func(i int) error {
		ns, err := timedAfter(times[i]/loopbackTurn, times[i], calls[i])
		took[i] = append(took[i], ns)
		return err
	})
	return took, err
}
