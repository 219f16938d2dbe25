//go:build !unix

package processes_test

// runSnippet is for systems with signals.
func runSnippet() {}
