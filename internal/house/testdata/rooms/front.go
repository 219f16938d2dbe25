// Package rooms is measured by the tests of house. What they expect is counted by hand.
package rooms

import "github.com/seed-fbfaa0ec/silentrefresh/internal/house/testdata/rooms/internal/door"

// A House has fields that two files use, one of them by what is embedded.
type House struct {
	Rooms int
	base
	open func() error
}

// Enter is where the ways of the tests begin.
func (h *House) Enter() error {
	if err := door.Open(h.Rooms); err != nil {
		return err
	}
	h.climb(3) // into stairs.go
	if h.open != nil {
		return h.open()
	}
	return h.lie() // promoted from base, in cellar.go
}

func (h *House) greet() {}
