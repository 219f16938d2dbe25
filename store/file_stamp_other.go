//go:build !linux

package store

// sinceStart is for systems that have such a clock.
func sinceStart() (now stamp, ok bool) { return now, false }
