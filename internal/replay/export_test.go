package replay

// Kept is how many bytes of the first sending are remembered.
func Kept(b Body) int {
	b.source.mu.Lock()
	defer b.source.mu.Unlock()
	return len(b.source.kept)
}
