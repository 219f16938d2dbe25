package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestExamples: docs/examples.md lists each example that is a program, has its output below its
// name, in the order of the list, and the example's test compares the two.
func TestExamples(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(repository, "docs", "examples.md"))
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	names := func(expression string) (names []string) {
		for _, m := range regexp.MustCompile(expression).FindAllStringSubmatch(page, -1) {
			names = append(names, m[1])
		}
		return names
	}
	listed, shown := names("(?m)^\\| \\[`(\\w+)`\\]\\(#(?:\\w+)\\) \\|"), names("\n## (\\w+)\n(?:\n[^#`].*)?\n+    go run .*\n\n```text\n[^`\n]")
	if !slices.Equal(listed, shown) {
		t.Errorf("the list has %q, and outputs are below %q", listed, shown)
	}
	programs, err := filepath.Glob(filepath.Join(repository, "examples", "*", "main.go"))
	if err != nil || len(programs) == 0 {
		t.Fatal(err)
	}
	var there []string
	for _, program := range programs {
		dir := filepath.Dir(program)
		there = append(there, filepath.Base(dir))
		test, err := os.ReadFile(filepath.Join(dir, "main_test.go"))
		if err != nil {
			t.Error(err)
		}
		if text := string(test); !strings.Contains(text, "told.Test(t)") && !strings.Contains(text, "storytest.Shown(t, ") {
			t.Errorf("the test of %s does not compare what it prints with the page", dir)
		}
	}
	slices.Sort(listed)
	if !slices.Equal(listed, there) {
		t.Errorf("the list has %q, there are %q", listed, there)
	}
}
