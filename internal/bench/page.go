package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// page is where the report is printed.
type page struct {
	io.Writer
	charts string // the folder of the charts; "": there are none
}

// draw draws a chart of what was printed last.
func (p *page) draw(c chart) error {
	if p.charts == "" {
		return nil
	}
	name := c.name + ".svg"
	if err := os.WriteFile(filepath.Join(p.charts, name), []byte(c.svg()), 0o644); err != nil {
		return err
	}
	_, err := fmt.Fprintf(p, "![%s](%s/%s)\n\n", c.title, filepath.Base(p.charts), name)
	return err
}

// circumstances are those of this run.
func circumstances() string {
	return fmt.Sprintf("%s, %s/%s, %d processors, %s", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.GOMAXPROCS(0), time.Now().UTC().Format(time.DateOnly))
}
