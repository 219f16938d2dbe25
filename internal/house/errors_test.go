package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestErrorsPage: docs/errors.md has each error that a user can meet by name: exported variables
// that begin with Err, and exported types with a method Error.
func TestErrorsPage(t *testing.T) {
	page, err := os.ReadFile(repository + "/docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, dir := range publicFolders(t) {
		names = append(names, exportedErrors(t, dir)...)
	}
	if len(names) < 15 {
		t.Errorf("only %q were found", names)
	}
	for _, name := range names {
		if !strings.Contains(string(page), "`"+name+"`") && !strings.Contains(string(page), "`*"+name+"`") {
			t.Errorf("docs/errors.md says nothing of %s", name)
		}
	}
}

// publicFolders are those of packages that users import, nested modules included.
func publicFolders(t *testing.T) []string {
	t.Helper()
	var dirs []string
	for _, root := range []string{"tokenclient", "store"} {
		err := filepath.WalkDir(filepath.Join(repository, root), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				if name := d.Name(); name == "testdata" || name == "internal" || name == "behaviour" {
					return fs.SkipDir
				}
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dirs
}

// exportedErrors returns the errors that the package in dir exports, each as package.Name.
func exportedErrors(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range errorNames(file) {
			names = append(names, file.Name.Name+"."+name)
		}
	}
	return names
}

// errorNames returns the exported errors of file.
func errorNames(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || d.Name.Name != "Error" || len(d.Type.Params.List) > 0 {
				continue
			}
			of := d.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if id, ok := of.(*ast.Ident); ok {
				names = append(names, id.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if s, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR {
					for _, n := range s.Names {
						if strings.HasPrefix(n.Name, "Err") {
							names = append(names, n.Name)
						}
					}
				}
			}
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return !ast.IsExported(n) })
}
