package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
)

// scaling measures the hot path on one processor and on two.
func scaling(p *page, s settings) error {
	fmt.Fprintf(p, "## Scaling\n\nThe hot path, a GET without headers: sent by one goroutine on one processor, and by two on two, which share the session. The time that passes for each request, and how many times as many are sent on two. Ranges have a confidence of 95 %%.\n\n")
	if runtime.NumCPU() < 2 {
		fmt.Fprintf(p, "This machine has one processor.\n\n")
		return nil
	}
	compared := []contender{floor, ours}
	picture := chart{name: "scaling", title: "Hot path: how many times as many requests on two processors"}
	for _, way := range ways {
		took, err := scalingWay(s, compared, way.timed)
		if err != nil {
			return err
		}
		fmt.Fprintf(p, "### One processor and two, %s\n\n", way.name)
		t := newTable("", "1 processor", "2 processors", "speed-up")
		g := group{title: "Speed-up, " + way.name, mark: 2}
		ups := make([]series, len(compared))
		for i, c := range compared {
			one, two := took[2*i], took[2*i+1]
			ups[i] = one.over(two)
			low, high := ups[i].interval()
			up := ranged(ups[i])
			t.add(c.name, fmt.Sprintf("%.0f ns %s", one.median(), percent(one.spread())),
				fmt.Sprintf("%.0f ns %s", two.median(), percent(two.spread())), up)
			g.bars = append(g.bars, bar{c.name, ups[i].median(), low, high, up})
		}
		t.print(p)
		fmt.Fprintf(p, "silentrefresh's speed-up over the floor's: %s.\n\n", ranged(ups[1].over(ups[0])))
		picture.groups = append(picture.groups, g)
	}
	return p.draw(picture)
}

// scalingWay returns what a request of each contender takes on one processor, and
// what on two.
func scalingWay(s settings, compared []contender, timed func(int, func() error) (float64, error)) ([]series, error) {
	var calls [][]func() error // of each contender, one for each goroutine
	var times []int
	for _, c := range compared {
		opened, err := c.open(place{base: apart{}, issuer: newIssuer(), origin: origin})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		defer func() { _ = opened.close() }()
		var each []func() error
		for range 2 {
			req, err := http.NewRequestWithContext(withAnswer(), http.MethodGet, origin+"/things?q=1", nil)
			if err != nil {
				return nil, err
			}
			send := opened.hot(req)
			each = append(each, func() error {
				_, err := send()
				return err
			})
		}
		n, err := calibrate(s.turn, each[0])
		if err != nil {
			return nil, err
		}
		calls, times = append(calls, each), append(times, n)
	}
	took := make([]series, 2*len(compared))
	err := interleave(s.long, len(took), func(i int) error {
		processors := 1 + i%2
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		ns, err := timed(1, sideBySide(times[i/2], calls[i/2][:processors]))
		took[i] = append(took[i], ns/float64(processors*times[i/2]))
		return err
	})
	return took, err
}

// sideBySide returns a function that calls each of fs n times, in a goroutine each.
func sideBySide(n int, fs []func() error) func() error {
	return func() error {
		var running sync.WaitGroup
		errs := make([]error, len(fs))
		for i, f := range fs {
			running.Go(func() { errs[i] = repeat(n, f) })
		}
		running.Wait()
		return errors.Join(errs...)
	}
}

// apart is a base transport that costs next to nothing. The answer to a request is in
// its context: one answer for all would be written to from all processors, as who
// receives it notes in it what it answers.
type apart struct{}

func (apart) RoundTrip(req *http.Request) (*http.Response, error) {
	return &req.Context().Value(answerKey{}).(*answer).Response, nil
}

type answerKey struct{}

type answer struct {
	http.Response
	_ [128]byte // keeps the next one out of its cache lines
}

func withAnswer() context.Context {
	return context.WithValue(context.Background(), answerKey{},
		&answer{Response: http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody}})
}
