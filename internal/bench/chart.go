package main

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
	"time"
)

// chart is a chart of horizontal bars.
type chart struct {
	name   string // of the file, without .svg
	title  string
	groups []group
}

// group is bars with a common title and scale. The bars of other groups have the same
// scale if they have the same unit.
type group struct {
	title string
	unit  string
	log   bool    // values are nanoseconds, and the scale is logarithmic
	mark  float64 // a value to compare with; 0: none
	bars  []bar
}

type bar struct {
	label     string
	value     float64 // NaN: none
	low, high float64 // an interval around value; 0: none
	text      string  // what the table says
}

// Of the drawing, in pixels.
const (
	chartWidth = 860
	labelWidth = 190 // left of the bars
	barWidth   = 460 // of the longest
	rowHeight  = 20
	titleSpace = 30 // above the bars of a group
)

// The background has a colour of its own, as a page's is not known to an image in it.
const chartStyle = `
text { font: 13px sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: bold }
.group { font-weight: bold }
.label { text-anchor: end }
.tick, .foot { font-size: 11px; fill: #59636e }
.back { fill: #ffffff }
.bar { fill: #a3acb6 }
.ours { fill: #0969da }
.grid { stroke: #d1d9e0 }
.mark { stroke: #cf222e; stroke-dasharray: 4 3 }
.range { stroke: #1f2328 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.tick, .foot { fill: #9198a1 }
.back { fill: #0d1117 }
.bar { fill: #656c76 }
.ours { fill: #4493f8 }
.grid { stroke: #3d444d }
.mark { stroke: #ff7b72 }
.range { stroke: #f0f6fc }
}
`

func (c chart) svg() string {
	var b strings.Builder
	y := 28
	text(&b, "title", 16, y, c.title)
	y += 10
	for _, g := range c.groups {
		y = c.group(&b, g, y)
	}
	y += 30
	text(&b, "foot", 16, y, circumstances())
	height := y + 12
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %[1]d %[2]d\" role=\"img\">\n<style>%s</style>\n<rect class=\"back\" width=\"%[1]d\" height=\"%[2]d\"/>\n%[4]s</svg>\n",
		chartWidth, height, chartStyle, b.String())
}

// group draws g below y, and returns where it ends.
func (c chart) group(b *strings.Builder, g group, y int) int {
	s := c.scale(g)
	y += titleSpace
	b.WriteString("<g>\n")
	text(b, "group", 16, y-9, g.title)
	top, bottom := y, y+rowHeight*len(g.bars)
	line := func(class string, x float64) {
		fmt.Fprintf(b, "<line class=%q x1=\"%.1f\" x2=\"%.1[2]f\" y1=\"%d\" y2=\"%d\"/>\n", class, x, top, bottom)
	}
	for _, t := range s.ticks {
		line("grid", s.x(t))
		text(b, "tick", int(s.x(t))+2, bottom+11, time.Duration(t).String())
	}
	for _, r := range g.bars {
		b.WriteString("<g>\n")
		text(b, "label", labelWidth-8, y+14, r.label)
		end := labelWidth + 0.0
		if !math.IsNaN(r.value) {
			class := "bar"
			if r.label == ours.name {
				class = "bar ours"
			}
			end = s.x(r.value)
			fmt.Fprintf(b, "<rect class=%q x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n",
				class, labelWidth, y+3, max(1, end-labelWidth), rowHeight-6)
		}
		if r.high > 0 {
			fmt.Fprintf(b, "<line class=\"range\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%[3]d\"/>\n", s.x(r.low), s.x(r.high), y+rowHeight/2)
			end = max(end, s.x(r.high))
		}
		text(b, "value", int(end)+8, y+14, r.text)
		b.WriteString("</g>\n")
		y += rowHeight
	}
	if g.mark > 0 {
		line("mark", s.x(g.mark))
	}
	b.WriteString("</g>\n")
	if len(s.ticks) > 0 {
		bottom += 12
	}
	return bottom
}

// scale says where values are.
type scale struct {
	x     func(value float64) float64
	ticks []float64
}

// scale returns that of g: from 0, or if it is logarithmic from the power of ten below
// the least value.
func (c chart) scale(g group) scale {
	least, most := math.Inf(1), g.mark
	for _, other := range c.groups {
		if other.unit != g.unit {
			continue
		}
		for _, r := range other.bars {
			if !math.IsNaN(r.value) {
				least, most = min(least, r.value), max(most, r.value, r.high)
			}
		}
	}
	if !g.log {
		if most <= 0 {
			most = 1
		}
		return scale{x: func(v float64) float64 { return labelWidth + barWidth*max(0, v)/most }}
	}
	first, last := math.Floor(math.Log10(least)), math.Log10(most)
	s := scale{x: func(v float64) float64 { return labelWidth + barWidth*(math.Log10(v)-first)/(last-first) }}
	for e := first; e <= last; e++ {
		s.ticks = append(s.ticks, math.Pow(10, e))
	}
	return s
}

func text(b *strings.Builder, class string, x, y int, s string) {
	fmt.Fprintf(b, "<text class=%q x=\"%d\" y=\"%d\">", class, x, y)
	_ = xml.EscapeText(b, []byte(s)) // a Builder takes everything
	b.WriteString("</text>\n")
}
