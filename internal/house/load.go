package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A program is the packages of this repository that were asked for, with those of its
// other packages that they import, all checked from their source. Of packages from
// elsewhere only the compiler's export data is read.
type program struct {
	fset   *token.FileSet
	listed []*pkg // what was asked for, by path
	all    []*pkg // imported ones first
	funcs  map[*types.Func]*function
}

// A pkg is one package, as go list describes it, and as it was checked.
type pkg struct {
	ImportPath     string
	Name           string
	Dir            string
	GoFiles        []string
	IgnoredGoFiles []string // for other systems
	TestGoFiles    []string
	XTestGoFiles   []string
	Export         string
	DepOnly        bool
	Module         *struct {
		Path string
		Main bool
	}
	Error *struct{ Err string }

	short string // the path within the repository
	files []*ast.File
	types *types.Package
	info  *types.Info
}

// A function is one that is declared in the program.
type function struct {
	obj   *types.Func
	decl  *ast.FuncDecl
	pkg   *pkg
	name  string // as -way takes it
	file  string // without its folder
	calls []*types.Func
}

// load has go list find and compile what the patterns name, and checks it.
func load(patterns []string) (*program, error) {
	packages, err := list(patterns)
	if err != nil {
		return nil, err
	}
	prog := &program{fset: token.NewFileSet(), funcs: map[*types.Func]*function{}}
	exports := map[string]string{}
	root := ""
	for _, p := range packages {
		exports[p.ImportPath] = p.Export
		if p.Module == nil || !p.Module.Main {
			continue
		}
		prog.all = append(prog.all, p)
		if root == "" || len(p.Module.Path) < len(root) {
			root = p.Module.Path
		}
	}
	imports := &repositoryImporter{
		source: map[string]*types.Package{},
		others: importer.ForCompiler(prog.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }),
	}
	for _, p := range prog.all {
		p.short = strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, root), "/")
		if err := prog.check(p, imports); err != nil {
			return nil, err
		}
		if !p.DepOnly {
			prog.listed = append(prog.listed, p)
		}
	}
	if len(prog.listed) == 0 {
		return nil, errors.New("no package of this repository matches")
	}
	slices.SortFunc(prog.listed, func(a, b *pkg) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return prog, nil
}

func list(patterns []string) ([]*pkg, error) {
	fields := "ImportPath,Name,Dir,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Export,DepOnly,Module,Error"
	command := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=" + fields, "--"}, patterns...)...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []*pkg
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		p := &pkg{}
		if err := d.Decode(p); err != nil {
			return nil, err
		}
		if p.Error != nil {
			return nil, errors.New(p.Error.Err)
		}
		packages = append(packages, p)
	}
	return packages, nil
}

// A repositoryImporter gives each package of the repository once, so that what one
// package calls is the same object as what the other declares.
type repositoryImporter struct {
	source map[string]*types.Package
	others types.Importer
}

func (i *repositoryImporter) Import(path string) (*types.Package, error) {
	if p := i.source[path]; p != nil {
		return p, nil
	}
	return i.others.Import(path)
}

// check parses and checks p, and adds its functions.
func (prog *program) check(p *pkg, imports *repositoryImporter) error {
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(prog.fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		p.files = append(p.files, f)
	}
	p.info = &types.Info{
		Types:      map[ast.Expr]types.TypeAndValue{},
		Defs:       map[*ast.Ident]types.Object{},
		Uses:       map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	var err error
	if p.types, err = (&types.Config{Importer: imports}).Check(p.ImportPath, prog.fset, p.files, p.info); err != nil {
		return err
	}
	imports.source[p.ImportPath] = p.types
	for _, f := range p.files {
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok {
				obj := p.info.Defs[d.Name].(*types.Func)
				prog.funcs[obj] = &function{
					obj: obj, decl: d, pkg: p, name: p.short + "." + within(obj), file: prog.file(d), calls: p.named(d),
				}
			}
		}
	}
	return nil
}

// named returns the functions that n names, in the order of the source. A method of
// an interface is among them, but nothing in a program's funcs is it.
func (p *pkg) named(n ast.Node) []*types.Func {
	var funcs []*types.Func
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if f, ok := p.info.Uses[id].(*types.Func); ok {
				funcs = append(funcs, f.Origin())
			}
		}
		return true
	})
	return funcs
}

// file returns the name of the file that n is in.
func (prog *program) file(n ast.Node) string {
	return filepath.Base(prog.fset.Position(n.Pos()).Filename)
}

func (prog *program) lines(n ast.Node) int {
	return prog.fset.Position(n.End()).Line - prog.fset.Position(n.Pos()).Line + 1
}

// within names f within its package: Type.Method or Function.
func within(f *types.Func) string {
	if t := receiver(f); t != nil {
		return t.Name() + "." + f.Name()
	}
	return f.Name()
}

// receiver returns the type that f is a method of, nil if of none that has a name.
func receiver(f *types.Func) *types.TypeName {
	recv := f.Signature().Recv()
	if recv == nil {
		return nil
	}
	t := recv.Type()
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Origin().Obj()
	}
	return nil
}
