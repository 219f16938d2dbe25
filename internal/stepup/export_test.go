package stepup

// Remembered is how many outcomes g keeps.
func (g *Group[K]) Remembered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.last)
}
