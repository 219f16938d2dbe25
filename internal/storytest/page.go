package storytest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var draw = flag.Bool("draw", false, "write what the example prints into docs/examples.md")

// examplesPage is where people see what an example prints, from the folder of one.
const examplesPage = "../../docs/examples.md"

// Shown fails the test unless docs/examples.md shows out under the name of the current
// folder, or writes it there with -draw. What varies is compared by its place alone:
// ports, tokens, and what the expressions match.
func Shown(t *testing.T, out string, varies ...string) {
	t.Helper()
	shown(t, examplesPage, out, varies)
}

func shown(t *testing.T, path, out string, varies []string) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	begin, end, err := block(text, filepath.Base(dir))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	same := sameBut(varies)
	out = presentable(out)
	switch {
	case same(text[begin:end]) == same(out):
	case *draw:
		if err := os.WriteFile(path, []byte(text[:begin]+out+text[end:]), 0o600); err != nil { // the mode of what is there stays
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not show what the example prints; -draw writes it there. It prints\n%s", path, out)
	}
}

// block finds what the page shows of the example: the first block of text below its heading.
func block(page, name string) (begin, end int, err error) {
	heading := "\n## " + name + "\n"
	at := strings.Index(page, heading)
	if at < 0 {
		return 0, 0, fmt.Errorf("no heading %q", name)
	}
	at += len(heading)
	section, _, _ := strings.Cut(page[at:], "\n## ")
	const fence = "```text\n"
	open := strings.Index(section, fence)
	if open < 0 {
		return 0, 0, fmt.Errorf("no block of text below %q", name)
	}
	open += len(fence)
	length := strings.Index(section[open:], "```\n")
	if length < 0 {
		return 0, 0, fmt.Errorf("the block below %q does not end", name)
	}
	return at + open, at + open + length, nil
}

var (
	token    = regexp.MustCompile(`eyJ[\w.-]+`)
	port     = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	trailing = regexp.MustCompile(`(?m)[ \t]+$`)
)

const varied = "…" // stands for what varies

// presentable is out as a page shows it: without tokens, which nobody could read, without
// spaces that nobody could see, and without empty lines around.
func presentable(out string) string {
	out = token.ReplaceAllString(out, "eyJ"+varied)
	return strings.Trim(trailing.ReplaceAllString(out, ""), "\n") + "\n"
}

// sameBut returns what makes two outputs equal that differ in what varies alone.
func sameBut(varies []string) func(string) string {
	expressions := []*regexp.Regexp{port}
	for _, v := range varies {
		expressions = append(expressions, regexp.MustCompile(`(?m)`+v))
	}
	return func(out string) string {
		for _, e := range expressions {
			out = e.ReplaceAllString(out, varied)
		}
		return out
	}
}
