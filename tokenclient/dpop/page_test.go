package dpop_test

import (
	"os"
	"strings"
	"testing"
)

// TestPage: to set DPoP up takes a few lines. That docs/dpop.md has them from the examples is
// tested for all pages, in internal/house.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/dpop.md")
	if err != nil {
		t.Fatal(err)
	}
	_, setup, ok := strings.Cut(string(page), "proofs :=")
	setup, _, _ = strings.Cut(setup, "```")
	if n := strings.Count(strings.TrimSpace(setup), "\n") + 1; !ok || n > 12 {
		t.Errorf("to set it up takes %d lines", n)
	}
}
