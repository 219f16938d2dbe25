package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPlans: each plan is that of a package that is there, with all that judges it.
func TestPlans(t *testing.T) {
	t.Chdir("../..")
	for pkg, p := range plans {
		for _, tests := range append([]string{"."}, p.also...) {
			if list, err := filepath.Glob(filepath.Join(pkg, tests, "*_test.go")); err != nil || len(list) == 0 {
				t.Errorf("%s has no tests in %s", pkg, tests)
			}
		}
	}
}

// TestShare: a share is about what it says, without one each line is tried, and a share that
// divides another one holds it: a larger share does not change what is known.
func TestShare(t *testing.T) {
	for _, share := range []int{0, 1, 4, 16} {
		n := 0
		for i := range 10_000 {
			if (plan{share: share}).tries("p/p.go", "f", fmt.Sprint("x := ", i)) {
				n++
			}
		}
		want := 10_000 / max(share, 1)
		if n < want*9/10 || n > want*11/10 {
			t.Errorf("one line in %d: %d of 10,000", share, n)
		}
	}
	for i := range 1000 { // what half as many lines are chosen from
		line := fmt.Sprint("x := ", i)
		if (plan{share: 8}).tries("p/p.go", "f", line) && !(plan{share: 4}).tries("p/p.go", "f", line) {
			t.Errorf("%s is of the smaller share alone", line)
		}
	}
}

// TestPart: there are two, and a third is a mistake.
func TestPart(t *testing.T) {
	t.Chdir("../..")
	if err := run(t.Context(), []string{"internal/wait"}, "", "slow", false); err != nil {
		t.Errorf("no package of the part is measured: %v", err)
	}
	if err := run(t.Context(), nil, "", "long", false); err == nil {
		t.Error("a part that is none")
	}
}

// TestTry: what becomes of a mutant is what its tests say. Tests that hang have a second try,
// for three times as long as they take on the code as it is. Their temporary files are where they
// were, and not where gremlins has its own.
func TestTry(t *testing.T) {
	const (
		ok    = "ok  \tmodule/p\t30.5s"
		fails = "--- FAIL: TestF"
		hangs = "panic: test timed out after 10s"
	)
	for _, tc := range []struct {
		name   string
		says   []string // go test, one run after another
		want   int
		limits string // of the runs
	}{
		{"passes", []string{ok}, survived, "10s"},
		{"fails", []string{fails}, killed, "10s"},
		{"does not compile", []string{"FAIL\tmodule/p [build failed]"}, notBuilt, "10s"},
		{"hangs", []string{hangs, ok, hangs}, killed, "10s 1m40s 1m31.5s"},
		{"hangs, and fails as it is for once", []string{hangs, fails, hangs}, killed, "10s 1m40s 30s"},
		{"hangs on a busy machine", []string{hangs, ok, ok}, survived, "10s 1m40s 1m31.5s"},
		{"is slow for once", []string{hangs, "ok  \tmodule/p\t1.2s", fails}, killed, "10s 1m40s 20s"},
		{"on a machine that is too busy for all", []string{hangs, hangs, ok}, survived, "10s 1m40s 5m0s"},
	} {
		dir := t.TempDir()
		t.Chdir(dir)
		var script strings.Builder
		fmt.Fprintf(&script, "#!/bin/sh\ncd %s\necho $TMPDIR >temp\n", dir)
		script.WriteString("while [ $# -gt 0 ]; do [ $1 = -timeout ] && echo $2 >>limits; shift; done\n")
		script.WriteString("case $(wc -l <limits | tr -d ' ') in\n")
		for i, s := range tc.says {
			exit := 1
			if strings.HasPrefix(s, "ok") {
				exit = 0
			}
			fmt.Fprintf(&script, "%d) echo '%s'; exit %d;;\n", i+1, s, exit)
		}
		script.WriteString("esac\n")
		fake := filepath.Join(dir, "go")
		if err := os.WriteFile(fake, []byte(script.String()), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{envGo: fake, envPackage: ".", envRoot: dir, envTemp: "/theirs", "TMPDIR": "/gremlins"} {
			t.Setenv(name, value)
		}
		if got := try(t.Context(), plan{}, "."); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
		if temp, _ := os.ReadFile("temp"); string(temp) != "/theirs\n" {
			t.Errorf("%s: temporary files are in %q", tc.name, temp)
		}
		limits, _ := os.ReadFile("limits")
		if got := strings.Join(strings.Fields(string(limits)), " "); got != tc.limits {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.limits)
		}
	}
	if d := duration([]byte("ok  \tp\t(cached)\n"), time.Hour); d != time.Hour {
		t.Errorf("a duration that is not there is %v", d)
	}
}
