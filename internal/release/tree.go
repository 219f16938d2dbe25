package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// A module is one go.mod of the repository.
type module struct {
	dir  string // "." for the core
	path string
	file *modfile.File
}

// public reports whether users import the module.
func (m *module) public() bool {
	return !strings.HasPrefix(m.dir, "internal/") && !strings.HasPrefix(m.dir, "examples/")
}

// program reports whether the module is one that users install and do not import.
func (m *module) program() bool { return strings.HasPrefix(m.dir, "cmd/") }

// tag is the tag by which the go command finds a version of the module.
func (m *module) tag(version string) string { return path.Join(m.dir, version) }

// A tree is the files of the repository, with those that a release changes in memory.
type tree struct {
	root    string
	names   []string // what git knows and does not ignore
	changed map[string][]byte
	before  map[string][]byte // each go.mod and go.sum as it was read
	modules []*module         // each after those that it requires
}

func readTree(ctx context.Context, root string) (*tree, error) {
	out, err := git(ctx, root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, changed: map[string][]byte{}, before: map[string][]byte{}}
	var found []*module
	for name := range strings.SplitSeq(strings.TrimRight(out, "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.Join(root, name)); err != nil {
			continue // deleted, and not committed yet
		}
		t.names = append(t.names, name)
		if base := path.Base(name); base != "go.mod" && base != "go.sum" {
			continue
		}
		b, err := t.read(name)
		if err != nil {
			return nil, err
		}
		t.before[name] = b
		if path.Base(name) == "go.sum" {
			continue
		}
		f, err := modfile.Parse(name, b, nil)
		if err != nil {
			return nil, err
		}
		found = append(found, &module{dir: path.Dir(name), path: f.Module.Mod.Path, file: f})
	}
	t.modules, err = inOrder(found)
	return t, err
}

// inOrder puts each module after those that it requires.
func inOrder(modules []*module) ([]*module, error) {
	var ordered []*module
	for len(ordered) < len(modules) {
		before := len(ordered)
		for _, m := range modules {
			waits := slices.ContainsFunc(modules, func(other *module) bool {
				return requires(m, other) && !slices.Contains(ordered, other)
			})
			if !waits && !slices.Contains(ordered, m) {
				ordered = append(ordered, m)
			}
		}
		if len(ordered) == before {
			return nil, fmt.Errorf("modules require each other in a circle")
		}
	}
	return ordered, nil
}

func requires(m, other *module) bool {
	return slices.ContainsFunc(m.file.Require, func(r *modfile.Require) bool { return r.Mod.Path == other.path })
}

func (t *tree) read(name string) ([]byte, error) {
	if b, ok := t.changed[name]; ok {
		return b, nil
	}
	return os.ReadFile(filepath.Join(t.root, name))
}

// write puts what was changed on disk.
func (t *tree) write() error {
	for name, b := range t.changed {
		if err := os.WriteFile(filepath.Join(t.root, name), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	out, err := output(ctx, dir, nil, "git", args...)
	return strings.TrimRight(out, "\n"), err
}

// output runs a program in dir with env besides the environment, and returns what it prints.
func output(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out), nil
}
