package main

import (
	"cmp"
	"go/types"
	"math/rand/v2"
	"slices"
)

// shuffles is how many orders the search starts from. Ten times as many find nothing
// better in packages of fifty files.
const shuffles = 2000

// A fileOrder is the order in which a package is best read, and what runs against it.
type fileOrder struct {
	Package string
	Files   []string // the callers first
	Calls   int      // from one file into another
	Against int      // of these, upwards
	Mutual  int      // pairs of files that call each other
	Back    []backCalls

	place map[string]int
}

// backCalls are the calls from one file to one above it.
type backCalls struct {
	From, To string
	Calls    int
}

// back reports whether calls from one file to the other run against the order.
func (o *fileOrder) back(from, to string) bool { return o.place[from] > o.place[to] }

// A call is a place in one file that names a function of another file of its package.
type call struct {
	from, to string
	callee   *types.Func
}

// calls returns the calls between the files of p.
func (prog *program) calls(p *pkg) []call {
	var calls []call
	for _, file := range p.files {
		from := prog.file(file)
		for _, f := range p.named(file) {
			if callee := prog.funcs[f]; callee != nil && callee.pkg == p && callee.file != from {
				calls = append(calls, call{from, callee.file, f})
			}
		}
	}
	return calls
}

func (prog *program) order(p *pkg) fileOrder {
	names := slices.Sorted(slices.Values(p.GoFiles))
	index := map[string]int{}
	for i, name := range names {
		index[name] = i
	}
	g := make(graph, len(names))
	for i := range g {
		g[i] = make([]int, len(names))
	}
	o := fileOrder{Package: p.short, place: map[string]int{}}
	for _, c := range prog.calls(p) {
		g[index[c.from]][index[c.to]]++
		o.Calls++
	}
	order := g.order()
	for i, f := range order {
		o.Files = append(o.Files, names[f])
		o.place[names[f]] = i
		for _, above := range order[:i] {
			if n := g[f][above]; n > 0 {
				o.Back = append(o.Back, backCalls{names[f], names[above], n})
				o.Against += n
			}
			if g[f][above] > 0 && g[above][f] > 0 {
				o.Mutual++
			}
		}
	}
	slices.SortStableFunc(o.Back, func(a, b backCalls) int { return cmp.Compare(b.Calls, a.Calls) })
	return o
}

// A graph has, for each two files, how often the first calls the second.
type graph [][]int

// order returns the files in an order with few calls from a later to an earlier one.
func (g graph) order() []int {
	random := rand.New(rand.NewPCG(0, 0)) // the same shuffles each time
	var best []int
	for range shuffles {
		order := random.Perm(len(g))
		for g.improve(order) {
		}
		if best == nil || g.against(order) < g.against(best) {
			best = order
		}
	}
	return g.byName(best)
}

// against returns how many calls run against order.
func (g graph) against(order []int) int {
	n := 0
	for i, f := range order {
		for _, above := range order[:i] {
			n += g[f][above]
		}
	}
	return n
}

// byName returns the order that goes by name wherever order's own calls allow it: next
// is always the first file by name that no file still to come calls along order.
func (g graph) byName(order []int) []int {
	rest := slices.Clone(order)
	called := func(f int) bool {
		for _, above := range rest[:slices.Index(rest, f)] {
			if g[above][f] > 0 {
				return true
			}
		}
		return false
	}
	var named []int
	for len(rest) > 0 {
		next := -1
		for _, f := range rest {
			if (next < 0 || f < next) && !called(f) {
				next = f
			}
		}
		named = append(named, next)
		i := slices.Index(rest, next)
		rest = slices.Delete(rest, i, i+1)
	}
	return named
}

// improve moves each file once to where the fewest of its calls run upwards, and
// reports whether any was moved.
func (g graph) improve(order []int) bool {
	moved := false
	for f := range g {
		from := slices.Index(order, f)
		// What the move costs: f passes one file after the other.
		best, least := from, 0
		for to, cost := from-1, 0; to >= 0; to-- {
			if cost += g[order[to]][f] - g[f][order[to]]; cost < least {
				best, least = to, cost
			}
		}
		for to, cost := from+1, 0; to < len(order); to++ {
			if cost += g[f][order[to]] - g[order[to]][f]; cost < least {
				best, least = to, cost
			}
		}
		if best != from {
			moved = true
			copy(order, slices.Insert(slices.Delete(slices.Clone(order), from, from+1), best, f))
		}
	}
	return moved
}
