package dialect_test

import (
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

var draw = flag.Bool("draw", false, "write the Configs of this package into docs/servers.md")

const page = "../../../docs/servers.md"

// configs returns the source of what the functions of configs_test.go return, by their names.
func configs(t *testing.T) map[string]string {
	src, err := os.ReadFile("configs_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "configs_test.go", src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	list := make(map[string]string)
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv != nil {
			continue
		}
		r, ok := f.Body.List[0].(*ast.ReturnStmt)
		if !ok || len(r.Results) != 1 {
			continue
		}
		at := func(p token.Pos) int { return files.Position(p).Offset }
		text := string(src[at(r.Results[0].Pos()):at(r.Results[0].End())])
		list[f.Name.Name] = strings.ReplaceAll(text, "\n\t", "\n")
	}
	return list
}

var block = regexp.MustCompile("(?m)^<!-- (\\w+) -->\n(?:\n```go\n(?s:(.*?))\n```\n)?")

// TestPage: docs/servers.md shows what the tests here run, and all of it.
func TestPage(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := configs(t)
	shown := make(map[string]bool)
	drawn := block.ReplaceAllStringFunc(string(raw), func(found string) string {
		name := block.FindStringSubmatch(found)[1]
		text, ok := want[name]
		if !ok {
			t.Errorf("the page shows %s, which no test runs", name)
		}
		shown[name] = true
		return "<!-- " + name + " -->\n\n```go\n" + text + "\n```\n"
	})
	for name := range want {
		if !shown[name] {
			t.Errorf("%s is not on the page", name)
		}
	}
	switch {
	case drawn == string(raw):
	case *draw:
		if err := os.WriteFile(page, []byte(drawn), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Error("docs/servers.md is not what the tests run; -draw writes it")
	}
}
