package replay_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/replay"
)

// TestOften: with Options.Often a body is sent again and again, from its first byte on,
// however much each sending took, and is closed once when it is handed over.
func TestOften(t *testing.T) {
	const size, keep, spooled = 40_000, 50_000, 1000
	data := pattern(size)
	reads := [][]int{{0, 0, 0}, {size, size, size}, {1, size, 0}, {5000, 100, 30_000}, {0, size, 7}, {size + 1, 1, size + 1}, {2000, 3000, 39_999}}
	for _, kind := range []string{"kept", "spooled", "GetBody", "GetBody that rewinds", "seeks", "file"} {
		for _, read := range reads {
			for _, end := range []string{"read", "given up", "handed over before it is read"} {
				t.Run(fmt.Sprintf("%s/%v/%s", kind, read, end), func(t *testing.T) {
					body := watch(t, data)
					o := replay.Options{Limit: keep, Often: true}
					req := newRequest(t, body, nil)
					var wantClosed int32 = 1
					switch kind {
					case "spooled":
						o.Limit, o.SpoolDir, o.MaxSpool = spooled, t.TempDir(), keep
					case "GetBody":
						req = newRequest(t, body, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
					case "GetBody that rewinds":
						req = newRequest(t, body, body.rewind)
					case "seeks":
						req, o.Limit = newRequest(t, seeks{body}, nil), spooled
					case "file":
						req, wantClosed = newRequest(t, tempFile(t, data), nil), 0
						req.ContentLength = size
					}
					b := replay.New(req, o)
					for i, n := range read {
						r := attach(req, b)
						got := make([]byte, n)
						m, err := io.ReadFull(iotest.HalfReader(r.Body), got)
						if m != min(n, size) || !bytes.Equal(got[:m], data[:m]) {
							t.Fatalf("sending %d: %d bytes, %v", i, m, err)
						}
						if err := r.Body.Close(); err != nil {
							t.Fatal(err)
						}
						body.wantClosed(t, 0)
						var ok bool
						if b, ok = b.TakeBack(t.Context()); !ok || !b.Repeats() {
							t.Fatalf("there is no sending %d", i+1)
						}
					}
					r := attach(req, b)
					switch end {
					case "given up":
						b.Close()
					case "handed over before it is read":
						b.HandOver()
						fallthrough
					default:
						if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, data) {
							t.Fatalf("%d bytes, the same %v, error %v", len(got), slices.Equal(got, data), err)
						}
						_ = r.Body.Close()
						b.HandOver()
					}
					b.HandOver()
					body.wantClosed(t, wantClosed)
					if o.SpoolDir != "" {
						wantEmpty(t, "at the end", o.SpoolDir)
					}
				})
			}
		}
	}
}

// TestRepeats: what needs no care can be sent again and again, and a sending of it that is given
// up closes its body. What needs some is sent twice, and not once more.
func TestRepeats(t *testing.T) {
	var got []*watched
	standard, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	none := newRequest(t, nil, nil)
	rewinds := watch(t, pattern(10))
	for _, tc := range []struct {
		name string
		req  *http.Request
		want bool
	}{
		{"none", none, true},
		{"net/http's own", standard, true},
		{"kept", newRequest(t, watch(t, pattern(10)), nil), false},
		{"rewound", newRequest(t, rewinds, rewinds.rewind), false},
		{"another", newRequest(t, watch(t, pattern(10)), func() (io.ReadCloser, error) {
			got = append(got, watch(t, pattern(10)))
			return got[len(got)-1], nil
		}), false},
	} {
		b := replay.New(tc.req, replay.Options{Limit: limit})
		for range 3 {
			if b.Repeats() != tc.want {
				t.Errorf("%s: repeats %v", tc.name, b.Repeats())
			}
			again, ok := b.TakeBack(t.Context())
			if !ok {
				t.Fatalf("%s: there is no second sending", tc.name)
			}
			again.Close()
			if b = again; !tc.want {
				break
			}
		}
	}
	rewinds.wantClosed(t, 1)
	for _, body := range got {
		body.wantClosed(t, 1)
	}
}

// TestNothingIsKeptOfWhatWasRead: with Often, too, nothing is kept from HandOver on, in memory or
// in a file, if the last sending has read it: the answer may be read for hours.
func TestNothingIsKeptOfWhatWasRead(t *testing.T) {
	for _, keep := range []int64{100, 10} {
		dir := t.TempDir()
		req := newRequest(t, watch(t, pattern(100)), nil)
		b := replay.New(req, replay.Options{Limit: keep, SpoolDir: dir, MaxSpool: limit, Often: true})
		skip(t, attach(req, b).Body, 50)
		again, ok := b.TakeBack(t.Context())
		if !ok {
			t.Fatal("there is no second sending")
		}
		second := attach(req, again)
		skip(t, second.Body, 50)
		b.HandOver()
		if n := replay.Kept(b); n > 0 {
			t.Errorf("limit %d: %d bytes are kept", keep, n)
		}
		wantEmpty(t, "handed over", dir)
		if rest, err := io.ReadAll(second.Body); err != nil || !bytes.Equal(rest, pattern(100)[50:]) {
			t.Errorf("limit %d: the rest is %d bytes, error %v", keep, len(rest), err)
		}
		_ = second.Body.Close()
	}
}

// TestTwice: without Options.Often there is no third sending of a body that needs care, whatever
// the second one took of it. The second one is whole, and the body is closed once.
func TestTwice(t *testing.T) {
	const size, keep, spooled = 40_000, 50_000, 1000
	data := pattern(size)
	for _, kind := range []string{"kept", "spooled", "GetBody", "seeks"} {
		for _, first := range []int{0, 5000, size} {
			for _, second := range []int{0, 7, size} {
				t.Run(fmt.Sprintf("%s/%d, %d", kind, first, second), func(t *testing.T) {
					body := watch(t, data)
					o := replay.Options{Limit: keep}
					req := newRequest(t, body, nil)
					switch kind {
					case "spooled":
						o.Limit, o.SpoolDir, o.MaxSpool = spooled, t.TempDir(), keep
					case "GetBody":
						req = newRequest(t, body, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
					case "seeks":
						req, o.Limit = newRequest(t, seeks{body}, nil), spooled
					}
					b := replay.New(req, o)
					r := attach(req, b)
					if _, err := io.ReadFull(r.Body, make([]byte, first)); err != nil {
						t.Fatal(err)
					}
					_ = r.Body.Close()
					b, ok := b.TakeBack(t.Context())
					if !ok || b.Repeats() {
						t.Fatalf("a second sending: %v, and it repeats: %v", ok, b.Repeats())
					}
					r = attach(req, b)
					got := make([]byte, second)
					if _, err := io.ReadFull(r.Body, got); err != nil || !bytes.Equal(got, data[:second]) {
						t.Fatal(err)
					}
					if _, ok := b.TakeBack(t.Context()); ok {
						t.Error("there is a third sending")
					}
					if rest, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(rest, data[second:]) {
						t.Errorf("the second sending goes on with %d bytes, %v", len(rest), err)
					}
					_ = r.Body.Close()
					b.HandOver()
					if _, ok := b.TakeBack(t.Context()); ok {
						t.Error("there is one when all is over")
					}
					body.wantClosed(t, 1)
				})
			}
		}
	}
}
