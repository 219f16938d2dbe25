package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPages: each block of Go on a page for people is part of a test or of an example, which
// are compiled. How far it is indented there does not matter.
func TestPages(t *testing.T) {
	tests := testSources(t)
	blocks := 0
	for _, page := range []string{"../../README*.md", "../../docs/*.md"} {
		paths, err := filepath.Glob(page)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", page, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, block := range strings.Split(string(text), "```go\n")[1:] {
				block, _, _ = strings.Cut(block, "```")
				blocks++
				if !strings.Contains(tests, flat(block)) {
					t.Errorf("%s: no test and no example has\n%s", path, block)
				}
			}
		}
	}
	if blocks < 45 {
		t.Errorf("%d blocks were found", blocks)
	}
}

// testSources returns the tests and examples of all modules, but for this file.
func testSources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		all.WriteString(flat(string(source)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// flat returns text with each line trimmed.
func flat(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}
