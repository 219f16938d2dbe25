package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// A mutant is one changed operator. Its place is that of gremlins' answer; function, text and
// number tell it from all others as long as nobody changes its line.
type mutant struct {
	file         string
	line, column int
	operator     string // what was done, in gremlins' words
	status       string // likewise
	function     string // in which it is; "" outside of all
	text         string // its line
	number       int    // which of those that are alike in all of the above, from 1
}

// key returns the beginning of the mutant's line in survivors.txt.
func (m mutant) key() string {
	return fmt.Sprintf("%s\t%s\t%s#%d\t%s", m.file, m.function, m.operator, m.number, m.text)
}

// A source is one file: its lines, and which function each belongs to.
type source struct {
	name      string
	lines     []string
	functions []string
}

func readSource(name string) (source, error) {
	b, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		return source{}, err
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, b, parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	s := source{name: name, lines: strings.Split(string(b), "\n")}
	s.functions = make([]string, len(s.lines))
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			for l := set.Position(f.Pos()).Line; l <= set.Position(f.End()).Line; l++ {
				s.functions[l-1] = f.Name.Name
			}
		}
	}
	return s, nil
}

// place completes the mutants of the file, which are in the order of the source.
func (s source) place(mutants []mutant) error {
	seen := map[string]int{}
	for i := range mutants {
		m := &mutants[i]
		if m.line < 1 || m.line > len(s.lines) {
			return fmt.Errorf("%s has no line %d", s.name, m.line)
		}
		m.function, m.text = s.functions[m.line-1], strings.TrimSpace(s.lines[m.line-1])
		alike := m.key()
		seen[alike]++
		m.number = seen[alike]
	}
	return nil
}

// has reports whether the function has such a line.
func (s source) has(function, text string) bool {
	for i, l := range s.lines {
		if s.functions[i] == function && strings.TrimSpace(l) == text {
			return true
		}
	}
	return false
}

// readSurvivors reads why mutants survive, by their keys.
func readSurvivors(name string) (map[string]string, error) {
	reasons := map[string]string{}
	err := eachLine(name, func(line string) error {
		i := strings.LastIndexByte(line, '\t')
		if strings.Count(line, "\t") != 4 || strings.TrimSpace(line[i:]) == "" {
			return fmt.Errorf("not file, function, operator, line and reason, between tabs: %q", line)
		}
		if _, twice := reasons[line[:i]]; twice {
			return fmt.Errorf("twice: %q", line)
		}
		reasons[line[:i]] = line[i+1:]
		return nil
	})
	return reasons, err
}

// eachLine calls do for each line of a file that is neither empty nor a comment.
func eachLine(name string, do func(line string) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if line := lines.Text(); line != "" && line[0] != '#' {
			if err := do(line); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return lines.Err()
}
