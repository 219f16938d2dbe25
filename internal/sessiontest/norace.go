//go:build !race

package sessiontest

// Race says whether the race detector is at work, which takes time, memory and
// allocations of its own.
const Race = false
