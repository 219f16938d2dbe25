package storytest_test

import (
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

func TestBlock(t *testing.T) {
	const head = "# Examples\n\n## one\n\nWords.\n\n    go run\n\n"
	for page, want := range map[string]string{
		head + "```text\n1\n2\n```\n\n## two\n\n```text\n3\n```\n": "1\n2\n",
		head + "```text\n```\n":                          "",
		head + "```go\nx\n```\n\n```text\n1\n```\n":      "1\n",
		head + "```text\n1\n":                            "the block below \"one\" does not end",
		head + "\n## two\n\n```text\n3\n```\n":           `no block of text below "one"`,
		"# Examples\n\n## ones\n\n```text\n1\n```\n":     `no heading "one"`,
		"# Examples\n\nsee ## one\n\n```text\n1\n```\n":  `no heading "one"`,
		"# Examples\n\n### one\n\n```text\n1\n```\n## x": `no heading "one"`,
	} {
		begin, end, err := storytest.Block(page, "one")
		got := page[begin:end]
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", page, got, want)
		}
	}
}

// TestSameBut: what varies may, and nothing else.
func TestSameBut(t *testing.T) {
	for _, c := range []struct {
		one, two string
		varies   []string
		same     bool
	}{
		{"all is well\n", "all is well\n", nil, true},
		{"401s 0\n", "401s 1\n", nil, false},
		{"at http://127.0.0.1:80/a\n", "at http://127.0.0.1:54321/a\n", nil, true},
		{"at http://127.0.0.1:80/a\n", "at http://127.0.0.1:54321/b\n", nil, false},
		{" 0.1 s  x\n10.0 s  y\n", " 9.9 s  x\n12.3 s  y\n", []string{`^ *\d+\.\d s`}, true},
		{"it took 0.1 s\n", "it took 0.2 s\n", []string{`^ *\d+\.\d s`}, false},
		{"x\n", "x\nx\n", []string{`^x$`}, false},
		{"a 1, b 2\n", "a 3, b 4\n", []string{`a \d`}, false},
		{"a 1, b 2\n", "a 3, b 4\n", []string{`a \d`, `b \d`}, true},
	} {
		same := storytest.SameBut(c.varies)
		if (same(c.one) == same(c.two)) != c.same {
			t.Errorf("%q and %q but for %q: the same is not %v", c.one, c.two, c.varies, c.same)
		}
	}
}

func TestPresentable(t *testing.T) {
	for out, want := range map[string]string{
		"\n\nx  \n\ty\t\n\n":               "x\n\ty\n",
		"":                                 "\n",
		"x":                                "x\n",
		"TOKEN=eyJhbGciOi.eyJz-_x.Wg_ 1\n": "TOKEN=eyJ… 1\n",
	} {
		if got := storytest.Presentable(out); got != want {
			t.Errorf("%q: got %q, want %q", out, got, want)
		}
	}
}

// TestFirstLine: an output knows when a line was over that has something to read.
func TestFirstLine(t *testing.T) {
	for _, c := range []struct {
		written []string
		at      int // of these, the one that ends the line; -1: none
	}{
		{[]string{"one\n", "two\n"}, 0},
		{[]string{"o", "ne", "\n", "x"}, 2},
		{[]string{"\n", "\n\n", "one\n"}, 2},
		{[]string{"\none"}, -1},
		{nil, -1},
	} {
		at := storytest.FirstLine(c.written)
		if at != c.at {
			t.Errorf("%q: after %d, want %d", strings.Join(c.written, "|"), at, c.at)
		}
	}
}
