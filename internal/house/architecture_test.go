package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// docs/architecture.md is compared with the code: its table of packages with their
// imports, its diagram with the table, and the functions, files and tests that it names
// with those that there are.

var draw = flag.Bool("draw", false, "write the diagram of the packages, and where functions are, into docs/architecture.md")

const (
	repository = "../.."
	pageName   = repository + "/docs/architecture.md"
	rootPath   = "github.com/seed-fbfaa0ec/silentrefresh/"

	packagesStart = "<!-- compared with the imports by go test ./internal/house -->\n"
	packagesEnd   = "<!-- end of the packages -->\n"
	diagramStart  = "<!-- drawn by go test ./internal/house -run TestArchitecture -draw -->\n"
	diagramEnd    = "<!-- end of the drawing of the packages -->\n"
)

func readPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(pageName)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// between returns what the page has between two marks.
func between(t *testing.T, page, start, end string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, start)
	inside, _, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks %q or %q", pageName, strings.TrimSpace(start), strings.TrimSpace(end))
	}
	return inside
}

// A packageRow is a row of the page's table: packages that a pattern of package path
// matches, and what they import of this repository.
type packageRow struct {
	pattern, about string
	imports        []string
}

var quoted = regexp.MustCompile("`([^`\n]+)`")

// quotedIn returns what is in backquotes.
func quotedIn(s string) []string {
	var list []string
	for _, m := range quoted.FindAllStringSubmatch(s, -1) {
		list = append(list, m[1])
	}
	return list
}

// cells returns those of a row of a table; nil if line is none, or the line below a
// table's head.
func cells(line string) []string {
	if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|--") {
		return nil
	}
	list := strings.Split(strings.Trim(line, "|"), "|")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func packageRows(t *testing.T, page string) []packageRow {
	t.Helper()
	var rows []packageRow
	for line := range strings.Lines(between(t, page, packagesStart, packagesEnd)) {
		c := cells(strings.TrimSpace(line))
		if len(c) != 3 || len(quotedIn(c[0])) != 1 {
			continue
		}
		rows = append(rows, packageRow{quotedIn(c[0])[0], c[1], quotedIn(c[2])})
	}
	if len(rows) == 0 {
		t.Fatal("the page has no table of packages")
	}
	return rows
}

// matches reports whether the package is of the row.
func (r packageRow) matches(short string) bool {
	ok, err := path.Match(r.pattern, short)
	return ok && err == nil
}

// rowOf returns the index of the only row that the package is of.
func rowOf(rows []packageRow, short string) (int, error) {
	found := -1
	for i, r := range rows {
		switch {
		case !r.matches(short):
		case found >= 0:
			return -1, fmt.Errorf("%s is in the table twice", short)
		default:
			found = i
		}
	}
	if found < 0 {
		return -1, fmt.Errorf("%s is not in the table", short)
	}
	return found, nil
}

// A listedPackage is one of the repository, as its source says, whatever the system.
type listedPackage struct {
	module, short string
	imports       []string // of this repository, short
}

// repositoryPackages lists the packages of all modules.
func repositoryPackages(t *testing.T) []listedPackage {
	t.Helper()
	var packages []listedPackage
	err := filepath.WalkDir(repository, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git"):
			return fs.SkipDir
		case d.Name() == "go.mod":
			packages = append(packages, modulePackages(t, filepath.Dir(name))...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func modulePackages(t *testing.T, dir string) []listedPackage {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,Dir,Module,GoFiles,CgoFiles,IgnoredGoFiles", "./...")
	command.Dir = dir
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v", dir, err)
	}
	var packages []listedPackage
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath, Dir                   string
			Module                            struct{ Path string }
			GoFiles, CgoFiles, IgnoredGoFiles []string
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		imports := map[string]bool{}
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles, p.IgnoredGoFiles) { // the last are other systems'
			if !strings.HasSuffix(name, "_test.go") {
				addImports(t, filepath.Join(p.Dir, name), imports)
			}
		}
		packages = append(packages, listedPackage{
			module: p.Module.Path, short: strings.TrimPrefix(p.ImportPath, rootPath),
			imports: slices.Sorted(maps.Keys(imports)),
		})
	}
	return packages
}

