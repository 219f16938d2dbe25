package rooms

// climb names greet of front.go, which is against the order, and cellar.go twice.
func (h *House) climb(steps int) {
	if steps == 0 {
		return
	}
	h.climb(steps - 1)
	h.greet()
	first([]int{h.dark})
	defer func() {
		if steps > 1 {
			return
		}
		each(h.greetOnce)
	}()
}

func (h *House) greetOnce() { h.greet() }

func each(f func()) { f() }
