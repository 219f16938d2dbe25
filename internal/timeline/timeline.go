// Package timeline draws what happened when, as text: a row for each who did something, a
// column for each step of time.
//
//	             0 ms      100 ms    200 ms
//	request   1  ......................--o
//	request 112  ......................---o
//	the refresh  =====================
//
// Times count from when the drawing began; what is before is drawn in the first column. A row
// is as long as it has to be. Of two things in one column the later call is seen. The package
// reads no clock, and does not know what the signs mean. A Drawing is for one goroutine.
package timeline

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// between is how many columns there are from one time at the top to the next.
const between = 10

// A Drawing has the rows in the order in which they were added.
type Drawing struct {
	began time.Time
	step  time.Duration
	rows  []*Row
}

// New begins a drawing whose columns are step wide, which must be positive.
func New(began time.Time, step time.Duration) *Drawing {
	if step <= 0 {
		panic("timeline: a step takes no time")
	}
	return &Drawing{began: began, step: step}
}

// Row adds a row.
func (d *Drawing) Row(name string) *Row {
	r := &Row{drawing: d, name: name}
	d.rows = append(d.rows, r)
	return r
}

// A Row is what one did.
type Row struct {
	drawing *Drawing
	name    string
	cells   []rune // nil: nothing
}

func (r *Row) column(at time.Time) int {
	return max(0, int(at.Sub(r.drawing.began)/r.drawing.step))
}

// Mark draws sign in the column of at.
func (r *Row) Mark(at time.Time, sign rune) {
	column := r.column(at)
	for len(r.cells) <= column {
		r.cells = append(r.cells, ' ')
	}
	r.cells[column] = sign
}

// Span draws sign from the column of from to that of to, at least once, unless to is before from.
func (r *Row) Span(from, to time.Time, sign rune) {
	for column := r.column(from); column <= r.column(to); column++ {
		r.Mark(r.drawing.began.Add(time.Duration(column)*r.drawing.step), sign)
	}
}

// String is the drawing: a line for the times, and one for each row that has something.
func (d *Drawing) String() string {
	name, length := 0, 0
	rows := slices.DeleteFunc(slices.Clone(d.rows), func(r *Row) bool { return r.cells == nil })
	for _, r := range rows {
		name, length = max(name, utf8.RuneCountInString(r.name)), max(length, len(r.cells))
	}
	var b strings.Builder
	times := strings.Repeat(" ", name+2)
	for column := 0; column == 0 || column < length; column += between {
		at := (time.Duration(column) * d.step).Milliseconds()
		times += fmt.Sprintf("%-*s", between, fmt.Sprintf("%d ms", at))
	}
	b.WriteString(strings.TrimRight(times, " ") + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "%-*s  %s\n", name, r.name, string(r.cells))
	}
	return b.String()
}