// addImports adds what the file imports of this repository.
func addImports(t *testing.T, name string, imports map[string]bool) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil && strings.HasPrefix(p, rootPath) {
			imports[strings.TrimPrefix(p, rootPath)] = true
		}
	}
}

// TestArchitectureImports: packages import what the page says, and only those below them.
func TestArchitectureImports(t *testing.T) {
	rows := packageRows(t, readPage(t))
	imported := make([]map[string]bool, len(rows))
	for i, r := range rows {
		imported[i] = map[string]bool{}
		if !strings.HasSuffix(r.about, ".") {
			t.Errorf("%s has no sentence", r.pattern)
		}
	}
	for _, p := range repositoryPackages(t) {
		row, err := rowOf(rows, p.short)
		if err != nil {
			t.Error(err)
			continue
		}
		r := rows[row]
		for _, path := range p.imports {
			imported[row][path] = true
			if !slices.Contains(r.imports, path) {
				t.Errorf("%s imports %s, which the page does not say", p.short, path)
			}
			if below, err := rowOf(rows, path); err == nil && below <= row {
				t.Errorf("%s imports %s, which is above it in the table", p.short, path)
			}
			if internal(path) && published(p.module) {
				t.Errorf("%s, of a module of its own that users have in any version, imports %s, which may change with each", p.short, path)
			}
		}
	}
	for i, r := range rows {
		for _, path := range r.imports {
			if !imported[i][path] {
				t.Errorf("%s does not import %s, as the page says", r.pattern, path)
			}
		}
	}
}

func internal(short string) bool { return strings.Contains("/"+short+"/", "/internal/") }

// published reports whether the module is a nested one that users require. Nobody requires
// an example.
func published(module string) bool {
	short, nested := strings.CutPrefix(module, rootPath)
	return nested && !internal(short) && !strings.HasPrefix(short, "examples/")
}

