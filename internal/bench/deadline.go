package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"
)

const (
	deadlineWaiters = 20
	deadlineOf      = 10 * time.Millisecond
)

// deadline measures how late a caller with a short deadline is free when others
// wait for a long refresh.
func deadline(p *page, s settings) error {
	late := make([]series, len(contenders))
	never := make([]string, len(contenders))
	err := interleave(s.deadline, len(contenders), func(i int) (err error) {
		never[i], err = deadlineOnce(contenders[i], s.refresh, &late[i])
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(p, "## A waiter's deadline\n\nA refresh takes %v; %d callers come later, each with a deadline of %v. How long after its deadline such a caller is free.\n\n",
		s.refresh, deadlineWaiters, deadlineOf)
	t := newTable("", "median", "worst")
	groups := []group{
		{title: "Median (logarithmic)", unit: "time", log: true},
		{title: "Worst (logarithmic)", unit: "time", log: true},
	}
	add := func(name string, values [2]float64, cells ...string) {
		t.add(name, cells[0], cells[1])
		for i := range groups {
			groups[i].bars = append(groups[i].bars, bar{label: name, value: values[i], text: cells[i]})
		}
	}
	for i, c := range contenders {
		if never[i] != "" {
			add(c.name, [2]float64{math.NaN(), math.NaN()}, never[i], "")
			continue
		}
		median, worst := late[i].median(), late[i].quantile(1)
		add(c.name, [2]float64{median, worst}, nsAsMS(median), nsAsMS(worst))
	}
	t.print(p)
	return p.draw(chart{"deadline", fmt.Sprintf("How late a caller with a deadline of %v is free", deadlineOf), groups})
}

func deadlineOnce(c contender, refresh time.Duration, late *series) (never string, err error) {
	i := newIssuer()
	i.lifetime.Store(int64(-time.Second))
	opened, err := c.open(place{base: &server{issuer: i}, issuer: i, origin: origin})
	if err != nil || opened.never != "" {
		return opened.never, err
	}
	defer func() { _ = opened.close() }()
	i.valid.Store(nil)
	i.lifetime.Store(int64(time.Hour))
	i.latency.Store(int64(refresh))

	// The first caller has no deadline of its own, and leaves when all are free.
	first, leave := context.WithCancel(context.Background())
	var starter, waiters sync.WaitGroup
	starter.Go(func() { _, _ = opened.get(first, origin+"/first") })
	time.Sleep(50 * time.Millisecond)
	after := make([]time.Duration, deadlineWaiters)
	for n := range deadlineWaiters {
		waiters.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), deadlineOf)
			defer cancel()
			began := time.Now()
			_, _ = opened.get(ctx, origin+"/things")
			after[n] = time.Since(began) - deadlineOf
		})
		time.Sleep(2 * time.Millisecond)
	}
	waiters.Wait()
	leave()
	starter.Wait()
	for _, d := range after {
		*late = append(*late, float64(d))
	}
	return "", nil
}
