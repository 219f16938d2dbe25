package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// storeBenchmarks has the drivers and servers that the stores need. They are not
// this module's to require.
const storeBenchmarks = "github.com/seed-fbfaa0ec/silentrefresh/internal/interop/fleet"

// stores measures each Store: it runs the benchmark of another module.
func stores(p *page, s settings) error {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkStore$",
		"-benchtime", s.store.String(), "-count", strconv.Itoa(s.stores), storeBenchmarks)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return printStores(p, parseStores(out))
}

// storeTook is what a store's operations take.
type storeTook struct {
	name          string
	load, refresh series
}

// parseStores returns what out, which go test has printed, says of each store.
func parseStores(out []byte) []*storeTook {
	var all []*storeTook
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != "ns/op" {
			continue
		}
		path := strings.Split(fields[0], "/") // BenchmarkStore/File/Load-2
		ns, err := strconv.ParseFloat(fields[2], 64)
		if len(path) != 3 || err != nil {
			continue
		}
		if len(all) == 0 || all[len(all)-1].name != path[1] {
			all = append(all, &storeTook{name: path[1]})
		}
		took := all[len(all)-1]
		if strings.HasPrefix(path[2], "Load") {
			took.load = append(took.load, ns)
		} else {
			took.refresh = append(took.refresh, ns)
		}
	}
	return all
}

func printStores(p *page, all []*storeTook) error {
	fmt.Fprintf(p, "## Stores\n\nA Load, and a Refresh whose token call returns at once, of one key, one after the other; the token is of 850 and 600 bytes. All but Memory seal it, and write to disk before they answer. Servers are on this machine; one whose program is missing is left out. Medians and half the distance of the quartiles.\n\n")
	t := newTable("", "Load", "Refresh")
	groups := []group{
		{title: "Load (logarithmic)", unit: "time", log: true},
		{title: "Refresh whose token call returns at once (logarithmic)", unit: "time", log: true},
	}
	for _, took := range all {
		row := []string{took.name}
		for i, s := range []series{took.load, took.refresh} {
			cell := fmt.Sprintf("%s %s", micro(s.median()), percent(s.spread()))
			row = append(row, cell)
			groups[i].bars = append(groups[i].bars, bar{label: took.name, value: s.median(), text: cell})
		}
		t.add(row...)
	}
	t.print(p)
	return p.draw(chart{"stores", "What a Store's operations take", groups})
}

// micro writes nanoseconds as microseconds, with three digits at most.
func micro(ns float64) string {
	us := ns / float64(time.Microsecond)
	digits := max(0, 2-int(math.Floor(math.Log10(us))))
	return fmt.Sprintf("%.*f µs", min(digits, 2), us)
}
