package main

import (
	"fmt"
	"io"
	"strings"
)

// table is a Markdown table.
type table struct{ rows [][]string }

func newTable(head ...string) *table {
	line := make([]string, len(head))
	for i := range line {
		line[i] = "---"
	}
	return &table{[][]string{head, line}}
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(w io.Writer) {
	for _, row := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	fmt.Fprintln(w)
}
