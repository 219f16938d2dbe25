package processes

import (
	"context"
	"sync"
	"testing"
	"time"
)

// A Stage is where a refresh can be held.
type Stage int

// The stages of a refresh.
const (
	BeforeServer Stage = iota // it has arrived, and has had no effect
	AfterServer               // the server has rotated, and nobody knows the answer
)

// A Hold is the order to hold the next refresh.
type Hold struct {
	Reached <-chan struct{} // closed when a refresh is held

	// Release lets the refresh go on.
	Release func()

	gate    *Gate
	stage   Stage
	taken   bool // guarded by gate.mu
	reached chan struct{}
	free    chan struct{}
}

// HoldNext holds the next refresh that gets to stage.
func (g *Gate) HoldNext(s Stage) *Hold {
	reached, free := make(chan struct{}), make(chan struct{})
	h := &Hold{
		gate: g, stage: s, reached: reached, free: free,
		Reached: reached, Release: sync.OnceFunc(func() { close(free) }),
	}
	g.note(func() { g.holds = append(g.holds, h) })
	return h
}

// Cancel takes the order back if no refresh has come yet.
func (h *Hold) Cancel() { h.gate.note(func() { h.taken = true }) }

// WaitReached blocks until h holds a refresh.
func (h *Hold) WaitReached(t testing.TB) {
	t.Helper()
	select {
	case <-h.Reached:
	case <-time.After(Patience):
		t.Fatal("no refresh came to be held")
	}
}

// wait holds a refresh at s if somebody has asked for it, and for the delay. It is false
// if the client left.
func (g *Gate) wait(client context.Context, s Stage) bool {
	var free <-chan struct{} // of the hold
	g.note(func() {
		for _, h := range g.holds {
			if h.stage == s && !h.taken {
				h.taken = true
				close(h.reached)
				free = h.free
				return
			}
		}
	})
	if free != nil {
		select {
		case <-free:
		case <-client.Done():
		case <-g.open.Done():
		}
	}
	if g.Delay != nil {
		timer := time.NewTimer(g.Delay())
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-client.Done():
		case <-g.open.Done():
		}
	}
	return client.Err() == nil && g.open.Err() == nil
}
