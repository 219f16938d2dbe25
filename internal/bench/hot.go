package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"testing"
)

var headerCounts = []int{0, 4, 7, 8, 12, 15}

// hotPath measures what a request costs while the token is good.
func hotPath(p *page, s settings) error {
	fmt.Fprintf(p, "## Hot path\n\nWith a good token, at RoundTrip, over a base that costs nothing, by how many headers the caller set: the time and half the distance of the quartiles, the ratio to the floor's, allocations.\n\n")
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, way := range ways {
			var cells [][]cost // by contender and number of headers
			for range contenders {
				cells = append(cells, make([]cost, len(headerCounts)))
			}
			for col, headers := range headerCounts {
				if err := hotColumn(s, method, headers, way.timed, func(i int) *cost { return &cells[i][col] }); err != nil {
					return err
				}
			}
			fmt.Fprintf(p, "### %s, %s\n\n", method, way.name)
			if err := printHot(p, method, way, cells); err != nil {
				return err
			}
		}
	}
	return nil
}

// ways are how a turn is timed.
var ways = []way{
	{"default", "garbage collected as by default", timed},
	{"between", "garbage collected between the turns", atRest},
}

type way struct {
	short, name string
	timed       func(n int, f func() error) (float64, error)
}

// cost is what a request costs.
type cost struct {
	ns     series
	allocs float64
}

func hotColumn(s settings, method string, headers int, timed func(int, func() error) (float64, error), at func(contender int) *cost) error {
	var calls []func() error
	var times []int
	for i, c := range contenders {
		call, closeIt, err := hotCall(c, method, headers)
		if err != nil {
			return err
		}
		defer closeIt()
		n, err := calibrate(s.turn, call)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		calls, times = append(calls, call), append(times, n)
		at(i).allocs = testing.AllocsPerRun(100, func() { _ = call() })
	}
	return interleave(s.rounds, len(calls), func(i int) error {
		ns, err := timed(times[i], calls[i])
		at(i).ns = append(at(i).ns, ns)
		return err
	})
}

// hotCall opens c over a base that costs nothing, and returns a call of it.
func hotCall(c contender, method string, headers int) (call func() error, closeIt func(), err error) {
	opened, err := c.open(place{base: newStill(), issuer: newIssuer(), origin: origin})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.name, err)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, origin+"/things?q=1", nil)
	if err != nil {
		return nil, nil, err
	}
	for i := range headers {
		req.Header.Set(fmt.Sprintf("X-Header-%d", i), "value")
	}
	if method == http.MethodPost {
		made, err := http.NewRequestWithContext(req.Context(), method, origin, bytes.NewReader([]byte("body")))
		if err != nil {
			return nil, nil, err
		}
		req.Body, req.GetBody = payload{bytes.NewReader([]byte("body"))}, made.GetBody
	}
	send := opened.hot(req)
	return func() error {
		_, err := send()
		return err
	}, func() { _ = opened.close() }, nil
}

// payload is a body of the kind that every contender takes as it is.
type payload struct{ *bytes.Reader }

func (payload) Close() error { return nil }

func printHot(p *page, method string, way way, cells [][]cost) error {
	head := []string{""}
	var groups []group
	for _, n := range headerCounts {
		head = append(head, fmt.Sprint(n))
		groups = append(groups, group{title: fmt.Sprintf("%d headers: time, over the floor's (drawn), allocations", n), mark: 1})
	}
	t := newTable(head...)
	for i, c := range contenders {
		row := []string{c.name}
		for col, cell := range cells[i] {
			ratio := cell.ns.over(cells[indexOf(floor)][col].ns).median()
			text := fmt.Sprintf("%.0f ns %s, ×%.2f, %.0f", cell.ns.median(), percent(cell.ns.spread()), ratio, cell.allocs)
			row = append(row, text)
			groups[col].bars = append(groups[col].bars, bar{label: c.name, value: ratio, text: text})
		}
		t.add(row...)
	}
	row := []string{"silentrefresh / x/oauth2"}
	for col := range headerCounts {
		row = append(row, fmt.Sprintf("×%.2f", cells[indexOf(ours)][col].ns.over(cells[indexOf(xoauth2)][col].ns).median()))
	}
	t.add(row...)
	t.print(p)
	if method != http.MethodGet { // nearly the same
		return nil
	}
	return p.draw(chart{"hot-" + way.short, "Hot path, GET, " + way.name, groups})
}

func indexOf(c contender) int {
	for i := range contenders {
		if contenders[i].name == c.name {
			return i
		}
	}
	return -1
}
