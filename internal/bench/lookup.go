package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// lookupTook is what a request costs through a session that is at hand, through one
// that is found in a sync.Map and through a Pool, and what a look-up costs in the
// sync.Map alone.
type lookupTook struct{ session, found, pool, syncMap cost }

// byHand finds the session of a request in a sync.Map.
type byHand struct{ transports sync.Map }

type byHandKey struct{}

func (b *byHand) RoundTrip(req *http.Request) (*http.Response, error) {
	t, ok := b.transports.Load(req.Context().Value(byHandKey{}))
	if !ok {
		return nil, errNoKey
	}
	return t.(http.RoundTripper).RoundTrip(req)
}

var errNoKey = errors.New("a key is not in the sync.Map")

// lookups measures requests of the users who are live in pool.
func lookups(pool *tokenclient.Pool, s settings) (*lookupTook, error) {
	base := newStill()
	var (
		keys  []any
		alone []http.RoundTripper
		found byHand
	)
	for key, session := range pool.Sessions() {
		keys = append(keys, strings.Clone(key))
		alone = append(alone, session.Transport(base))
	}
	rand.Shuffle(len(keys), func(i, j int) {
		keys[i], keys[j] = keys[j], keys[i]
		alone[i], alone[j] = alone[j], alone[i]
	})
	for i, key := range keys {
		found.transports.Store(strings.Clone(key.(string)), alone[i])
	}
	pooled := pool.Transport(base)
	ctx := context.Background()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/things?q=1", nil)
	if err != nil {
		return nil, err
	}
	eachOf := func(f func(i int) error) func() error {
		i := 0
		return func() error {
			if i++; i == len(keys) {
				i = 0
			}
			return f(i)
		}
	}
	// Each request has a context of its own, as requests have.
	send := func(rt http.RoundTripper, ctx context.Context) error {
		_, err := rt.RoundTrip(req.WithContext(ctx))
		return err
	}
	calls := []func() error{
		eachOf(func(i int) error { return send(alone[i], tokenclient.WithKey(ctx, keys[i].(string))) }),
		eachOf(func(i int) error { return send(&found, context.WithValue(ctx, byHandKey{}, keys[i].(string))) }),
		eachOf(func(i int) error { return send(pooled, tokenclient.WithKey(ctx, keys[i].(string))) }),
		eachOf(func(i int) error {
			if _, ok := found.transports.Load(keys[i]); !ok {
				return errNoKey
			}
			return nil
		}),
	}
	took := new(lookupTook)
	costs := []*cost{&took.session, &took.found, &took.pool, &took.syncMap}
	var times []int
	for i, call := range calls {
		n, err := calibrate(s.turn, call)
		if err != nil {
			return nil, err
		}
		times = append(times, n)
		costs[i].allocs = testing.AllocsPerRun(100, func() { _ = call() })
	}
	return took, interleave(s.rounds, len(calls), func(i int) error {
		ns, err := atRest(times[i], calls[i])
		costs[i].ns = append(costs[i].ns, ns)
		return err
	})
}

func printLookups(p *page, s settings, took *lookupTook) error {
	fmt.Fprintf(p, "## A Pool's look-up\n\nA request at RoundTrip with a good token, over a base that costs nothing, each for another of %d live users of %d, in no order: through the Transport of that user's session, through one that a sync.Map of %[1]d finds by a value of the context, and through the Pool's. All make a context and a copy of the request each time. Beside them a look-up in that sync.Map and nothing else, of which the processor works on several at once. Garbage is collected between the turns.\n\n", s.live, s.known)
	t := newTable("", "time", "allocations")
	g := group{title: "Nanoseconds", unit: "ns"}
	for _, row := range []struct {
		name string
		cost cost
	}{
		{"Session at hand", took.session}, {"Session in a sync.Map", took.found}, {"Pool", took.pool}, {"sync.Map alone", took.syncMap},
	} {
		ns := row.cost.ns
		cell := fmt.Sprintf("%.0f ns %s", ns.median(), percent(ns.spread()))
		t.add(row.name, cell, fmt.Sprintf("%.0f", row.cost.allocs))
		g.bars = append(g.bars, bar{label: row.name, value: ns.median(), text: cell})
	}
	t.print(p)
	fmt.Fprintf(p, "The sync.Map adds %.0f ns to a request, the Pool %.0f ns. A request through the Pool takes %s of one through the sync.Map, with a confidence of 95 %%.\n\n",
		took.found.ns.minus(took.session.ns).median(), took.pool.ns.minus(took.session.ns).median(), ranged(took.pool.ns.over(took.found.ns)))
	return p.draw(chart{"pool-lookup", "A request of one of many users", []group{g}})
}
