package main

import "testing"

// What keeps tokenclient so that a stranger can carry it on. A change that goes beyond one of
// these wants another place for what it adds: a room under internal/, or a type of its own.
const (
	mostFiles   = 30 // source files of a package
	mostAgainst = 10 // calls between files of tokenclient that run against their order
	mostReach   = 5  // files that use the fields of one type
)

// TestGoals: no package, no function, and none of the types that do something in tokenclient
// is larger than that. What only carries facts to others, such as a Token, is free.
func TestGoals(t *testing.T) {
	prog, err := load([]string{"../../..."})
	if err != nil {
		t.Fatal(err)
	}
	orders := make([]fileOrder, len(prog.listed)) // that of one package alone, as the search takes time
	for i, p := range prog.listed {
		size, err := prog.size(p)
		if err != nil {
			t.Fatal(err)
		}
		if size.Files > mostFiles {
			t.Errorf("%s has %d source files, more than %d", p.short, size.Files, mostFiles)
		}
		for _, f := range prog.longFunctions(p) {
			t.Errorf("%s has %d lines, more than %d", f.Function, f.Lines, longFunction)
		}
		if p.short == "tokenclient" {
			orders[i] = prog.order(p)
			if o := orders[i]; o.Against > mostAgainst {
				t.Errorf("%d calls between files of %s run against their order, more than %d: %v", o.Against, p.short, mostAgainst, o.Back)
			}
		}
	}
	bound := map[string]bool{}
	for _, name := range []string{"Session", "state", "held", "settings", "Pool", "Transport", "exchange"} {
		bound["tokenclient."+name] = true
	}
	for _, s := range prog.typeSizes(orders) {
		if bound[s.Type] && s.FieldFiles > mostReach {
			t.Errorf("fields of %s are used in %d files, more than %d", s.Type, s.FieldFiles, mostReach)
		}
		delete(bound, s.Type)
	}
	for name := range bound {
		t.Errorf("%s is not among the types that are counted", name)
	}
}
