package main

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"1000 goroutines, 50 connections",
		"The token has expired.",
		"All 1000 were answered 200. The server counted: refreshes 1, reuses 0, requests 1000, 401s 0.",
		" ms |", "##########",
		"The server revoked the token.",
		"All 1000 were answered 200. The server counted: refreshes 1, reuses 0, requests ",
		" ms |", "##########",
	},
	Varies: []string{`requests [12]\d{3}, 401s [1-9]\d*`, `^ *\d+ - +\d+ ms \|.*$`},
}

func TestStory(t *testing.T) { told.Test(t) }

func TestChart(t *testing.T) {
	for _, c := range []struct {
		name  string
		waits []time.Duration
		want  []string
	}{
		{"no time at all", []time.Duration{0, 0}, []string{"0 -    1 ms |" + strings.Repeat("#", 50) + "    2\n"}},
		{"ends of rows", []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond}, []string{
			"    0 -   11 ms |" + strings.Repeat("#", 50) + "    2\n",
			"   99 -  110 ms |" + strings.Repeat("#", 25) + strings.Repeat(" ", 25) + "    1\n",
		}},
		{"just short of the next row", []time.Duration{10*time.Millisecond - 1}, []string{"9 -   10 ms |" + strings.Repeat("#", 50)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			chart(&out, c.waits)
			if n := strings.Count(out.String(), "\n"); n != 10 {
				t.Errorf("%d rows", n)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
}
