package sessiontest

import (
	"sync"
	"testing"
	"testing/synctest"
)

// Many is n, a tenth of it in short mode, and no more than the race detector can
// follow: it gives up at 8,128 goroutines, and a request needs several.
func Many(n int) int {
	if testing.Short() {
		n /= 10
	}
	if Race {
		n = min(n, 500)
	}
	return n
}

// Crowd calls f from n goroutines and waits for all of them.
func Crowd(n int, f func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(f)
	}
	wg.Wait()
}

// Bubble runs f as a subtest in a bubble of its own.
func Bubble(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
