package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newRepository has a core, a module inside it, and one that no user imports.
func newRepository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":               "module example.com/core\n\ngo 1.26\n",
		"core.go":              "package core\n",
		"LICENSE":              "as you like\n",
		"CHANGELOG.md":         "# Changelog\n\n## Unreleased\n\n- Everything.\n",
		"nested/go.mod":        "module example.com/core/nested\n\ngo 1.26\n\nrequire example.com/core v0.0.0\n\nreplace example.com/core => ../\n",
		"nested/go.sum":        "",
		"nested/nested.go":     "package nested\n\nimport _ \"example.com/core\"\n",
		"internal/rig/go.mod":  "module example.com/core/internal/rig\n\ngo 1.26\n\nrequire example.com/core/nested v0.0.0\n\nreplace example.com/core/nested => ../../nested\n",
		"internal/rig/main.go": "package main\n\nfunc main() {}\n",
	} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{"NAME": "A", "EMAIL": "a@example.com"} {
		t.Setenv("GIT_AUTHOR_"+name, value)
		t.Setenv("GIT_COMMITTER_"+name, value)
	}
	mustGit(t, root, "init", "-q", "-b", "main")
	mustGit(t, root, "add", "-A")
	mustGit(t, root, "commit", "-q", "-m", "all")
	return root
}

func mustGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := git(context.Background(), dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDryRunChangesNothing(t *testing.T) {
	root := newRepository(t)
	before := mustGit(t, root, "rev-parse", "HEAD")
	var out strings.Builder
	if err := release(t.Context(), root, "v0.1.0", false, &out); err != nil {
		t.Fatal(err)
	}
	if after := mustGit(t, root, "rev-parse", "HEAD"); after != before {
		t.Error("it committed")
	}
	if s := mustGit(t, root, "status", "--porcelain") + mustGit(t, root, "tag"); s != "" {
		t.Errorf("it left %s", s)
	}
	for _, want := range []string{"write CHANGELOG.md", "write nested/go.mod", "write nested/go.sum", `"nested/v0.1.0"`, "git push", "git switch --detach v0.1.0 && go run ./internal/release -licences"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &out)
		}
	}
}

func TestRelease(t *testing.T) {
	root := newRepository(t)
	if err := release(t.Context(), root, "v0.1.0", true, io.Discard); err != nil {
		t.Fatal(err)
	}
	if tags := mustGit(t, root, "tag"); tags != "nested/v0.1.0\nv0.1.0" {
		t.Errorf("tags: %s", tags)
	}
	tagged := mustGit(t, root, "show", "nested/v0.1.0:nested/go.mod")
	if !strings.Contains(tagged, "example.com/core v0.1.0") || strings.Contains(tagged, "replace") {
		t.Errorf("tagged:\n%s", tagged)
	}
	if sum := mustGit(t, root, "show", "nested/v0.1.0:nested/go.sum"); strings.Count(sum, "example.com/core v0.1.0") != 2 {
		t.Errorf("tagged go.sum:\n%s", sum)
	}
	for _, name := range []string{"nested/go.mod", "internal/rig/go.mod"} {
		if now := mustGit(t, root, "show", "main:"+name); !strings.Contains(now, " v0.1.0") || !strings.Contains(now, "replace") {
			t.Errorf("%s on main:\n%s", name, now)
		}
	}
	if s := mustGit(t, root, "show", "main:nested/go.sum") + mustGit(t, root, "status", "--porcelain"); s != "" {
		t.Errorf("on main: %s", s)
	}
	if s := mustGit(t, root, "show", "v0.1.0:CHANGELOG.md"); !strings.Contains(s, "## Unreleased\n\n## 0.1.0 (") {
		t.Errorf("changelog:\n%s", s)
	}
}

func TestReleaseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, version string
		spoil         func(t *testing.T, root string)
		want          string
	}{
		{"no version", "0.1", nil, "is no version"},
		{"a major bump", "v2.0.0", nil, "end in /v2"},
		{"a dirty tree", "v0.1.0", func(t *testing.T, root string) { write(t, root, "core.go", "package other\n") }, "not committed"},
		{"another branch", "v0.1.0", func(t *testing.T, root string) { mustGit(t, root, "switch", "-q", "-c", "x") }, "not main"},
		{"a version that exists", "v0.1.0", func(t *testing.T, root string) { mustGit(t, root, "tag", "v0.1.0") }, "tag v0.1.0 already"},
		{"a nested version that exists", "v0.1.0", func(t *testing.T, root string) { mustGit(t, root, "tag", "nested/v0.1.0") }, "tag nested/v0.1.0"},
		{"a version below the last", "v0.1.0", func(t *testing.T, root string) { mustGit(t, root, "tag", "v0.2.0") }, "tag v0.2.0"},
		{"no changelog", "v0.1.0", func(t *testing.T, root string) {
			mustGit(t, root, "rm", "-q", "CHANGELOG.md")
			mustGit(t, root, "commit", "-q", "-m", "x")
		}, "CHANGELOG.md"},
		{"a replace of another's module", "v0.1.0", func(t *testing.T, root string) {
			write(t, root, "nested/go.mod", "module example.com/core/nested\n\nreplace example.com/x => ../x\n")
			mustGit(t, root, "commit", "-q", "-a", "-m", "x")
		}, "has a replace"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := newRepository(t)
			if c.spoil != nil {
				c.spoil(t, root)
			}
			before := mustGit(t, root, "for-each-ref")
			err := release(t.Context(), root, c.version, true, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if after := mustGit(t, root, "for-each-ref"); after != before {
				t.Error("it changed the repository")
			}
		})
	}
}

