package redact

// Steps returns how many times a search of text for s looks into its index, and how many
// bytes it has indexed.
func Steps(s Secrets, text string) (steps, indexed int) {
	x := newSearch(text)
	s.in(x)
	for _, view := range append(x.views, x.coded...) {
		indexed += len(view)
	}
	return x.steps, indexed
}
