package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const rooms = "internal/house/testdata/rooms"

func measured(t *testing.T, ways ...[]string) *report {
	t.Helper()
	prog, err := load([]string{"./testdata/rooms/..."})
	if err != nil {
		t.Fatal(err)
	}
	r, err := measure(prog, ways)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

func TestPackages(t *testing.T) {
	equal(t, "packages", measured(t).Packages, []packageSize{
		{
			Package: rooms, Files: 4, Lines: 79, TestFiles: 1, TestLines: 1,
			Exported: exported{Types: 3, Funcs: 1, Methods: 2, Fields: 3, Values: 1},
			Longest:  functionSize{Function: rooms + ".House.climb", File: "stairs.go", Lines: 14},
		},
		{
			Package: rooms + "/internal/door", Files: 1, Lines: 10,
			Exported: exported{Funcs: 1},
			Longest:  functionSize{Function: rooms + "/internal/door.Open", File: "door.go", Lines: 4},
		},
	})
}

// TestLongFunctions: a function of sixty lines is not listed, one of sixty-one is.
func TestLongFunctions(t *testing.T) {
	prog, err := load([]string{"./testdata/long"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := measure(prog, nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "long functions", r.Long, []functionSize{{Function: "internal/house/testdata/long.sixtyOne", File: "long.go", Lines: 61}})
}

// TestTypes: each type is counted, and none of the small ones of the fixture is worth a
// line of the table.
func TestTypes(t *testing.T) {
	prog, err := load([]string{"./testdata/rooms"})
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]typeSize{}
	for _, s := range prog.typeSizes([]fileOrder{prog.order(prog.listed[0])}) {
		sizes[strings.TrimPrefix(s.Type, rooms+".")] = s
		if s.large() {
			t.Errorf("%s counts as large", s.Type)
		}
	}
	want := map[string]typeSize{
		"House":   {Fields: 3, Methods: 4, MethodFiles: 2, FieldFiles: 2, Calls: 3, Back: 1},
		"base":    {Fields: 1, Methods: 1, MethodFiles: 1, FieldFiles: 1, Calls: 1},
		"Sleeper": {Methods: 1},
		"Pair":    {Fields: 2, FieldFiles: 1},
	}
	for name, w := range want {
		w.Type = rooms + "." + name
		equal(t, name, sizes[name], w)
	}
	for _, s := range []typeSize{{Fields: manyFields}, {Methods: manyMethods}, {FieldFiles: manyFiles + 1}} {
		if !s.large() {
			t.Errorf("%+v does not count as large", s)
		}
	}
}

func TestOrder(t *testing.T) {
	o := measured(t).Orders[0]
	o.place = nil
	equal(t, "order", o, fileOrder{
		Package: rooms,
		Files:   []string{"stairs.go", "front.go", "cellar.go"},
		Calls:   5, Against: 1, Mutual: 1,
		Back: []backCalls{{From: "front.go", To: "stairs.go", Calls: 1}},
	})
}

// TestBestOrder: the search finds the order with the fewest calls upwards where all
// orders can be tried, and its outcome does not change.
func TestBestOrder(t *testing.T) {
	for n := range 40 {
		g := make(graph, 7)
		for i := range g {
			g[i] = make([]int, len(g))
			for j := range g[i] {
				if i != j {
					g[i][j] = max(0, (i*31+j*17+n*i*j+n*7)%11-5)
				}
			}
		}
		least := 1 << 30
		permutations(len(g), func(order []int) { least = min(least, g.against(order)) })
		order := g.order()
		if got := g.against(order); got != least {
			t.Errorf("graph %d: %d calls against the order, the best has %d", n, got, least)
		}
		if again := g.order(); !slices.Equal(order, again) {
			t.Errorf("graph %d: %v, then %v", n, order, again)
		}
	}
}

func permutations(n int, do func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var from func(int)
	from = func(i int) {
		if i == n {
			do(order)
			return
		}
		for j := i; j < n; j++ {
			order[i], order[j] = order[j], order[i]
			from(i + 1)
			order[i], order[j] = order[j], order[i]
		}
	}
	from(0)
}

func TestWay(t *testing.T) {
	r := measured(t, []string{rooms + ".House.Enter", rooms + ".first"})
	w := r.Ways[0]
	var steps []string
	for _, s := range w.Steps {
		mark := "·"
		if !s.Straight {
			mark = " "
		}
		leaf := ""
		if s.Leaf {
			leaf = " leaf"
		}
		steps = append(steps, fmt.Sprintf("%s%d %s %d%s", mark, s.Depth, strings.TrimPrefix(s.Function, rooms), s.ReturnStatements, leaf))
	}
	equal(t, "steps", steps, []string{
		"·0 .House.Enter 3",
		"·1 /internal/door.Open 1",
		"·2 /internal/door.knock 0 leaf",
		"·1 .House.climb 2",
		"·2 .House.greet 0 leaf",
		" 2 .each 0 leaf",
		" 2 .House.greetOnce 0",
		" 1 .base.lie 1 leaf",
	})
	equal(t, "all", w.All, total{Functions: 8, Files: 4, Stays: 6, Returns: 2, Lines: 33, ReturnStatements: 7})
	equal(t, "without leaves", w.Branches, total{Functions: 4, Files: 3, Stays: 3, Lines: 29, ReturnStatements: 6})
	equal(t, "own", w.Own, total{Functions: 3, Files: 2, Stays: 2, Lines: 25, ReturnStatements: 5})
	equal(t, "straight", w.Straight, total{Functions: 5, Files: 3, Stays: 4, Returns: 1, Lines: 30, ReturnStatements: 6})
}

func TestErrors(t *testing.T) {
	prog, err := load([]string{"./testdata/rooms"})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"rooms.Nobody"}, {rooms + ".Out", "rooms.Nobody"}} {
		if _, err := measure(prog, roots{names}); err == nil || !strings.Contains(err.Error(), "no function rooms.Nobody") {
			t.Errorf("%v: %v", names, err)
		}
	}
	if _, err := load([]string{"strings"}); err == nil || !strings.Contains(err.Error(), "no package of this repository") {
		t.Errorf("a package from elsewhere: %v", err)
	}
}

// TestPrint: each table is there, and JSON holds the same.
func TestPrint(t *testing.T) {
	r := measured(t, []string{rooms + ".House.Enter", rooms + ".first"})
	var b bytes.Buffer
	if err := r.print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"longest function", "functions over 60 lines", "files using fields", "pairs both ways",
		"stairs.go front.go cellar.go", "front.go calls stairs.go",
		"way of " + rooms + ".House.Enter", "without leaves and other packages than rooms", "straight, until " + rooms + ".first", "·     " + rooms + ".House.greet (leaf)",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("not printed: %s\n%s", want, b.String())
		}
	}
	j, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var again report
	if err := json.Unmarshal(j, &again); err != nil {
		t.Fatal(err)
	}
	equal(t, "ways in JSON", again.Ways, r.Ways)
}
