package main

import (
	"fmt"
	"runtime"
)

// idle measures the memory of sessions that hold a token and do nothing.
func idle(p *page, s settings) error {
	fmt.Fprintf(p, "## An idle session\n\nThe memory of one of %d, each with a token of its own and all over one base, beyond the text of that token and a client without one; what the contender needs to send a request counts. (The floor keeps no refresh token.)\n\n", s.sessions)
	text, err := idleBytes(tokenText, s.sessions)
	if err != nil {
		return err
	}
	t := newTable("", "bytes")
	g := group{title: "Bytes", unit: "bytes"}
	for _, c := range contenders {
		bytes, err := idleBytes(c, s.sessions)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		own := int64(bytes) - int64(text)
		t.add(c.name, fmt.Sprint(own))
		g.bars = append(g.bars, bar{label: c.name, value: float64(own), text: fmt.Sprint(own)})
	}
	t.print(p)
	return p.draw(chart{"idle", "An idle session, beyond the text of its token", []group{g}})
}

// tokenText is no contender but what is not one's own: the text of a token, and what
// it takes to send requests without it.
var tokenText = contender{name: "text", open: func(p place) (*session, error) {
	t := p.issuer.mint()
	s := roundTripper(p.base)
	access, refresh := t.access, t.refresh
	s.close = func() error {
		runtime.KeepAlive(access)
		runtime.KeepAlive(refresh)
		return nil
	}
	return s, nil
}}

func idleBytes(c contender, n int) (uint64, error) {
	p := place{base: newStill(), issuer: newIssuer(), origin: origin}
	sessions := make([]*session, n)
	before := inUse()
	for i := range sessions {
		var err error
		if sessions[i], err = c.open(p); err != nil {
			return 0, err
		}
	}
	after := inUse()
	for _, s := range sessions {
		_ = s.close()
	}
	return (after - before) / uint64(n), nil
}

// inUse is the memory of what is reachable, stacks of goroutines included.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
