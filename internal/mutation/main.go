// Command mutation says how much of tokenclient, of store, and of the packages that they are
// made of is held by tests: it has gremlins (github.com/go-gremlins/gremlins) change one
// operator at a time, and runs the package's own tests (-short) on each such mutant. From the
// root of the repository, with gremlins in the PATH:
//
//	go run ./internal/mutation                     # all packages that have a score
//	go run ./internal/mutation internal/limit      # this one
//	go run ./internal/mutation -since origin/main  # those that have changed since
//	go run ./internal/mutation -part slow          # those whose tests take long; quick: the others
//
// A mutant is killed by a failing test, or by tests that hang: both times that they are tried,
// the second time with a patience that goes by how long they take just then on the code as it
// is, so that a busy machine kills none. One that does not compile is none. All others
// survive, whether or not a test runs their line. The score is killed in per cent of killed
// and survived.
//
// survivors.txt explains survivors that no test should kill; those do not count. scores.txt has the
// score of each package, below which it may not fall. With -write the scores are written there;
// that is also how a package gets its first.
//
// # What is tried
//
// All mutants of most packages. Of the largest it is a share, which plans.go has: one line in
// so many, with all mutants on it, chosen by a hash of the line's text, its function and its
// file. So nobody has chosen it, it is the same each time, and a change elsewhere does not move
// it; and the score of such a package is an estimate. A survivor of tokenclient's own tests is
// tried by those of tokenclient/behaviour too, which say most of what it promises.
//
// store and tokenclient have a plan and no score yet: name one to measure it. Neither have a
// score what is for tests and for the release alone; the packages that users import beside the
// two (tokenclient/dpop, tokenclient/login, store/sqlstore and so on) and internal/jws, which
// is theirs; nested modules; and files that are not of the platform that this runs on.
//
// # What gremlins does not do
//
// It takes the exit status of go test for its verdict, in which a mutant that does not compile
// looks like a failing test; it runs no mutant on lines that no test covers, constants among
// them, and counts them nowhere; its patience is a multiple of the time that it took to build
// and test once; and its temporary files, those of the tests among them, are in a folder that
// nobody else may enter, where tests that run as another user fail. So it does not run the go
// command, but this command under its name: see standIn. It knows operators only: no statement
// is left out, and no constant is changed.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if name := filepath.Base(os.Args[0]); name == "go" || name == "go.exe" {
		os.Exit(standIn(context.Background(), os.Args[1:]))
	}
	since := flag.String("since", "", "only packages that have changed since this `commit`")
	part := flag.String("part", "", "only the `quick` packages, or the slow ones")
	write := flag.Bool("write", false, "write the scores down")
	flag.Parse()
	if err := run(context.Background(), flag.Args(), *since, *part, *write); err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

// folder is where this command keeps its files.
const folder = "internal/mutation"

