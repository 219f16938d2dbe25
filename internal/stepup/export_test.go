package stepup

// Remembered is how many outcomes and makers g keeps.
func (g *Group[K]) Remembered() (outcomes, makers int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.last), len(g.makers)
}

// Remembered is how many logins l keeps.
func (l *Logins[E]) Remembered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.first)
}