// TestArchitectureDiagram: the diagram shows the table.
func TestArchitectureDiagram(t *testing.T) {
	page := readPage(t)
	drawn, want := between(t, page, diagramStart, diagramEnd), diagram(packageRows(t, page))
	switch {
	case drawn == want:
	case *draw:
		page = strings.Replace(page, diagramStart+drawn+diagramEnd, diagramStart+want+diagramEnd, 1)
		if err := os.WriteFile(pageName, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the diagram in %s is not that of the table, which is\n%s\nDraw it with -draw.", pageName, want)
	}
}

// diagram draws the rows without those that nobody imports and users cannot. Where a
// longer way leads from one package to another the short one is left out.
func diagram(rows []packageRow) string {
	imports := map[string][]string{}
	for _, r := range rows {
		imports[r.pattern] = r.imports
	}
	var reaches func(from, to string) bool
	reaches = func(from, to string) bool {
		return slices.ContainsFunc(imports[from], func(p string) bool { return p == to || reaches(p, to) })
	}
	isImported := func(p string) bool {
		return slices.ContainsFunc(rows, func(r packageRow) bool { return slices.Contains(r.imports, p) })
	}
	id := strings.NewReplacer("/", "_", "*", "all").Replace
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart TD\n")
	for _, r := range rows {
		if internal(r.pattern) && !isImported(r.pattern) {
			continue
		}
		fmt.Fprintf(&b, "    %s[\"%s\"]\n", id(r.pattern), r.pattern)
		for _, p := range r.imports {
			longer := func(q string) bool { return reaches(q, p) }
			if !slices.ContainsFunc(r.imports, longer) {
				fmt.Fprintf(&b, "    %s --> %s\n", id(r.pattern), id(p))
			}
		}
	}
	b.WriteString("```\n")
	return b.String()
}

// TestArchitectureNames: the functions that the page's tables name are in the files that
// stand beside them, and there are all files, folders and tests that it names.
func TestArchitectureNames(t *testing.T) {
	page := readPage(t)
	lines := slices.Collect(strings.Lines(page))
	inTable, functions := false, 0
	for i, line := range lines {
		c := cells(strings.TrimSpace(line))
		if len(c) < 2 {
			inTable = inTable && strings.HasPrefix(line, "|")
			continue
		}
		if c[0] == "function" && c[1] == "file" {
			inTable = true
			continue
		}
		if !inTable {
			continue
		}
		if file := quotedIn(c[1]); len(file) == 1 {
			names := quotedIn(c[0])
			functions += len(names)
			if now := checkFunctions(t, names, file[0]); now != file[0] && *draw {
				lines[i] = strings.Replace(line, "`"+file[0]+"`", "`"+now+"`", 1)
			}
		}
	}
	for i, line := range lines { // and those in the text: `name` (`file`)
		for _, m := range besideFile.FindAllStringSubmatch(line, -1) {
			functions++
			if now := checkFunctions(t, m[1:2], m[2]); now != m[2] && *draw {
				lines[i] = strings.Replace(lines[i], m[0], strings.Replace(m[0], m[2], now, 1), 1)
			}
		}
	}
	if functions < 10 {
		t.Errorf("the tables name %d functions", functions)
	}
	if now := strings.Join(lines, ""); now != page { // with -draw only
		if err := os.WriteFile(pageName, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := testNames(t)
	for _, name := range quotedIn(page) {
		first, _, nested := strings.Cut(name, "/")
		switch {
		case testName.MatchString(name):
			if !tests[name] {
				t.Errorf("there is no test %s", name)
			}
		case nested && slices.Contains([]string{"docs", "examples", "internal", "store", "tokenclient"}, first):
			if found, err := filepath.Glob(filepath.Join(repository, name)); err != nil || len(found) == 0 {
				t.Errorf("there is no %s", name)
			}
		}
	}
}

// checkFunctions returns the file that declares all functions: the one that the page
// names, or another one of its folder.
func checkFunctions(t *testing.T, names []string, file string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(repository, filepath.Dir(file), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	declaring := func(name string) string {
		for _, f := range files {
			if !strings.HasSuffix(f, "_test.go") && declares(t, f, name) {
				return path.Join(path.Dir(file), filepath.Base(f))
			}
		}
		return ""
	}
	now := file
	for _, name := range names {
		if is := filepath.Join(repository, file); slices.Contains(files, is) && declares(t, is, name) {
			continue
		}
		at := declaring(name)
		switch {
		case at == "":
			t.Errorf("%s: there is no function %s", file, name)
		case *draw:
			now = at
		default:
			t.Errorf("%s is in %s, and not in %s; -draw writes that", name, at, file)
		}
	}
	return now
}

// declares reports whether the file declares name: a function, type or value, or a
// method if it is Type.Method.
func declares(t *testing.T, file, name string) bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		switch d := d.(type) {
		case *ast.FuncDecl:
			return declaredName(d) == name
		case *ast.GenDecl:
			return slices.ContainsFunc(d.Specs, func(s ast.Spec) bool { return specDeclares(s, name) })
		}
		return false
	})
}

func specDeclares(s ast.Spec, name string) bool {
	switch s := s.(type) {
	case *ast.TypeSpec:
		return s.Name.Name == name
	case *ast.ValueSpec:
		return slices.ContainsFunc(s.Names, func(id *ast.Ident) bool { return id.Name == name })
	}
	return false
}

// declaredName is Function, or Type.Method whatever its receiver is.
func declaredName(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	if p, ok := receiver.(*ast.StarExpr); ok {
		receiver = p.X
	}
	switch generic := receiver.(type) {
	case *ast.IndexExpr:
		receiver = generic.X
	case *ast.IndexListExpr:
		receiver = generic.X
	}
	return fmt.Sprint(receiver) + "." + f.Name.Name
}

var (
	besideFile = regexp.MustCompile("`(\\w+(?:\\.\\w+)?)`\\s\\(`([\\w/.]+\\.go)`\\)")

	testName = regexp.MustCompile(`^(Test|Example|Fuzz|Benchmark)[A-Z]\w*$`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Example|Fuzz|Benchmark)\w*)\(`)
)

// testNames returns the names of all tests of the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(repository, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		b, err := os.ReadFile(name)
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
