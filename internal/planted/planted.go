// Package planted builds the tests of a package with bugs in the code that they test, to see
// that they find them. A bug is a patch of source text on its way to the compiler: the files
// on disk stay as they are.
//
// All bugs of a list are compiled at once, each behind a condition that is true only in a
// process whose environment names it, so that one build does for all, and without a name the
// tests must pass.
package planted

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// env names the bug that is in a process.
const env = "SIMULATION_PLANTED"

// Name returns the bug that is planted in this process; "": none.
func Name() string { return os.Getenv(env) }

// Environ returns the environment of a process with the bug in it.
func Environ(bug string) []string { return append(os.Environ(), env+"="+bug) }

// A Patch is one of a file, whose path is relative to the root of the repository. Old is in it
// exactly once: if not, the code has changed, and so must the patch. BUG in New is true if the
// bug is planted.
type Patch struct{ File, Old, New string }

// A Bug is a mistake that somebody could make, or has made. Patches may be empty: then the
// tests themselves go by Name.
type Bug struct {
	Name    string
	Patches []Patch
}

// Build compiles the tests of the package in the working directory with all bugs in it, and
// returns the program. root leads to the repository's.
func Build(t *testing.T, root string, bugs []Bug) (exe string) {
	t.Helper()
	root, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	texts := patched(t, root, bugs)
	dir, replace := t.TempDir(), map[string]string{}
	for file, text := range texts {
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	exe = filepath.Join(dir, "patched.test.exe")
	out, err := exec.Command("go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", exe, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	return exe
}

// patched returns the text of each file that a bug is in, and of those that say which one is.
func patched(t *testing.T, root string, bugs []Bug) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, b := range bugs {
		for _, p := range b.Patches {
			text, ok := texts[p.File]
			if !ok {
				raw, err := os.ReadFile(filepath.Join(root, p.File))
				if err != nil {
					t.Fatal(err)
				}
				text = string(raw)
			}
			if n := strings.Count(text, p.Old); n != 1 {
				t.Fatalf("%s: what is to be patched is %d times in %s:\n%s", b.Name, n, p.File, p.Old)
			}
			texts[p.File] = strings.Replace(text, p.Old, strings.ReplaceAll(p.New, "BUG", fmt.Sprintf("(plantedBug == %q)", b.Name)), 1)
		}
	}
	for file := range texts {
		dir := path.Dir(file)
		texts[dir+"/planted.go"] = fmt.Sprintf("package %s\n\nimport \"os\"\n\nvar plantedBug = os.Getenv(%q)\n", path.Base(dir), env)
	}
	return texts
}
