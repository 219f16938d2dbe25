package tokenclient_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wholeRepository skips the test where the module is alone, as in a module cache: the README
// is of the nested modules too.
func wholeRepository(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("../store/redisstore/go.mod"); err != nil {
		t.Skip("the nested modules are not here")
	}
}

// TestReadmePaths: the README lists each example once, and leads to nothing that is not
// there.
func TestReadmePaths(t *testing.T) {
	wholeRepository(t)
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{`\]\(([^):]+)\)`, ` \./([a-z][a-z/]*)`} {
		found := regexp.MustCompile(pattern).FindAllSubmatch(readme, -1)
		if len(found) == 0 {
			t.Errorf("nothing in the README looks like %s", pattern)
		}
		for _, m := range found {
			path, _, _ := strings.Cut(strings.TrimSuffix(string(m[1]), "NAME"), "#") // TestLinks looks for the heading
			if _, err := os.Stat(filepath.Join("..", path)); err != nil {
				t.Error(err)
			}
		}
	}
	_, table, _ := strings.Cut(string(readme), "\n## Examples\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\|").FindAllStringSubmatch(table, -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(listed)
	entries, err := os.ReadDir("../examples")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, e := range entries {
		there = append(there, e.Name())
	}
	if !slices.Equal(listed, there) {
		t.Errorf("the README lists the examples %q, there are %q", listed, there)
	}
}

// TestPageNames: each name of ours that the README or a page of docs for users has in its text
// is exported.
func TestPageNames(t *testing.T) {
	wholeRepository(t)
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, dir := range []string{".", "clientauth", "discovery", "dpop", "grant", "login", "tokentest", "xoauth2", "otelhooks", "grpcauth", "../store", "../store/sqlstore", "../store/redisstore",
		"../store/keyring", "../store/storetest"} {
		for name := range exported(t, dir) {
			names[name] = true
		}
	}
	const ours = `tokenclient|clientauth|discovery|dpop|grant|login|tokentest|xoauth2|otelhooks|grpcauth|store|sqlstore|redisstore|keyring|storetest|Session|Config|Transport|Pool|Hooks|Token`
	name := regexp.MustCompile(`(?:^|[^\w./])(` + ours + `)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)
	count := 0
	for _, page := range append(pages, "../README.md", "../README.zh.md") {
		if filepath.Base(page) == "architecture.md" { // it names what is not exported, and internal/house looks after it
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllStringSubmatch(string(text), -1) {
			count++
			if !names[m[1]+"."+m[2]] {
				t.Errorf("%s has %s.%s, which does not exist", page, m[1], m[2])
			}
			if m[3] != "" && !names[m[2]+"."+m[3]] {
				t.Errorf("%s has %s.%s, which does not exist", page, m[2], m[3])
			}
		}
	}
	if count < 250 {
		t.Errorf("only %d names were found", count)
	}
}

// exported returns the names that the package in dir has, each as the package's and, if it
// is a field or a method, as its type's.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s has no files: %v", dir, err)
	}
	names := map[string]bool{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				of := file.Name.Name
				if d.Recv != nil {
					of = receiver(d.Recv.List[0].Type)
				}
				names[of+"."+d.Name.Name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					addSpec(names, file.Name.Name, spec)
				}
			}
		}
	}
	return names
}

func addSpec(names map[string]bool, pkg string, spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			names[pkg+"."+n.Name] = true
		}
	case *ast.TypeSpec:
		names[pkg+"."+s.Name.Name] = true
		var members *ast.FieldList
		switch t := s.Type.(type) {
		case *ast.StructType:
			members = t.Fields
		case *ast.InterfaceType:
			members = t.Methods
		default:
			return
		}
		for _, member := range members.List {
			for _, n := range member.Names {
				names[s.Name.Name+"."+n.Name] = true
			}
		}
	}
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
