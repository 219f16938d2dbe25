package dpop_test

import (
	"os"
	"strings"
	"testing"
)

// TestPage: each block of Go in docs/dpop.md is a part of the examples, which are compiled.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/dpop.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	flat := func(s string) string {
		var b strings.Builder
		for line := range strings.Lines(s) {
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
		return b.String()
	}
	blocks := strings.Split(string(page), "```go\n")[1:]
	if len(blocks) < 4 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(flat(string(program)), flat(code)) {
			t.Errorf("not in example_test.go:\n%s", code)
		}
	}
	_, setup, _ := strings.Cut(blocks[0], "proofs :=")
	setup, _, _ = strings.Cut(setup, "```")
	if n := strings.Count(strings.TrimSpace(setup), "\n") + 1; n > 12 {
		t.Errorf("to set it up takes %d lines", n)
	}
}
