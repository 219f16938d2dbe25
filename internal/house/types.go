package main

import (
	"cmp"
	"go/ast"
	"go/types"
	"slices"
)

// What makes a type large, or much shared.
const (
	manyFields  = 10
	manyMethods = 15
	manyFiles   = 5 // more than these
)

// A typeSize is how large one type is, and how far it reaches.
type typeSize struct {
	Type        string
	Fields      int
	Methods     int
	MethodFiles int // that define methods
	FieldFiles  int // that use fields
	Calls       int // of methods, from other files of the package
	Back        int // of these, against the order
}

func (s *typeSize) large() bool {
	return s.Fields >= manyFields || s.Methods >= manyMethods || s.FieldFiles > manyFiles
}

// typeSizes returns the sizes of the types of the listed packages, whose files have
// these orders.
func (prog *program) typeSizes(orders []fileOrder) []typeSize {
	var all []typeSize
	uses := prog.fieldUses()
	for i, p := range prog.listed {
		sizes := map[*types.TypeName]*typeSize{}
		for _, t := range p.declared() {
			sizes[t] = prog.typeSize(p, t)
			sizes[t].FieldFiles = len(uses[t])
		}
		for _, c := range prog.calls(p) {
			if s := sizes[receiver(c.callee)]; s != nil {
				s.Calls++
				if orders[i].back(c.from, c.to) {
					s.Back++
				}
			}
		}
		for _, s := range sizes {
			all = append(all, *s)
		}
	}
	slices.SortFunc(all, func(a, b typeSize) int {
		return cmp.Or(cmp.Compare(b.Methods, a.Methods), cmp.Compare(b.Fields, a.Fields), cmp.Compare(a.Type, b.Type))
	})
	return all
}

// typeSize counts what t itself declares.
func (prog *program) typeSize(p *pkg, t *types.TypeName) *typeSize {
	s := &typeSize{Type: p.short + "." + t.Name()}
	files := map[string]bool{}
	for m := range t.Type().(*types.Named).Methods() {
		s.Methods++
		files[prog.funcs[m].file] = true
	}
	s.MethodFiles = len(files)
	switch u := t.Type().Underlying().(type) {
	case *types.Struct:
		s.Fields = u.NumFields()
	case *types.Interface:
		s.Methods = u.NumExplicitMethods()
	}
	return s
}

// declared returns the types of p that have a name of their own.
func (p *pkg) declared() []*types.TypeName {
	var all []*types.TypeName
	for _, name := range p.types.Scope().Names() {
		if t, ok := p.types.Scope().Lookup(name).(*types.TypeName); ok && !t.IsAlias() {
			all = append(all, t)
		}
	}
	return all
}

// fieldUses returns the files, with their folders, that use a field of each type.
func (prog *program) fieldUses() map[*types.TypeName]map[string]bool {
	owners := map[*types.Var]*types.TypeName{}
	uses := map[*types.TypeName]map[string]bool{}
	for _, p := range prog.all {
		for _, t := range p.declared() {
			uses[t] = map[string]bool{}
			own(owners, t, t.Type().Underlying())
		}
	}
	for _, p := range prog.all {
		for _, file := range p.files {
			name := prog.fset.Position(file.Pos()).Filename
			p.eachField(file, func(f *types.Var) {
				if t := owners[f]; t != nil {
					uses[t][name] = true
				}
			})
		}
	}
	return uses
}

// own notes t as the owner of the fields of u, and of structs without a name in it.
func own(owners map[*types.Var]*types.TypeName, t *types.TypeName, u types.Type) {
	if s, ok := u.(*types.Struct); ok {
		for f := range s.Fields() {
			owners[f] = t
			own(owners, t, f.Type())
		}
	}
}

// eachField calls use with each field that file uses. Those that a selector passes
// through on its way to a promoted field or method are used too, and so are those that
// a composite literal sets without naming them.
func (p *pkg) eachField(file *ast.File, use func(*types.Var)) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			if f, ok := p.info.Uses[n].(*types.Var); ok && f.IsField() {
				use(f.Origin())
			}
		case *ast.SelectorExpr:
			if s := p.info.Selections[n]; s != nil {
				embedded(s, use)
			}
		case *ast.CompositeLit:
			s, ok := p.info.TypeOf(n).Underlying().(*types.Struct)
			if ok && len(n.Elts) > 0 {
				if _, named := n.Elts[0].(*ast.KeyValueExpr); !named {
					use(s.Field(0).Origin())
				}
			}
		}
		return true
	})
}

// embedded calls use with the embedded fields that s passes through.
func embedded(s *types.Selection, use func(*types.Var)) {
	t := s.Recv()
	for _, i := range s.Index()[:len(s.Index())-1] {
		if p, ok := t.Underlying().(*types.Pointer); ok {
			t = p.Elem()
		}
		f := t.Underlying().(*types.Struct).Field(i)
		use(f.Origin())
		t = f.Type()
	}
}
