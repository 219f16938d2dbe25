package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSurvivors: each mutant that survivors.txt explains is of a line that is still there. A
// line that has changed wants a new look.
func TestSurvivors(t *testing.T) {
	t.Chdir("../..")
	reasons, err := readSurvivors(filepath.Join(folder, "survivors.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for key := range reasons {
		f := strings.Split(key, "\t")
		if s, err := readSource(f[0]); err != nil || !s.has(f[1], f[3]) {
			t.Errorf("%s has no such line in %q: %q (%v)", f[0], f[1], f[3], err)
		}
	}
}

// TestScores: each score is that of a package that is there, and as it is written.
func TestScores(t *testing.T) {
	t.Chdir("../..")
	name := filepath.Join(folder, "scores.txt")
	all, err := readScores(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Error("no package has a score")
	}
	for p := range all {
		if info, err := os.Stat(p); err != nil || !info.IsDir() {
			t.Errorf("%s has a score and is nowhere", p)
		}
	}
	again := filepath.Join(t.TempDir(), "scores.txt")
	if err := all.write(again); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(again); err != nil || string(got) != string(want) {
		t.Errorf("%s, written again (%v):\n%s", name, err, got)
	}
}

// TestReport: mutants that are alike but for their place have keys of their own, an
// explanation is of one of them, and only what could be killed counts.
func TestReport(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("p", 0o700); err != nil {
		t.Fatal(err)
	}
	const code = "package p\n\nfunc f(a, b int) bool { return a < b || b < a }\n\nfunc (t T) g() bool {\n\treturn 1 < 2\n}\n\ntype T int\n"
	if err := os.WriteFile("p/p.go", []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	mutants, err := parseResult("p", []byte(`{"files":[{"file_name":"p.go","mutations":[
		{"type":"CONDITIONALS_BOUNDARY","status":"LIVED","line":6,"column":11},
		{"type":"CONDITIONALS_BOUNDARY","status":"LIVED","line":3,"column":44},
		{"type":"CONDITIONALS_BOUNDARY","status":"LIVED","line":3,"column":35},
		{"type":"CONDITIONALS_NEGATION","status":"KILLED","line":6,"column":11},
		{"type":"INVERT_LOGICAL","status":"NOT VIABLE","line":3,"column":39}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]string{"p/p.go\tf\tCONDITIONALS_BOUNDARY#2\tfunc f(a, b int) bool { return a < b || b < a }": "why"}
	if got, want := report("p", mutants, explained), (score{killed: 1, survived: 2, explained: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if key, want := mutants[len(mutants)-1].key(), "p/p.go\tg\tCONDITIONALS_NEGATION#1\treturn 1 < 2"; key != want {
		t.Errorf("a method's mutant is called %q", key)
	}
	if _, err := parseResult("p", []byte(`{"files":[{"file_name":"p.go","mutations":[{"line":99}]}]}`)); err == nil {
		t.Error("a line that is not there is placed")
	}
}

// TestPercent: a score is that of what could have been killed.
func TestPercent(t *testing.T) {
	for s, want := range map[score]float64{
		{}:                       100,
		{3, 1, 7}:                75,
		{0, 2, 0}:                0,
		{explained: 4}:           100,
		{killed: 1, survived: 0}: 100,
	} {
		if got := s.percent(); got != want {
			t.Errorf("%+v is %v, want %v", s, got, want)
		}
	}
}
