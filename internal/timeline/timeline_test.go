package timeline_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/timeline"
)

func TestDrawing(t *testing.T) {
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name string
		draw func(*timeline.Drawing)
		want string
	}{
		{"nothing", func(*timeline.Drawing) {}, "  0 ms\n"},
		{"a row without anything", func(d *timeline.Drawing) {
			d.Row("nobody")
			d.Row("a").Mark(at(0), 'x')
		}, "   0 ms\na  x\n"},
		{"names of all lengths", func(d *timeline.Drawing) {
			d.Row("long").Mark(at(0), 'x')
			d.Row("é").Mark(at(10), 'y')
		}, "      0 ms\nlong  x\né      y\n"},
		{"the end of a step is the next one", func(d *timeline.Drawing) {
			r := d.Row("a")
			r.Mark(at(9), '1')
			r.Mark(at(20), '2')
		}, "   0 ms\na  1 2\n"},
		{"before the beginning", func(d *timeline.Drawing) { d.Row("a").Span(at(-50), at(10), '=') }, "   0 ms\na  ==\n"},
		{"the later call is seen", func(d *timeline.Drawing) {
			r := d.Row("a")
			r.Span(at(0), at(40), '.')
			r.Mark(at(20), 'x')
		}, "   0 ms\na  ..x..\n"},
		{"a moment, and an end before its beginning", func(d *timeline.Drawing) {
			r := d.Row("a")
			r.Span(at(10), at(10), '=')
			r.Span(at(40), at(20), '-')
		}, "   0 ms\na   =\n"},
		{"times", func(d *timeline.Drawing) { d.Row("a").Mark(at(200), 'x') },
			"   0 ms      100 ms    200 ms\na                      x\n"},
	} {
		d := timeline.New(began, 10*time.Millisecond)
		c.draw(d)
		if got := d.String(); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestNoStep(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a step that takes no time did not panic")
		}
	}()
	timeline.New(time.Now(), 0)
}
