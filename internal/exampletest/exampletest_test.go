package exampletest_test

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/exampletest"
)

func TestCheck(t *testing.T) {
	story := exampletest.Story{Lines: []string{"once", "twice", "twice"}, Secrets: []string{"horse"}}
	for _, c := range []struct {
		printed, want string
	}{
		{"once, twice, and twice more", ""},
		{"twice, once, and twice more", `no "twice", or not in its place`},
		{"once and twice", `no "twice", or not in its place`},
		{"once, twice, twice: eyJhbGciOi", "there is a secret in it"},
		{"once, twice, twice: the horse", "there is a secret in it"},
		{"", `no "once", or not in its place`},
	} {
		got := ""
		if err := story.Check(c.printed); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q: error %q, want %q", c.printed, got, c.want)
		}
	}
}

// TestStory plays an example that is a program too, in testdata.
func TestStory(t *testing.T) {
	t.Chdir(filepath.Join("testdata", "example"))
	exampletest.Story{Lines: []string{"once", "twice"}, Alone: true}.Test(t, func(ctx context.Context, out io.Writer) error {
		_, _ = fmt.Fprintln(out, "once\ntwice")
		return ctx.Err()
	})
}

func TestBuild(t *testing.T) {
	t.Chdir(filepath.Join("testdata", "example"))
	out, err := exec.CommandContext(t.Context(), exampletest.Build(t)).Output()
	if err != nil || string(out) != "once\ntwice\n" {
		t.Errorf("printed %q, error %v", out, err)
	}
}
