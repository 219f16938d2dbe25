package stepup

// Remembered is how many outcomes g keeps.
func (g *Group[K]) Remembered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.last)
}

// Remembered is how many logins l keeps.
func (l *Logins[E]) Remembered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.first)
}
