package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const cyclonedx = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

// allowed are licences that ask of a user's program no more than that their text is shown.
// CycloneDX's tool takes the licence of Go's own modules, BSD-3-Clause, for BSD-Source-Code.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-Source-Code", "ISC", "MIT"}

// A bom is what is read of a CycloneDX document.
type bom struct {
	Components []component `json:"components"`
}

type component struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Evidence struct {
		Licenses []struct {
			License struct {
				ID string `json:"id"`
			} `json:"license"`
		} `json:"licenses"`
	} `json:"evidence"`
}

// licences writes a bill of materials of each public module to dir, and prints the licence
// of everything that it links. One that is not allowed, or not found, is an error.
func licences(ctx context.Context, root, dir string, out io.Writer) error {
	t, err := readTree(ctx, root)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	var refused []error
	for _, m := range t.modules {
		if !m.public() {
			continue
		}
		name := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(m.path, "github.com/"), "/", "-")+".cdx.json")
		cmd := exec.CommandContext(ctx, "go", "run", cyclonedx, "mod", "-licenses", "-type", "library", "-json", "-output", name)
		cmd.Dir, cmd.Env = filepath.Join(root, filepath.FromSlash(m.dir)), append(os.Environ(), "GOWORK=off")
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("the bill of materials of %s: %w\n%s", m.path, err, said)
		}
		b, err := os.ReadFile(name) // #nosec G304 -- written a line above
		if err != nil {
			return err
		}
		refused = append(refused, checkLicences(b, m.path, t.core().path, out))
	}
	return errors.Join(refused...)
}

// checkLicences prints the licences of a module's components but ours.
func checkLicences(document []byte, of, core string, out io.Writer) error {
	var b bom
	if err := json.Unmarshal(document, &b); err != nil {
		return err
	}
	var refused []error
	for _, c := range b.Components {
		if c.Name == core || strings.HasPrefix(c.Name, core+"/") {
			continue
		}
		var ids []string
		for _, l := range c.Evidence.Licenses {
			ids = append(ids, l.License.ID)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", of, c.Name, c.Version, strings.Join(ids, ", "))
		if len(ids) == 0 || slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(allowed, id) }) {
			refused = append(refused, fmt.Errorf("%s requires %s, whose licence %q is not allowed", of, c.Name, ids))
		}
	}
	return errors.Join(refused...)
}
