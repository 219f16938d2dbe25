package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"strings"
)

// A way is what a reader reads to follow one function.
type way struct {
	Root     string
	Stops    []string
	Steps    []step
	All      total
	Branches total // without leaves
	Own      total // of these, in the root's package
	Straight total // up to the first stop
}

// A total sums up steps.
type total struct{ Functions, Files, Stays, Returns, Lines, ReturnStatements int }

// A step is one function on the way.
type step struct {
	Function         string
	File             string
	Depth            int
	Lines            int
	ReturnStatements int
	Own              bool // in the root's package
	Leaf             bool
	Straight         bool
}

// way walks from the function root on, and enters none of stops.
func (prog *program) way(root string, stops []string) (way, error) {
	w := way{Root: root, Stops: stops}
	first, err := prog.function(root)
	if err != nil {
		return w, err
	}
	walk := &walk{prog: prog, way: &w, first: first, seen: map[*function]bool{}, stops: map[*function]bool{}, straight: true}
	for _, name := range stops {
		f, err := prog.function(name)
		if err != nil {
			return w, err
		}
		walk.stops[f] = true
	}
	walk.enter(first, 0)
	w.All = sum(w.Steps, func(step) bool { return true })
	w.Branches = sum(w.Steps, func(s step) bool { return !s.Leaf })
	w.Own = sum(w.Steps, func(s step) bool { return !s.Leaf && s.Own })
	w.Straight = sum(w.Steps, func(s step) bool { return s.Straight })
	return w, nil
}

// function returns the one of that name.
func (prog *program) function(name string) (*function, error) {
	var found *function
	for _, f := range prog.funcs {
		if f.name == name {
			found = f
		}
	}
	if found == nil {
		return nil, fmt.Errorf("there is no function %s (want package.Function or package.Type.Method)", name)
	}
	return found, nil
}

// A walk is a way being walked.
type walk struct {
	prog        *program
	way         *way
	first       *function
	seen, stops map[*function]bool
	straight    bool
}

func (w *walk) enter(f *function, depth int) {
	w.seen[f] = true
	at := len(w.way.Steps)
	w.way.Steps = append(w.way.Steps, step{
		Function: f.name, File: f.pkg.short + "/" + f.file, Depth: depth,
		Lines: w.prog.lines(f.decl), ReturnStatements: returnStatements(f.decl),
		Own: f.pkg == w.first.pkg, Leaf: true, Straight: w.straight,
	})
	for _, c := range f.calls {
		callee := w.prog.funcs[c]
		if callee == nil || callee == f || callee.pkg != w.first.pkg && !inside(callee.obj.Pkg()) {
			continue
		}
		w.way.Steps[at].Leaf = false
		switch {
		case w.stops[callee]:
			w.straight = false
		case !w.seen[callee]:
			w.enter(callee, depth+1)
		}
	}
}

// inside reports whether p is in an internal folder.
func inside(p *types.Package) bool { return strings.Contains(p.Path()+"/", "/internal/") }

func returnStatements(f *ast.FuncDecl) int {
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		if _, ok := node.(*ast.ReturnStmt); ok {
			n++
		}
		return true
	})
	return n
}

// sum sums up those of steps that count.
func sum(steps []step, counts func(step) bool) total {
	var t total
	files := map[string]bool{}
	last := ""
	for _, s := range steps {
		if !counts(s) {
			continue
		}
		t.Functions++
		t.Lines += s.Lines
		t.ReturnStatements += s.ReturnStatements
		files[s.File] = true
		if s.File != last {
			t.Stays++
		}
		last = s.File
	}
	t.Files = len(files)
	t.Returns = t.Stays - t.Files
	return t
}
