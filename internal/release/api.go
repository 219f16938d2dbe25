package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

const apidiff = "golang.org/x/exp/cmd/apidiff@v0.0.0-20261113113407-e3970619a1a4"

// api prints what has changed in the exported API since the last release. No change is an
// error: which version may have it, release says.
func api(ctx context.Context, root string, out io.Writer) error {
	t, err := readTree(ctx, root)
	if err != nil {
		return err
	}
	last, err := t.lastRelease(ctx)
	if err != nil {
		return err
	}
	if last == "" {
		fmt.Fprintln(out, "no version has a tag yet: there is nothing to compare with")
		return nil
	}
	_, err = t.changesSince(ctx, last, out)
	return err
}

// mayChange refuses an incompatible change of the exported API in a version that must have
// none.
func (t *tree) mayChange(ctx context.Context, version string, out io.Writer) error {
	last, err := t.lastRelease(ctx)
	if err != nil || last == "" {
		return err
	}
	broken, err := t.changesSince(ctx, last, out)
	if err != nil {
		return err
	}
	if kind := lacks(last, version); len(broken) > 0 && kind != "" {
		return fmt.Errorf("%s has changed incompatibly since %s: choose a new %s version, not %s", strings.Join(broken, ", "), last, kind, version)
	}
	return nil
}

// lacks says which kind of version an incompatible change since last asks for: before v1 a
// minor one, from there on a major one. It is "" if version is one.
func lacks(last, version string) string {
	switch {
	case semver.Major(last) != semver.Major(version):
		return ""
	case semver.Major(last) != "v0":
		return "major"
	case semver.MajorMinor(last) == semver.MajorMinor(version):
		return "minor"
	}
	return ""
}

// lastRelease is the newest version that HEAD has behind it, or "". A pre-release promised
// nothing that has to be kept.
func (t *tree) lastRelease(ctx context.Context) (string, error) {
	tags, err := git(ctx, t.root, "tag", "--list", "v*", "--merged", "HEAD")
	if err != nil {
		return "", err
	}
	last := ""
	for tag := range strings.SplitSeq(tags, "\n") {
		if semver.IsValid(tag) && semver.Prerelease(tag) == "" && semver.Compare(tag, last) > 0 {
			last = tag
		}
	}
	return last, nil
}

// changesSince prints how the exported API of each public module differs from the one in
// the tag last, and returns the modules with an incompatible change.
func (t *tree) changesSince(ctx context.Context, last string, out io.Writer) (broken []string, err error) {
	tmp, err := os.MkdirTemp("", "api")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if _, err := output(ctx, t.root, []string{"GOBIN=" + tmp, "GOFLAGS="}, "go", "install", apidiff); err != nil {
		return nil, err
	}
	old, err := t.at(ctx, last, filepath.Join(tmp, "old"))
	if err != nil {
		return nil, err
	}
	program, was := filepath.Join(tmp, "apidiff"), filepath.Join(tmp, "api")
	for _, m := range t.modules {
		i := slices.IndexFunc(old.modules, func(o *module) bool { return o.path == m.path })
		if !m.public() || i < 0 {
			continue // what nobody could get before has no API to keep
		}
		// The clone may write to its go.sum: its tagged files have no line for a replaced module.
		dir := filepath.Join(old.root, filepath.FromSlash(old.modules[i].dir))
		if _, err := output(ctx, dir, []string{"GOWORK=off", "GOFLAGS=-mod=mod"}, program, "-m", "-w", was, m.path); err != nil {
			return nil, err
		}
		dir = filepath.Join(t.root, filepath.FromSlash(m.dir))
		changes, err := output(ctx, dir, []string{"GOWORK=off", "GOFLAGS="}, program, "-m", was, m.path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "--- %s since %s\n%s", m.path, last, changes)
		if strings.Contains(changes, "Incompatible changes:") {
			broken = append(broken, m.path)
		}
	}
	return broken, nil
}

// at is the tree as tag has it, in a clone in dir whose modules see each other, whether or
// not a proxy has them.
func (t *tree) at(ctx context.Context, tag, dir string) (*tree, error) {
	if _, err := git(ctx, t.root, "clone", "-q", "--shared", "--no-checkout", t.root, dir); err != nil {
		return nil, err
	}
	if _, err := git(ctx, dir, "checkout", "-q", "--detach", tag); err != nil {
		return nil, err
	}
	old, err := readTree(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, m := range old.modules {
		for _, other := range old.modules {
			if other == m {
				continue
			}
			if err := m.file.AddReplace(other.path, "", filepath.ToSlash(filepath.Join(dir, other.dir)), ""); err != nil {
				return nil, err
			}
		}
		name := filepath.ToSlash(filepath.Join(m.dir, "go.mod"))
		old.changed[name] = modfile.Format(m.file.Syntax)
	}
	return old, old.write()
}
