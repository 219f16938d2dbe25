package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/standards.md says of each section of the RFCs what is done, and which tests show it.

const standardsPage = repository + "/docs/standards.md"

var (
	rfcs       = []string{"6749", "6750", "7009", "7523", "7636", "8252", "8414", "8628", "8693", "8707", "9207", "9449", "9470", "9728"}
	linkedTest = regexp.MustCompile(`^\[(\w+)\]\(\.\./([\w./-]+_test\.go)\)$`)
	rfcTest    = regexp.MustCompile(`^TestRFC\d+`)
)

// TestStandardsPage: each row has a test that there is, or says why it has none; each RFC
// has a table; and each test that is named after an RFC is in it.
func TestStandardsPage(t *testing.T) {
	b, err := os.ReadFile(standardsPage)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, rfc := range rfcs {
		rows := standardsRows(string(b), rfc)
		if len(rows) < 3 {
			t.Errorf("the table of RFC %s has %d rows", rfc, len(rows))
		}
		for _, row := range rows {
			tests, err := checkStandard(row)
			if err != nil {
				t.Errorf("RFC %s, %s: %v", rfc, row[0], err)
			}
			for _, name := range tests {
				named[name] = true
			}
		}
	}
	for name := range testNames(t) {
		if rfcTest.MatchString(name) && !named[name] {
			t.Errorf("%s is not in the page", name)
		}
	}
}

// standardsRows returns the rows of an RFC's table, without its head.
func standardsRows(page, rfc string) [][]string {
	_, rest, _ := strings.Cut(page, "\n## RFC "+rfc+":")
	rest, _, _ = strings.Cut(rest, "\n## ")
	var rows [][]string
	for line := range strings.Lines(rest) {
		if c := cells(strings.TrimSpace(line)); c != nil && c[0] != "section" {
			rows = append(rows, c)
		}
	}
	return rows
}

// checkStandard returns the tests that a row names, and what is wrong with it.
func checkStandard(row []string) (tests []string, err error) {
	if len(row) != 4 || slices.Contains(row, "") {
		return nil, fmt.Errorf("%d cells, or an empty one: %q", len(row), row)
	}
	if row[3] == "none" {
		if !strings.HasPrefix(row[2], "For the program") && !strings.HasPrefix(row[2], "Not done") {
			return nil, fmt.Errorf("no test shows %q", row[2])
		}
		return nil, nil
	}
	for _, link := range strings.Split(row[3], ", ") {
		m := linkedTest.FindStringSubmatch(link)
		if m == nil || !testName.MatchString(m[1]) {
			return tests, fmt.Errorf("%q is no link to a test", link)
		}
		tests = append(tests, m[1])
		source, err := os.ReadFile(filepath.Join(repository, m[2]))
		if err != nil {
			return tests, err
		}
		if !strings.Contains(string(source), "\nfunc "+m[1]+"(") {
			return tests, fmt.Errorf("there is no test %s in %s", m[1], m[2])
		}
	}
	return tests, nil
}

// TestStandardsRows: a row is refused for each thing that can be wrong with it.
func TestStandardsRows(t *testing.T) {
	const here = "internal/house/standards_test.go"
	for _, c := range []struct{ row, want string }{
		{"1 | what | how | [TestStandardsRows](../" + here + ")", ""},
		{"1 | what | how | [TestStandardsRows](../" + here + "), [TestStandardsPage](../" + here + ")", ""},
		{"1 | what | For the program. | none", ""},
		{"1 | what | Not done: why. | none", ""},
		{"1 | what | how | none", "no test shows"},
		{"1 | what | | none", "an empty one"},
		{"1 | what | how", "3 cells"},
		{"1 | what | how | TestStandardsRows", "is no link to a test"},
		{"1 | what | how | [checkStandard](../" + here + ")", "is no link to a test"},
		{"1 | what | how | [TestStandards](../" + here + ")", "there is no test TestStandards in"},
		{"1 | what | how | [TestStandardsRows](../internal/house/house_test.go)", "there is no test TestStandardsRows in"},
		{"1 | what | how | [TestStandardsRows](../internal/house/no_test.go)", "no such file"},
		{"1 | what | how | [TestStandardsRows](../" + here + "), TestStandardsPage", "is no link to a test"},
	} {
		_, err := checkStandard(cells("| " + c.row + " |"))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.row, err, c.want)
		}
	}
}
