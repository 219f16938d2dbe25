package main

import (
	"bytes"
	"go/ast"
	"go/types"
	"os"
	"path/filepath"
	"strings"
)

// longFunction is how many lines a function may have before it is listed.
const longFunction = 60

// A packageSize is how large one package is.
type packageSize struct {
	Package              string
	Files, Lines         int
	TestFiles, TestLines int
	Exported             exported
	Longest              functionSize
}

// exported counts what a package offers.
type exported struct{ Types, Funcs, Methods, Fields, Values int }

func (e exported) total() int { return e.Types + e.Funcs + e.Methods + e.Fields + e.Values }

// A functionSize is how long one function is.
type functionSize struct {
	Function string
	File     string
	Lines    int
}

func (prog *program) size(p *pkg) (packageSize, error) {
	s := packageSize{Package: p.short, Exported: p.exported()}
	for _, names := range [][]string{p.GoFiles, p.IgnoredGoFiles, p.TestGoFiles, p.XTestGoFiles} {
		for _, name := range names {
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return s, err
			}
			lines := bytes.Count(b, []byte("\n"))
			if strings.HasSuffix(name, "_test.go") {
				s.TestFiles, s.TestLines = s.TestFiles+1, s.TestLines+lines
			} else {
				s.Files, s.Lines = s.Files+1, s.Lines+lines
			}
		}
	}
	for _, f := range prog.sizes(p) {
		if f.Lines > s.Longest.Lines {
			s.Longest = f
		}
	}
	return s, nil
}

func (prog *program) longFunctions(p *pkg) []functionSize {
	var long []functionSize
	for _, f := range prog.sizes(p) {
		if f.Lines > longFunction {
			long = append(long, f)
		}
	}
	return long
}

// sizes returns the size of each function of p, in the order of the source.
func (prog *program) sizes(p *pkg) []functionSize {
	var sizes []functionSize
	for _, file := range p.files {
		for _, d := range file.Decls {
			if d, ok := d.(*ast.FuncDecl); ok {
				f := prog.funcs[p.info.Defs[d.Name].(*types.Func)]
				sizes = append(sizes, functionSize{Function: f.name, File: f.file, Lines: prog.lines(d)})
			}
		}
	}
	return sizes
}

func (p *pkg) exported() exported {
	var e exported
	if p.Name == "main" {
		return e
	}
	for _, name := range p.types.Scope().Names() {
		obj := p.types.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		switch obj := obj.(type) {
		case *types.Func:
			e.Funcs++
		case *types.TypeName:
			e.Types++
			e.addMembers(obj)
		default:
			e.Values++
		}
	}
	return e
}

// addMembers adds the methods and fields that t itself declares.
func (e *exported) addMembers(t *types.TypeName) {
	n, ok := t.Type().(*types.Named)
	if !ok {
		return // an alias
	}
	for m := range n.Methods() {
		if m.Exported() {
			e.Methods++
		}
	}
	switch u := n.Underlying().(type) {
	case *types.Struct:
		for f := range u.Fields() {
			if f.Exported() {
				e.Fields++
			}
		}
	case *types.Interface:
		for m := range u.ExplicitMethods() {
			if m.Exported() {
				e.Methods++
			}
		}
	}
}
