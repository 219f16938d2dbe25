package clients_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var draw = flag.Bool("draw", false, "write the rows of this package's table into docs/clients.md")

// TestPage: docs/clients.md shows the rows that TestClients runs.
func TestPage(t *testing.T) {
	const page = "../../../docs/clients.md"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- clientRows -->\n", "<!-- end -->\n"
	before, rest, ok := strings.Cut(string(raw), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatal("the page has no place for the rows")
	}
	var table strings.Builder
	table.WriteString("\n| client | kind of body | early 401 | late 401 | what to set |\n|---|---|---|---|---|\n")
	for _, row := range clientRows {
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s |\n", row.client, row.body, row.early, row.late, cmp.Or(row.set, "nothing"))
	}
	drawn := before + begin + table.String() + "\n" + end + after
	switch {
	case drawn == string(raw):
	case *draw:
		if err := os.WriteFile(page, []byte(drawn), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Error("docs/clients.md is not what the tests run; -draw writes it")
	}
}
