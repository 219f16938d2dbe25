package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// release makes version, or with do false says how. It refuses before it changes anything,
// and never pushes: what is pushed can be taken back by nobody, for proxies keep it.
func release(ctx context.Context, root, version string, do bool, out io.Writer) error {
	t, err := readTree(ctx, root)
	if err != nil {
		return err
	}
	if err := t.mayRelease(ctx, version); err != nil {
		return err
	}
	if err := t.mayChange(ctx, version, out); err != nil {
		return err
	}
	changelog, err := t.read("CHANGELOG.md")
	if err != nil {
		return err
	}
	changed, err := cutChangelog(string(changelog), version, time.Now().UTC())
	if err != nil {
		return err
	}
	// The core's zip has the changelog, so this comes before the hashes.
	t.changed["CHANGELOG.md"] = []byte(changed)
	tmp, err := os.MkdirTemp("", "release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := t.pack(tmp, version); err != nil {
		return err
	}
	s := &steps{ctx: ctx, tree: t, do: do, out: out}
	s.commit("release: " + version)
	var tags []string
	for _, m := range t.modules {
		if m.public() {
			tags = append(tags, m.tag(version))
			s.git("tag", "-a", "-m", m.path+" "+version, m.tag(version))
		}
	}
	if err := t.backToMain(version); err != nil {
		return err
	}
	s.commit("release: the tree's modules see each other again")
	if s.err != nil {
		return s.err
	}
	fmt.Fprintf(out, "then: git push --atomic origin main %s\n", strings.Join(tags, " "))
	fmt.Fprintf(out, "then: git switch --detach %s && go run ./internal/release -licences DIR\n", version)
	return nil
}

// mayRelease says what speaks against version.
func (t *tree) mayRelease(ctx context.Context, version string) error {
	if semver.Canonical(version) != version {
		return fmt.Errorf("%q is no version such as v1.2.3", version)
	}
	if major := semver.Major(version); major != "v0" && major != "v1" && !strings.HasSuffix(t.core().path, "/"+major) {
		return fmt.Errorf("%s needs module paths that end in /%s", version, major)
	}
	branch, err := git(ctx, t.root, "branch", "--show-current")
	if err != nil {
		return err
	}
	if branch != "main" {
		return fmt.Errorf("the branch is %q, not main", branch)
	}
	dirty, err := git(ctx, t.root, "status", "--porcelain")
	if err != nil {
		return err
	}
	if dirty != "" {
		return fmt.Errorf("the tree has changes that are not committed:\n%s", dirty)
	}
	tags, err := git(ctx, t.root, "tag", "--list")
	if err != nil {
		return err
	}
	for tag := range strings.SplitSeq(tags, "\n") {
		if base := path.Base(tag); semver.IsValid(base) && semver.Compare(base, version) >= 0 {
			return fmt.Errorf("there is the tag %s already: choose a newer version than %s", tag, version)
		}
	}
	return nil
}

// cutChangelog makes the section Unreleased the version's, under an empty one.
func cutChangelog(text, version string, day time.Time) (string, error) {
	before, rest, ok := strings.Cut(text, "\n## Unreleased\n")
	if !ok {
		return "", errors.New("CHANGELOG.md has no section Unreleased")
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	if !strings.Contains(section, "\n- ") {
		return "", errors.New("CHANGELOG.md says of no change under Unreleased")
	}
	return before + "\n## Unreleased\n\n## " + strings.TrimPrefix(version, "v") + " (" + day.Format(time.DateOnly) + ")\n" + rest, nil
}

// backToMain has the go.mod and go.sum of all modules, of those that nobody imports too, as
// they were, but for the version that they require.
func (t *tree) backToMain(version string) error {
	t.changed = map[string][]byte{}
	for _, m := range t.modules {
		if err := t.setVersion(m, version, false); err != nil {
			return err
		}
		name := path.Join(m.dir, "go.sum")
		if b, ok := t.before[name]; ok {
			t.changed[name] = b
		}
	}
	return nil
}

// steps are what changes the repository, done or only printed. After an error nothing more
// is done.
type steps struct {
	ctx  context.Context
	tree *tree
	do   bool
	out  io.Writer
	err  error
}

func (s *steps) git(args ...string) {
	if s.err != nil {
		return
	}
	fmt.Fprintf(s.out, "git %q\n", args)
	if s.do {
		_, s.err = git(s.ctx, s.tree.root, args...)
	}
}

// commit writes what the release changes in the tree, and commits that.
func (s *steps) commit(subject string) {
	if s.err != nil {
		return
	}
	for name, b := range s.tree.changed {
		old, err := os.ReadFile(filepath.Join(s.tree.root, name))
		if err != nil || string(old) != string(b) {
			fmt.Fprintln(s.out, "write", name)
		}
	}
	if s.do {
		s.err = s.tree.write()
	}
	s.git("commit", "-q", "-a", "-m", subject)
}
