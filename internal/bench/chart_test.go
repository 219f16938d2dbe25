package main

import (
	"bytes"
	"encoding/xml"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// tiny is enough to see whether a part works.
var tiny = settings{
	rounds: 2, long: 6, turn: 100 * time.Microsecond, callers: 50, stampede: 1, deadline: 1, refresh: 200 * time.Millisecond,
	sessions: 50, known: 2000, live: 200, stores: 1, store: time.Millisecond,
}

// TestParts: each part prints tables, and charts of them.
func TestParts(t *testing.T) {
	for _, part := range parts {
		if part.name == "stores" {
			continue // builds and runs another module; see TestStores
		}
		t.Run(part.name, func(t *testing.T) {
			var out bytes.Buffer
			p := &page{&out, filepath.Join(t.TempDir(), "charts")}
			if err := report(p, tiny, part.name); err != nil {
				t.Fatal(err)
			}
			if part.name == "scaling" && runtime.NumCPU() == 1 {
				return // nothing to compare
			}
			checkCharts(t, out.String(), p.charts)
		})
	}
	if err := report(&page{new(bytes.Buffer), ""}, tiny, "stampedes"); err == nil {
		t.Error("no error for a part that there is not")
	}
}

// TestStores: what go test prints of the stores becomes a table and a chart.
func TestStores(t *testing.T) {
	all := parseStores([]byte(`goos: linux
BenchmarkStore/Memory/Load-2    	    6793	     1708 ns/op
BenchmarkStore/Memory/Load-2    	   10000	     1510 ns/op
BenchmarkStore/Memory/Load-2    	   10000	     1400 ns/op
BenchmarkStore/Memory/Refresh-2 	    2533	     58890 ns/op
BenchmarkStore/File/Load        	    2661	     39596 ns/op
BenchmarkStore/File/Refresh     	      40	   2561597 ns/op
PASS
`))
	var out bytes.Buffer
	p := &page{&out, filepath.Join(t.TempDir(), "charts")}
	if err := os.Mkdir(p.charts, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := printStores(p, all); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| Memory | 1.51 µs ±7 % | 58.9 µs ±0 % |", "| File | 39.6 µs ±0 % | 2562 µs ±0 % |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, out.String())
		}
	}
	checkCharts(t, out.String(), p.charts)
}

var chartLink = regexp.MustCompile(`!\[.+\]\(charts/(.+\.svg)\)`)

// checkCharts checks the charts in a report against the tables above them: each group
// has a bar for each row of one of these, with what is in the row beside it.
func checkCharts(t *testing.T, report, folder string) {
	t.Helper()
	charts := chartLink.FindAllStringSubmatchIndex(report, -1)
	if len(charts) == 0 {
		t.Errorf("no chart in %s", report)
	}
	begin := 0
	for _, at := range charts {
		name := report[at[2]:at[3]]
		svg, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		tables := tablesIn(report[begin:at[0]])
		for _, g := range readChart(t, svg).Groups {
			ok := slices.ContainsFunc(tables, func(table [][]string) bool {
				return slices.EqualFunc(table, g.Rows, func(cells []string, r drawnRow) bool {
					return len(r.Texts) == 2 && cells[0] == r.Texts[0] && slices.ContainsFunc(cells[1:], func(cell string) bool {
						return strings.TrimSpace(cell) == r.Texts[1]
					})
				})
			})
			if !ok {
				t.Errorf("%s: no table for %+v, but %q", name, g, tables)
			}
			for _, r := range g.Rows {
				want := 0
				if strings.ContainsAny(r.Texts[1], "0123456789") {
					want = 1
				}
				if len(r.Bars) != want || want == 1 && (r.Bars[0].Width < 1 || r.Bars[0].Width > barWidth) {
					t.Errorf("%s: bars %v for %q", name, r.Bars, r.Texts)
				}
			}
		}
		begin = at[1]
	}
}

// tablesIn returns the tables in a text, by rows and cells, without their heads and
// without rows that compare others.
func tablesIn(text string) (tables [][][]string) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		if !strings.HasPrefix(paragraph, "| ") {
			continue
		}
		var table [][]string
		for _, line := range strings.Split(paragraph, "\n")[2:] {
			cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "| "), " |"), " | ")
			if !strings.Contains(cells[0], " / ") {
				table = append(table, cells)
			}
		}
		tables = append(tables, table)
	}
	return tables
}

type drawnChart struct {
	Groups []struct {
		Rows  []drawnRow `xml:"g"`
		Lines []struct {
			Top    float64 `xml:"y1,attr"`
			Bottom float64 `xml:"y2,attr"`
		} `xml:"line"`
	} `xml:"g"`
}

type drawnRow struct {
	Texts []string `xml:"text"`
	Bars  []struct {
		Width float64 `xml:"width,attr"`
	} `xml:"rect"`
}

func readChart(t *testing.T, svg []byte) drawnChart {
	t.Helper()
	var c drawnChart
	if err := xml.Unmarshal(svg, &c); err != nil {
		t.Fatalf("%v in %s", err, svg)
	}
	return c
}

// TestChart: names are not markup, and bars are as long as they should be.
func TestChart(t *testing.T) {
	c := chart{"x", `<a> & "b"`, []group{
		{title: "linear", unit: "a", bars: []bar{{label: "<one>", value: 1, text: "&"}, {label: "two", value: 2, high: 4}, {label: "none", value: math.NaN()}, {label: "less", value: -1}}},
		{title: "alike", unit: "a", bars: []bar{{label: "three", value: 3}}},
		{title: "logarithmic", unit: "b", log: true, bars: []bar{{label: "a", value: 2e4}, {label: "b", value: 1e6}}, mark: 1e5},
		{title: "nothing", unit: "c", bars: []bar{{label: "zero"}}},
	}}
	groups := readChart(t, []byte(c.svg())).Groups
	if got := groups[0].Rows[0].Texts; !slices.Equal(got, []string{"<one>", "&"}) {
		t.Errorf("texts %q", got)
	}
	for _, test := range []struct {
		group, row int
		want       float64 // part of the longest
	}{
		{0, 0, 0.25}, {0, 1, 0.5}, {0, 3, 0}, {1, 0, 0.75}, {2, 0, math.Log10(2) / 2}, {2, 1, 1}, {3, 0, 0},
	} {
		want := max(1, test.want*barWidth) // what is there can be seen
		if got := groups[test.group].Rows[test.row].Bars[0].Width; math.Abs(got-want) > 0.1 {
			t.Errorf("bar %d of group %d: %v wide, want %v", test.row, test.group, got, want)
		}
	}
	if lines := groups[2].Lines; len(lines) != 4 || lines[3].Bottom-lines[3].Top != 2*rowHeight {
		t.Errorf("the lines are %v, want one at each power of ten and one to compare with", lines)
	}
	if n := len(groups[0].Rows[2].Bars); n != 0 {
		t.Errorf("%d bars for no value", n)
	}
}
