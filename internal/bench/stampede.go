package main

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	stampedeLatency      = time.Millisecond      // of an ordinary request
	stampedeTokenLatency = 20 * time.Millisecond // of a call of the token endpoint
)

// stampede has many callers send a request at once when the token is dead.
func stampede(p *page, s settings) error {
	for _, kind := range []struct {
		name, title string
		expired     bool
	}{
		{"expired", "the token has expired by the local clock", true},
		{"revoked", "the token was revoked, and is good by the local clock", false},
	} {
		seen := make([]stampedeSeen, len(contenders))
		err := interleave(s.stampede, len(contenders), func(i int) error {
			return stampedeOnce(contenders[i], s.callers, kind.expired, &seen[i])
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(p, "## Stampede: %s\n\n%d callers at once; an answer takes %v, a token call %v. Medians.\n\n",
			kind.title, s.callers, stampedeLatency, stampedeTokenLatency)
		printStampede(p, seen)
		err = p.draw(chart{"stampede-" + kind.name, fmt.Sprintf("%d callers at once: %s", s.callers, kind.title), stampedeGroups(seen)})
		if err != nil {
			return err
		}
	}
	return nil
}

// stampedeSeen is what became of the stampedes of one contender.
type stampedeSeen struct {
	took, calls, refused, handed, failed series
	after                                int // the status of a request later on
	never                                string
}

func stampedeOnce(c contender, callers int, expired bool, seen *stampedeSeen) error {
	i := newIssuer()
	base := &server{issuer: i, latency: stampedeLatency}
	if expired {
		i.lifetime.Store(int64(-time.Second))
	}
	opened, err := c.open(place{base: base, issuer: i, origin: origin})
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	defer func() { _ = opened.close() }()
	i.valid.Store(nil)
	i.lifetime.Store(int64(time.Hour))
	i.latency.Store(int64(stampedeTokenLatency))
	i.calls.Store(0)
	base.refused.Store(0)

	var handed, failed atomic.Int64
	took := atOnce(callers, func() {
		switch status, err := opened.get(context.Background(), origin+"/things"); {
		case status == http.StatusUnauthorized:
			handed.Add(1)
		case err != nil || status != http.StatusOK:
			failed.Add(1)
		}
	})
	seen.took = append(seen.took, float64(took))
	seen.calls = append(seen.calls, float64(i.calls.Load()))
	seen.refused = append(seen.refused, float64(base.refused.Load()))
	seen.handed = append(seen.handed, float64(handed.Load()))
	seen.failed = append(seen.failed, float64(failed.Load()))
	seen.after, _ = opened.get(context.Background(), origin+"/things")
	seen.never = opened.never
	return nil
}

// atOnce runs f on n goroutines at the same time, and returns how long that took.
func atOnce(n int, f func()) time.Duration {
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	ready.Add(n)
	for range n {
		done.Go(func() {
			ready.Done()
			<-start
			f()
		})
	}
	ready.Wait()
	runtime.GC()
	began := time.Now()
	close(start)
	done.Wait()
	return time.Since(began)
}

func printStampede(p *page, seen []stampedeSeen) {
	t := newTable("", "token calls", "401s at the server", "401s handed out", "errors", "wall time", "over gophercloud's", "afterwards")
	base := seen[indexOf(openstack)].took
	for i, c := range contenders {
		s := seen[i]
		after := "works"
		switch {
		case s.never != "":
			after = s.never
		case s.after == http.StatusUnauthorized:
			after = "never recovers (while the clock calls the token good)"
		case s.after != http.StatusOK:
			after = fmt.Sprintf("answers %d", s.after)
		}
		t.add(c.name, fmt.Sprintf("%.0f", s.calls.median()), fmt.Sprintf("%.0f", s.refused.median()),
			most(s.handed), most(s.failed), nsAsMS(s.took.median())+" "+percent(s.took.spread()),
			fmt.Sprintf("×%.2f", s.took.over(base).median()), after)
	}
	t.print(p)
}

func stampedeGroups(seen []stampedeSeen) []group {
	groups := []group{
		{title: "Token calls", unit: "calls"},
		{title: "401s at the server", unit: "401s"},
		{title: "401s handed out to callers", unit: "401s"},
		{title: "Wall time", unit: "time"},
	}
	for i, c := range contenders {
		s := seen[i]
		for g, b := range []bar{
			{value: s.calls.median(), text: fmt.Sprintf("%.0f", s.calls.median())},
			{value: s.refused.median(), text: fmt.Sprintf("%.0f", s.refused.median())},
			{value: s.handed.median(), text: most(s.handed)},
			{value: s.took.median(), text: nsAsMS(s.took.median()) + " " + percent(s.took.spread())},
		} {
			b.label = c.name
			groups[g].bars = append(groups[g].bars, b)
		}
	}
	return groups
}

// most is a median, and the most if that is something else.
func most(s series) string {
	text := fmt.Sprintf("%.0f", s.median())
	if m := s.quantile(1); m != s.median() {
		text += fmt.Sprintf(" (at most %.0f)", m)
	}
	return text
}
