package planted

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPatched(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "some", "pkg"), 0o700); err != nil {
		t.Fatal(err)
	}
	const text = "package pkg\n\nfunc even(n int) bool { return n%2 == 0 }\n"
	if err := os.WriteFile(filepath.Join(root, "some", "pkg", "even.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	texts := patched(t, root, []Bug{
		{"always", []Patch{{"some/pkg/even.go", "n%2 == 0 }", "n%2 == 0 || BUG }"}}},
		{"never", []Patch{{"some/pkg/even.go", "return n", "return !BUG && n"}}},
		{"elsewhere", nil},
	})
	const want = "package pkg\n\nfunc even(n int) bool { return !(plantedBug == \"never\") && n%2 == 0 || (plantedBug == \"always\") }\n"
	if got := texts["some/pkg/even.go"]; got != want {
		t.Errorf("patched to\n%s", got)
	}
	if got := texts["some/pkg/planted.go"]; !strings.HasPrefix(got, "package pkg\n") || !strings.Contains(got, env) || len(texts) != 2 {
		t.Errorf("%d files, and which bug it is says\n%s", len(texts), got)
	}
	if !slices.Contains(Environ("always"), env+"=always") {
		t.Error("the environment does not name the bug")
	}
}
