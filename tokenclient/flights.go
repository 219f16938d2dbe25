package tokenclient

import (
	"sync"

	"golang.org/x/sync/singleflight"
)

// flights is a [singleflight.Group] that takes no memory while nothing is in
// flight. "refresh" is a refresh or the save of a renewed token, "look" and "newer"
// are looks at the store.
type flights struct {
	mu  sync.Mutex // guards now and what it points to
	now *inFlight  // nil: nothing
}

type inFlight struct {
	group singleflight.Group
	names map[string]struct{}
}

// DoChan is that of a singleflight.Group.
func (f *flights) DoChan(name string, fn func() (any, error)) <-chan singleflight.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		f.now = &inFlight{names: make(map[string]struct{})}
	}
	now := f.now
	now.names[name] = struct{}{}
	return now.group.DoChan(name, func() (any, error) {
		defer f.landed(now, name)
		return fn()
	})
}

// landed is called when the flight is over, on its goroutine. The group still knows
// it then, and whoever came now would join it: it is to begin another.
func (f *flights) landed(now *inFlight, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now.group.Forget(name)
	delete(now.names, name)
	if len(now.names) == 0 {
		f.now = nil
	}
}
