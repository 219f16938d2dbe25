package mobile

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// phone is a Storage in memory.
type phone struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (p *phone) Get(key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.values[key]), nil
}

func (p *phone) Put(key string, value []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.values[key] = bytes.Clone(value)
	return nil
}

// TestClient: a login outlives the app, and a revoked access token is not seen.
func TestClient(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	srv.AddUser("alice", "secret")
	keys, err := store.KeyBytes("phone", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	storage := &phone{values: map[string][]byte{}}
	start := func() *Client {
		c, err := NewClient(srv.URL, storage, keys)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	c := start()
	if in, err := c.LoggedIn(); in || err != nil {
		t.Fatal(in, err)
	}
	if err := c.Login("alice", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	srv.RevokeAccess("alice")
	c = start() // the app is opened again
	if body, err := c.Get("/api/things"); err != nil || len(body) == 0 {
		t.Fatalf("%q, %v", body, err)
	}
	if n := srv.Counters().Refreshes; n != 1 {
		t.Errorf("%d refreshes", n)
	}
	if err := c.Logout(); err != nil {
		t.Fatal(err)
	}
	if in, err := c.LoggedIn(); in || err != nil {
		t.Error(in, err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBindable: what the package exports has only types that gomobile binds. The list is
// shorter than gomobile's: what is not on it is skipped in the app, without an error.
func TestBindable(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "mobile.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if problems := unbindable(file); len(problems) > 0 {
		t.Errorf("gomobile binds no %q", problems)
	}
	file, err = parser.ParseFile(token.NewFileSet(), "bad.go", `package p
		func A(context.Context) {}
		func B() (string, string) { return "", "" }
		func C(x map[string]string, y uint) {}
		func D(s []string) {}
		func E() (a, b, c int) { return }
		type F struct { G http.Client; h http.Client }
		type H interface { I(chan int) }
		func (f *F) J(...int) {}
		func (f *F) hidden(chan int) {}
		func K() *http.Client { return nil }
		func L[T any](t int) {}
	`, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"A", "B", "C", "D", "E", "F", "I", "J", "K", "L"}
	if got := slices.Compact(slices.Sorted(slices.Values(unbindable(file)))); !slices.Equal(got, want) {
		t.Errorf("%q are found, %q are wrong", got, want)
	}
}

// unbindable names what file exports with a type that is not on the list.
func unbindable(file *ast.File) []string {
	var names []string
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && !bindableFunc(d.Type) {
				names = append(names, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() {
					names = append(names, unbindableMembers(s)...)
				}
			}
		}
	}
	return names
}

func unbindableMembers(s *ast.TypeSpec) []string {
	var names []string
	switch t := s.Type.(type) {
	case *ast.StructType:
		for _, f := range t.Fields.List {
			if exported := slices.ContainsFunc(f.Names, (*ast.Ident).IsExported); (exported || len(f.Names) == 0) && !bindable(f.Type) {
				names = append(names, s.Name.Name)
			}
		}
	case *ast.InterfaceType:
		for _, m := range t.Methods.List {
			if f, ok := m.Type.(*ast.FuncType); !ok || !bindableFunc(f) {
				names = append(names, m.Names[0].Name)
			}
		}
	default:
		names = append(names, s.Name.Name)
	}
	return names
}

// bindableFunc: any parameters, and one result, or two of which the second is an error.
func bindableFunc(f *ast.FuncType) bool {
	if f.TypeParams != nil {
		return false
	}
	for _, p := range f.Params.List {
		if !bindable(p.Type) {
			return false
		}
	}
	if f.Results == nil {
		return true
	}
	results := f.Results.List
	for _, r := range results {
		if !bindable(r.Type) || len(r.Names) > 1 {
			return false
		}
	}
	last, ok := results[len(results)-1].Type.(*ast.Ident)
	return len(results) == 1 || len(results) == 2 && ok && last.Name == "error"
}

func bindable(e ast.Expr) bool {
	switch t := e.(type) {
	case *ast.Ident: // with a type of the package itself, which is looked at by itself
		return t.IsExported() || slices.Contains([]string{"bool", "int", "int32", "int64", "float32", "float64", "string", "error"}, t.Name)
	case *ast.StarExpr:
		id, ok := t.X.(*ast.Ident)
		return ok && id.IsExported()
	case *ast.ArrayType:
		id, ok := t.Elt.(*ast.Ident)
		return t.Len == nil && ok && id.Name == "byte"
	}
	return false
}
