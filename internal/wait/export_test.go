package wait

// Idle reports whether g takes no memory beside its own.
func Idle(g *Signal) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.next == nil
}
