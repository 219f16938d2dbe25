package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var threatTest = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")

// TestThreatModel: each test that SECURITY.md names as a defence's is there.
func TestThreatModel(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, m := range threatTest.FindAllStringSubmatch(string(page), -1) {
		named[m[1]] = true
	}
	if len(named) < 30 {
		t.Fatalf("%d tests are named", len(named))
	}
	tests := testNames(t)
	for name := range named {
		if !tests[name] {
			t.Errorf("SECURITY.md names %s, which is nowhere", name)
		}
	}
}
