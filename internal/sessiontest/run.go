package sessiontest

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Main runs the tests of a package whose servers and sessions all end: it fails the run if a
// goroutine is left. It does not return.
func Main(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // the fuzzer has goroutines of its own
	}
	// The client's side of a connection ends a moment after the server's.
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			fmt.Fprintln(os.Stderr, "goroutines left:")
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			os.Exit(1)
		}
	}
	os.Exit(code)
}

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
