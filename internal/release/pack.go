package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	modpath "golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// pack gives each public module the go.mod and go.sum that version has, and writes all of
// them to proxy, in the layout of "go help goproxy".
func (t *tree) pack(proxy, version string) error {
	sums := map[string][]string{} // by module path
	for _, m := range t.modules {
		if !m.public() {
			continue
		}
		if err := t.setVersion(m, version, true); err != nil {
			return err
		}
		if err := t.addSums(m, sums); err != nil {
			return err
		}
		hashes, err := t.packOne(proxy, m, version)
		if err != nil {
			return fmt.Errorf("pack %s: %w", m.path, err)
		}
		sums[m.path] = hashes
	}
	return nil
}

// setVersion has m require our other modules at version; tagged takes the replaces away.
func (t *tree) setVersion(m *module, version string, tagged bool) error {
	name := path.Join(m.dir, "go.mod")
	f, err := modfile.Parse(name, t.before[name], nil)
	if err != nil {
		return err
	}
	for _, other := range t.modules {
		if !other.public() || !requires(m, other) {
			continue
		}
		if err := f.AddRequire(other.path, version); err != nil {
			return err
		}
		if tagged {
			if err := f.DropReplace(other.path, ""); err != nil {
				return err
			}
		}
	}
	f.Cleanup()
	if tagged && len(f.Replace)+len(f.Exclude) > 0 {
		return fmt.Errorf("%s has a replace or an exclude, which its users would not have", name)
	}
	t.changed[name], err = f.Format()
	return err
}

// addSums adds the hashes of our modules that m requires to its go.sum.
func (t *tree) addSums(m *module, sums map[string][]string) error {
	var added []string
	for _, r := range m.file.Require {
		added = append(added, sums[r.Mod.Path]...)
	}
	if len(added) == 0 {
		return nil
	}
	name := path.Join(m.dir, "go.sum")
	for line := range strings.Lines(string(t.before[name])) {
		if line = strings.TrimSpace(line); sums[strings.Fields(line + " ")[0]] == nil {
			added = append(added, line)
		}
	}
	slices.Sort(added)
	t.changed[name] = []byte(strings.Join(added, "\n") + "\n")
	return nil
}

// packOne writes one module's four files, and returns its lines for a go.sum.
func (t *tree) packOne(proxy string, m *module, version string) ([]string, error) {
	escaped, err := modpath.EscapePath(m.path)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	goMod, err := t.read(path.Join(m.dir, "go.mod"))
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	if err := zip.Create(&content, modpath.Version{Path: m.path, Version: version}, t.filesOf(m)); err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": fmt.Appendf(nil, `{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, version),
		version + ".mod":  goMod,
		version + ".zip":  content.Bytes(),
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return nil, err
		}
	}
	whole, err := dirhash.HashZip(filepath.Join(dir, version+".zip"), dirhash.Hash1)
	if err != nil {
		return nil, err
	}
	alone, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(goMod)), nil
	})
	return []string{m.path + " " + version + " " + whole, m.path + " " + version + "/go.mod " + alone}, err
}

// filesOf is what the go command puts into the module's zip: its own files, without those
// of the modules inside it, and the repository's licence if it has none.
func (t *tree) filesOf(m *module) []zip.File {
	var files []zip.File
	prefix := m.dir + "/"
	if m.dir == "." {
		prefix = ""
	}
	licensed := false
	for _, name := range t.names {
		inner, ok := strings.CutPrefix(name, prefix)
		if !ok || slices.ContainsFunc(t.modules, func(n *module) bool {
			return n.dir != m.dir && strings.HasPrefix(n.dir+"/", prefix) && strings.HasPrefix(name, n.dir+"/")
		}) {
			continue
		}
		licensed = licensed || inner == "LICENSE"
		files = append(files, &packed{t, name, inner})
	}
	if !licensed {
		files = append(files, &packed{t, "LICENSE", "LICENSE"})
	}
	return files
}

// packed is one file of a zip, which has other bytes than the disk if the release changes it.
type packed struct {
	tree        *tree
	name, inner string
}

func (p *packed) Path() string                { return p.inner }
func (p *packed) Lstat() (fs.FileInfo, error) { return p, nil }

func (p *packed) Open() (io.ReadCloser, error) {
	b, err := p.tree.read(p.name)
	return io.NopCloser(bytes.NewReader(b)), err
}

func (p *packed) Name() string       { return path.Base(p.inner) }
func (p *packed) Mode() fs.FileMode  { return 0o644 }
func (p *packed) ModTime() time.Time { return time.Time{} }
func (p *packed) IsDir() bool        { return false }
func (p *packed) Sys() any           { return nil }

func (p *packed) Size() int64 {
	b, err := p.tree.read(p.name)
	if err != nil {
		return 0
	}
	return int64(len(b))
}
