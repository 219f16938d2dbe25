package main

import (
	"fmt"
	"io"
	"path"
	"strings"
	"text/tabwriter"
)

// print prints r as tables for people.
func (r *report) print(w io.Writer) error {
	p := &printer{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	p.packages(r.Packages)
	p.long(r.Long)
	p.types(r.Types)
	p.orders(r.Orders)
	for _, way := range r.Ways {
		p.steps(way)
	}
	return p.w.Flush()
}

type printer struct{ w *tabwriter.Writer }

// row prints one line of a table. The tabwriter keeps the first error for Flush.
func (p *printer) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			_, _ = io.WriteString(p.w, "\t")
		}
		_, _ = fmt.Fprint(p.w, c)
	}
	_, _ = io.WriteString(p.w, "\n")
}

func (p *printer) packages(sizes []packageSize) {
	p.row("package", "files", "lines", "test files", "test lines", "exported", "= types", "funcs", "methods", "fields", "values", "longest function", "lines")
	var sum packageSize
	for _, s := range sizes {
		p.pkg(s)
		sum.Files, sum.Lines = sum.Files+s.Files, sum.Lines+s.Lines
		sum.TestFiles, sum.TestLines = sum.TestFiles+s.TestFiles, sum.TestLines+s.TestLines
		sum.Exported.Types += s.Exported.Types
		sum.Exported.Funcs += s.Exported.Funcs
		sum.Exported.Methods += s.Exported.Methods
		sum.Exported.Fields += s.Exported.Fields
		sum.Exported.Values += s.Exported.Values
		if s.Longest.Lines > sum.Longest.Lines {
			sum.Longest = s.Longest
		}
	}
	sum.Package = "all"
	p.pkg(sum)
}

func (p *printer) pkg(s packageSize) {
	e := s.Exported
	p.row(s.Package, s.Files, s.Lines, s.TestFiles, s.TestLines, e.total(), e.Types, e.Funcs, e.Methods, e.Fields, e.Values,
		strings.TrimPrefix(s.Longest.Function, s.Package+"."), s.Longest.Lines)
}

func (p *printer) long(functions []functionSize) {
	p.row()
	p.row(fmt.Sprintf("functions over %d lines", longFunction), "file", "lines")
	for _, f := range functions {
		p.row(f.Function, f.File, f.Lines)
	}
}

func (p *printer) types(sizes []typeSize) {
	p.row()
	p.row("type", "fields", "methods", "in files", "files using fields", "calls", "back")
	for _, s := range sizes {
		p.row(s.Type, s.Fields, s.Methods, s.MethodFiles, s.FieldFiles, s.Calls, s.Back)
	}
}

func (p *printer) orders(orders []fileOrder) {
	p.row()
	p.row("calls between files of", "calls", "against the order", "pairs both ways")
	var sum fileOrder
	for _, o := range orders {
		if o.Calls == 0 {
			continue
		}
		p.row(o.Package, o.Calls, o.Against, o.Mutual)
		sum.Calls, sum.Against, sum.Mutual = sum.Calls+o.Calls, sum.Against+o.Against, sum.Mutual+o.Mutual
	}
	p.row("all", sum.Calls, sum.Against, sum.Mutual)
	for _, o := range orders {
		if o.Calls == 0 {
			continue
		}
		p.row()
		p.row("order of " + o.Package)
		p.row("  " + strings.Join(o.Files, " "))
		for _, b := range o.Back {
			p.row("  against it: "+b.From+" calls "+b.To, b.Calls)
		}
	}
}

func (p *printer) steps(w way) {
	pkg, _, _ := strings.Cut(path.Base(w.Root), ".")
	p.row()
	p.row("way of "+w.Root, "functions", "files", "stays", "returns", "lines", "return statements")
	p.total("  all", w.All)
	p.total("  without leaves", w.Branches)
	p.total("  without leaves and other packages than "+pkg, w.Own)
	if len(w.Stops) > 0 {
		p.total("  straight, until "+strings.Join(w.Stops, " or "), w.Straight)
	}
	p.row()
	p.row("  function", "file", "lines", "return statements")
	for _, s := range w.Steps {
		mark := "  "
		if s.Straight && len(w.Stops) > 0 {
			mark = "· "
		}
		leaf := ""
		if s.Leaf {
			leaf = " (leaf)"
		}
		p.row(mark+strings.Repeat("  ", s.Depth)+s.Function+leaf, s.File, s.Lines, s.ReturnStatements)
	}
}

func (p *printer) total(name string, t total) {
	p.row(name, t.Functions, t.Files, t.Stays, t.Returns, t.Lines, t.ReturnStatements)
}
