// Package singleflight is [golang.org/x/sync/singleflight] for those who have a Group in
// each of a million sessions, most of which do nothing: a Group takes a mutex and a
// pointer while nothing is in flight, where the other one keeps its map.
//
// What it promises is the same but for the end of a flight: whoever calls after the
// function has returned begins another flight, and does not join one whose result is
// about to be delivered.
//
// A function that panics ends the process, and one that calls runtime.Goexit leaves
// everybody waiting. So a function that runs code of a user's contains it (package
// contain).
package singleflight

import (
	"sync"

	"golang.org/x/sync/singleflight"
)

// A Group runs functions by name, one of each name at a time. The zero Group is ready for
// use. It must not be copied.
type Group struct {
	mu  sync.Mutex // guards now and what it points to
	now *inFlight  // nil: nothing
}

type inFlight struct {
	group singleflight.Group
	names map[string]struct{}
}

// DoChan runs fn on a goroutine of its own, or joins the flight of that name. The channel
// gets the result of the flight, once. Who leaves without it changes nothing for others.
func (g *Group) DoChan(name string, fn func() (any, error)) <-chan singleflight.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil {
		g.now = &inFlight{names: make(map[string]struct{})}
	}
	now := g.now
	now.names[name] = struct{}{}
	return now.group.DoChan(name, func() (any, error) {
		defer g.landed(now, name)
		return fn()
	})
}

// landed is called when the flight is over, on its goroutine. The other group still knows
// it then, and whoever came now would join it: it is to begin another.
func (g *Group) landed(now *inFlight, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now.group.Forget(name)
	delete(now.names, name)
	if len(now.names) == 0 {
		g.now = nil
	}
}