// TestReleaseChecksAPI: what breaks a user needs a version that says so.
func TestReleaseChecksAPI(t *testing.T) {
	for _, c := range []struct {
		name, last, version string
		change              map[string]string // file to its new content
		ok                  bool
	}{
		{"more, and less of an internal one, patch", "v0.1.0", "v0.1.1", map[string]string{
			"core.go": "package core\n\nfunc Kept() {}\n\nfunc More() {}\n", "internal/in/in.go": "package in\n",
		}, true},
		{"less, patch", "v0.1.0", "v0.1.1", map[string]string{"core.go": "package core\n"}, false},
		{"less, minor", "v0.1.0", "v0.2.0", map[string]string{"core.go": "package core\n"}, true},
		{"less of a nested one, patch", "v0.1.0", "v0.1.1", map[string]string{"nested/nested.go": "package nested\n\nimport _ \"example.com/core\"\n"}, false},
		{"less than a pre-release had", "v0.1.0-rc.1", "v0.1.0", map[string]string{"core.go": "package core\n"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := newRepository(t)
			if err := os.MkdirAll(filepath.Join(root, "internal", "in"), 0o750); err != nil {
				t.Fatal(err)
			}
			write(t, root, "core.go", "package core\n\nfunc Kept() {}\n")
			write(t, root, "internal/in/in.go", "package in\n\nfunc In() {}\n")
			write(t, root, "nested/nested.go", "package nested\n\nimport _ \"example.com/core\"\n\nfunc Kept() {}\n")
			mustGit(t, root, "add", "-A")
			mustGit(t, root, "commit", "-q", "-m", "API")
			if err := release(t.Context(), root, c.last, true, io.Discard); err != nil {
				t.Fatal(err)
			}
			changelog, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, root, "CHANGELOG.md", strings.Replace(string(changelog), "## Unreleased\n", "## Unreleased\n\n- More.\n", 1))
			for name, content := range c.change {
				write(t, root, name, content)
			}
			mustGit(t, root, "commit", "-q", "-a", "-m", "change")
			before := mustGit(t, root, "for-each-ref")
			var out strings.Builder
			err = release(t.Context(), root, c.version, false, &out)
			if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "incompatibly since "+c.last) {
				t.Errorf("%v\n%s", err, &out)
			}
			if after := mustGit(t, root, "for-each-ref") + mustGit(t, root, "status", "--porcelain"); after != before {
				t.Error("it changed the repository")
			}
		})
	}
}

func TestLacks(t *testing.T) {
	for _, c := range []struct{ last, version, want string }{
		{"v0.1.0", "v0.1.1", "minor"},
		{"v0.1.0", "v0.2.0", ""},
		{"v0.1.9", "v0.2.0-rc.1", ""},
		{"v0.1.0", "v1.0.0", ""},
		{"v1.0.0", "v1.0.1", "major"},
		{"v1.0.0", "v1.1.0", "major"},
		{"v1.1.0", "v2.0.0", ""},
	} {
		if got := lacks(c.last, c.version); got != c.want {
			t.Errorf("%s after %s: %q, want %q", c.version, c.last, got, c.want)
		}
	}
}

// TestReleaseStops: after a step that failed none is done or said, and nothing is to be pushed.
func TestReleaseStops(t *testing.T) {
	root := newRepository(t)
	hook := filepath.Join(root, ".git", "hooks", "pre-commit")
	if err := os.MkdirAll(filepath.Dir(hook), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hook, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil { // #nosec G306 -- git runs it
		t.Fatal(err)
	}
	var out strings.Builder
	if err := release(t.Context(), root, "v0.1.0", true, &out); err == nil {
		t.Error("no error, though git refused the commit")
	}
	if s := out.String(); strings.Contains(s, "push") || strings.Contains(s, `"tag"`) {
		t.Errorf("it says:\n%s", s)
	}
	if tags := mustGit(t, root, "tag"); tags != "" {
		t.Errorf("tags: %s", tags)
	}
}

func write(t *testing.T, root, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(name)), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCutChangelog(t *testing.T) {
	for text, ok := range map[string]bool{
		"# C\n\n## Unreleased\n\n- A\n":                      true,
		"# C\n\n## Unreleased\n\n## 0.1.0\n\n- A\n":          false,
		"# C\n\n## Unreleased\n":                             false,
		"# C\n\n## 0.1.0 (2026-01-01)\n\n- A\n":              false,
		"# C\n\n## Unreleased\n\n### Added\n\n- A\n\n## 1\n": true,
	} {
		if _, err := cutChangelog(text, "v0.1.0", time.Now()); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
