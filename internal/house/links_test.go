package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	dropped = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// TestLinks: no page for people leads to a file or a heading that is not there.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("../../*.md")
	if err != nil {
		t.Fatal(err)
	}
	inDocs, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, inDocs...)
	links := 0
	for _, page := range pages {
		for _, m := range link.FindAllStringSubmatch(prose(t, page), -1) {
			if strings.Contains(m[1], ":") { // of another site
				continue
			}
			links++
			if problem := deadLink(t, page, m[1]); problem != "" {
				t.Errorf("%s: (%s): %s", page, m[1], problem)
			}
		}
	}
	if links == 0 {
		t.Error("no page has a link")
	}
}

// deadLink says what is wrong with a link to target on page.
func deadLink(t *testing.T, page, target string) string {
	t.Helper()
	name, anchor, anchored := strings.Cut(target, "#")
	file := page
	if name != "" {
		file = filepath.Join(filepath.Dir(page), filepath.FromSlash(name))
	}
	if _, err := os.Stat(file); err != nil {
		return "no such file"
	}
	if !anchored {
		return ""
	}
	for _, m := range heading.FindAllStringSubmatch(prose(t, file), -1) {
		// As a code host makes them.
		slug := strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")
		if slug == anchor {
			return ""
		}
	}
	return "no such heading"
}

// prose is a page without its blocks of code.
func prose(t *testing.T, page string) string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return fenced.ReplaceAllString(string(b), "")
}

func TestDeadLink(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("# What `x.Y` is, and why\n\n```\n# none\n```\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for target, alive := range map[string]bool{
		"page.md": true, "#what-xy-is-and-why": true, "page.md#what-xy-is-and-why": true,
		"other.md": false, "#none": false, "page.md#what": false,
	} {
		if problem := deadLink(t, page, target); (problem == "") != alive {
			t.Errorf("%s: %q", target, problem)
		}
	}
}
