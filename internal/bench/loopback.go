package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

var bare = contender{name: "bare http.Client", open: func(p place) (*session, error) {
	return roundTripper(p.base), nil
}}

// loopback measures a GET from beginning to end, with a server on this machine.
func loopback(w io.Writer, s settings) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ok": true}`)
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	base := new(http.Transport)
	defer base.CloseIdleConnections()
	at := "http://" + l.Addr().String()

	all := append([]contender{bare}, contenders...)
	var calls []func() error
	var times []int
	for _, c := range all {
		opened, err := c.open(place{base: base, issuer: newIssuer(), origin: at})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
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
			return err
		}
		calls, times = append(calls, call), append(times, n)
	}
	took := make([]series, len(all))
	err = interleave(s.rounds, len(all), func(i int) error {
		ns, err := timed(times[i], calls[i])
		took[i] = append(took[i], ns)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "## Loopback\n\nA GET from beginning to end, over one connection that stays open, as an application makes it.\n\n")
	t := newTable("", "time", "over the bare client's", "over the floor's")
	for i, c := range all {
		t.add(c.name, fmt.Sprintf("%.1f µs %s", took[i].median()/float64(time.Microsecond), percent(took[i].spread())),
			fmt.Sprintf("×%.2f", took[i].over(took[0]).median()), fmt.Sprintf("×%.2f", took[i].over(took[1]).median()))
	}
	t.print(w)
	return nil
}
