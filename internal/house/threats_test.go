package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var threatTest = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")

// TestThreatModel: each test that SECURITY.md names as a defence's is there.
func TestThreatModel(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for _, m := range threatTest.FindAllStringSubmatch(string(page), -1) {
		missing["func "+m[1]+"("] = true
	}
	if len(missing) < 30 {
		t.Fatalf("%d tests are named", len(missing))
	}
	err = filepath.WalkDir(repository, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for f := range missing {
			if strings.Contains(string(text), f) {
				delete(missing, f)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for f := range missing {
		t.Errorf("SECURITY.md names %s, which is nowhere", strings.TrimSuffix(strings.TrimPrefix(f, "func "), "("))
	}
}