// run measures packages, or those that have a score; of these what is in a part, and what has
// changed since a commit; and compares.
func run(ctx context.Context, packages []string, since, part string, write bool) error {
	floors, err := readScores(filepath.Join(folder, "scores.txt"))
	if err != nil {
		return err
	}
	explained, err := readSurvivors(filepath.Join(folder, "survivors.txt"))
	if err != nil {
		return err
	}
	if len(packages) == 0 {
		packages = floors.packages()
	}
	switch part {
	case "":
	case "quick", "slow":
		packages = slices.DeleteFunc(packages, func(p string) bool { return plans[p].slow != (part == "slow") })
	default:
		return fmt.Errorf("-part is quick or slow, not %q", part)
	}
	if since != "" {
		changed, err := changedSince(ctx, since)
		if err != nil {
			return err
		}
		packages = slices.DeleteFunc(packages, func(p string) bool { return !changed[p] })
	}
	var failed []error
	for _, p := range packages {
		p = path.Clean(filepath.ToSlash(p))
		mutants, err := mutate(ctx, p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		got := report(p, mutants, explained)
		if write {
			floors[p] = got
		} else if floor, ok := floors[p]; ok && got.percent() < floor.percent() {
			failed = append(failed, fmt.Errorf("%s: the score fell from %.1f %% to %.1f %%", p, floor.percent(), got.percent()))
		}
	}
	if write {
		failed = append(failed, floors.write(filepath.Join(folder, "scores.txt")))
	}
	return errors.Join(failed...)
}

// report prints the score of a package and its unexplained survivors, each as a line of
// survivors.txt that lacks its reason.
func report(pkg string, mutants []mutant, explained map[string]string) score {
	var s score
	for _, m := range mutants {
		_, known := explained[m.key()]
		switch {
		case m.status == "NOT VIABLE" || m.status == "NOT COVERED": // of another platform, if not covered
		case m.status == "KILLED":
			s.killed++
			if known {
				fmt.Printf("killed, and explained all the same: %s\n", m.key())
			}
		case known:
			s.explained++
		default:
			s.survived++
			fmt.Printf("%s:%d:%d\n%s\n", m.file, m.line, m.column, m.key())
		}
	}
	fmt.Printf("%s: %.1f %%: %d killed, %d survived, %d explained\n", pkg, s.percent(), s.killed, s.survived, s.explained)
	return s
}

// changedSince returns the folders that have changed since a commit.
func changedSince(ctx context.Context, commit string) (map[string]bool, error) {
	out, err := exec.CommandContext(ctx, "git", "diff", "--merge-base", "--name-only", commit, "--", "*.go").Output()
	if err != nil {
		return nil, fmt.Errorf("git diff %s: %w", commit, err)
	}
	folders := map[string]bool{}
	for file := range strings.FieldsSeq(string(out)) {
		folders[path.Dir(file)] = true
	}
	return folders, nil
}

// operators are the mutants that gremlins does not make unless told to.
var operators = []string{"--invert-assignments", "--invert-bitwise", "--invert-bwassign", "--invert-logical", "--invert-loopctrl", "--remove-self-assignments"}

// mutate has gremlins try all mutants of a package, and returns them by place.
func mutate(ctx context.Context, pkg string) ([]mutant, error) {
	tmp, err := os.MkdirTemp("", "mutation-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	env, err := standInEnv(tmp, pkg)
	if err != nil {
		return nil, err
	}
	result := filepath.Join(tmp, "result.json")
	// The stand-in ends what hangs; the coefficient only keeps gremlins from doing so.
	args := append([]string{"unleash", "./" + pkg, "--workers", "1", "--timeout-coefficient", "100",
		"--output-statuses", "l", "--exclude-files", "/", "--output", result}, operators...)
	cmd := exec.CommandContext(ctx, "gremlins", args...)
	cmd.Env, cmd.Stderr = env, os.Stderr
	if out, err := cmd.Output(); err != nil {
		return nil, fmt.Errorf("gremlins: %w\n%s", err, out)
	}
	b, err := os.ReadFile(result)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("gremlins found nothing to change")
	} else if err != nil {
		return nil, err
	}
	return parseResult(pkg, b)
}

// parseResult reads what gremlins wrote, and the source that it is about.
func parseResult(pkg string, b []byte) ([]mutant, error) {
	var result struct {
		Files []struct {
			Name      string `json:"file_name"`
			Mutations []struct {
				Type, Status string
				Line, Column int
			}
		}
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&result); err != nil {
		return nil, err
	}
	var all []mutant
	for _, f := range result.Files {
		name := path.Join(pkg, filepath.ToSlash(f.Name))
		var found []mutant
		for _, m := range f.Mutations {
			found = append(found, mutant{file: name, line: m.Line, column: m.Column, operator: m.Type, status: m.Status})
		}
		slices.SortFunc(found, func(a, b mutant) int {
			return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column), cmp.Compare(a.operator, b.operator))
		})
		src, err := readSource(name)
		if err != nil {
			return nil, err
		}
		if err := src.place(found); err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortStableFunc(all, func(a, b mutant) int { return cmp.Compare(a.file, b.file) })
	return all, nil
}
