// Command house measures how the packages of this repository are built: how large
// they are, and how much of them a reader has to open for one thing. From the root of
// the repository:
//
//	go run ./internal/house                     # the packages of the core module
//	go run ./internal/house -json ./tokenclient # one, as JSON
//	go run ./internal/house -way tokenclient.Transport.RoundTrip
//
// Everything is counted from the imports and definitions of the files that are no
// tests, as the compiler sees them on this system; files for other systems only count
// as files and lines. Lines are all lines, with comments and blank ones.
//
// # Packages
//
// Exported names are those that a user of the package sees: types, functions, constants
// and variables, the methods of exported types, and the exported fields of exported
// structs. A function's length is that of its declaration without its comment.
//
// # Types
//
// A type is listed if it is large or much shared: it has at least 10 fields or 15
// methods, or its fields are used in more than 5 files. A field is used where it is
// read, written, or set in a composite literal, in whatever package. "calls" are
// those to its methods from other files of its package, and "back" is how many of
// them run against the order of the files.
//
// # Calls against the order
//
// A package with a shape can be read from the top: its files have an order in which
// each calls only those below it. This command looks for the order that comes closest
// to that, so that a package is judged by its best reading: the one in which the
// fewest calls run upwards. A call is each place that names a function or method of
// another file of the package, whether to call it or to hand it on. Calls of interface
// methods and of function values are none.
//
// Nobody has a fast exact method for that order (it is a minimum feedback arc set).
// The search starts from many shuffled ones, always the same, moves each file to where
// the fewest of its calls run upwards for as long as that helps, and keeps the best. What
// it finds may be more than the least, never less. Among files that may stand next, the
// first by name does. Two files that call each other cannot be read one after the other
// in any order; these pairs are counted too.
//
// # Ways
//
// -way prints what a reader reads to follow one call: from a function on, the functions
// that it names, each followed where it is first named, in the order of the source. The
// way leads through the function's own package and the packages of this repository in
// internal folders. It ends at calls of interface methods and of function values. A stay
// is a run of functions of one file, and a return is a stay in a file that the way has left
// before: where nobody has to go back, there are as many stays as files. Return
// statements are those of the functions, function literals in them included.
//
// A leaf is a function that names no other one that the way could lead to; its name and
// comment say enough to pass by. So do those of another package, which is entered by
// its door. The way without both is the one to judge by.
//
// After the function, and commas, -way takes the functions where the way stops: they
// are not entered. The straight way is what comes before the first of these is named,
// say what a request runs through until it is sent; its functions are marked with a dot.
//
//	go run ./internal/house -way tokenclient.Transport.RoundTrip,tokenclient.Session.Refresh
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
)

// A report is all that was counted.
type report struct {
	Packages []packageSize
	Long     []functionSize // longer than longFunction
	Types    []typeSize     // large ones
	Orders   []fileOrder
	Ways     []way
}

// roots collects the values of -way.
type roots [][]string

func (r *roots) String() string { return fmt.Sprint([][]string(*r)) }

func (r *roots) Set(s string) error {
	*r = append(*r, strings.Split(s, ","))
	return nil
}

func main() {
	var ways roots
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Var(&ways, "way", "print the way from `function[,stop...]` on, such as tokenclient.Transport.RoundTrip; may be repeated")
	flag.Parse()
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	if err := run(patterns, ways, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(1)
	}
}

func run(patterns []string, ways roots, asJSON bool) error {
	prog, err := load(patterns)
	if err != nil {
		return err
	}
	r, err := measure(prog, ways)
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "\t")
		return e.Encode(r)
	}
	return r.print(os.Stdout)
}

func measure(prog *program, ways roots) (*report, error) {
	r := &report{}
	for _, p := range prog.listed {
		size, err := prog.size(p)
		if err != nil {
			return nil, err
		}
		r.Packages = append(r.Packages, size)
		r.Long = append(r.Long, prog.longFunctions(p)...)
		r.Orders = append(r.Orders, prog.order(p))
	}
	for _, s := range prog.typeSizes(r.Orders) {
		if s.large() {
			r.Types = append(r.Types, s)
		}
	}
	for _, names := range ways {
		w, err := prog.way(names[0], names[1:])
		if err != nil {
			return nil, err
		}
		r.Ways = append(r.Ways, w)
	}
	return r, nil
}
