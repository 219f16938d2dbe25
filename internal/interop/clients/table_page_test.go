package clients_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
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
	table.WriteString("\n| client | version | scenario | early 401 | late 401 | what to set |\n|---|---|---|---|---|---|\n")
	for _, row := range clientRows {
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n",
			row.client, version(t, row.module), row.scenario, row.early, row.late, cmp.Or(row.set, "nothing"))
	}
	drawn := before + begin + table.String() + "\n" + end + after
	// A row that passes with a newer version makes the page no less true.
	same := anyVersion.ReplaceAllString(drawn, "") == anyVersion.ReplaceAllString(string(raw), "")
	switch {
	case *draw:
		if err := os.WriteFile(page, []byte(drawn), 0o644); err != nil {
			t.Fatal(err)
		}
	case !same:
		t.Error("docs/clients.md is not what the tests run; -draw writes it")
	}
}

// anyVersion is what version returns.
var anyVersion = regexp.MustCompile(`\| (v[0-9][^ |]*|go[0-9][^ |]*) \|`)

// version returns the version of a module that this one requires, or of Go.
func version(t *testing.T, module string) string {
	if module == "" {
		return runtime.Version()
	}
	raw, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == module {
			return fields[1]
		}
	}
	t.Fatalf("go.mod does not require %q", module)
	return ""
}
