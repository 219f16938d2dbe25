package replay_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/replay"
)

// closes counts what net/http must do once.
type closes struct{ n atomic.Int32 }

func (c *closes) Close() error {
	c.n.Add(1)
	return nil
}

func tempFile(t *testing.T, data []byte) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func skip(t *testing.T, r io.Reader, n int) {
	t.Helper()
	if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
		t.Fatal(err)
	}
}

// readerAt has a cursor that cannot be asked for.
type readerAt struct {
	io.Reader
	at io.ReaderAt
	*closes
}

func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return r.at.ReadAt(p, off) }

// aloud is a file whose Read says what it does, while Seek is the file's own.
type aloud struct {
	*os.File
	read int
}

func (a *aloud) Read(p []byte) (int, error) {
	n, err := a.File.Read(p)
	a.read += n
	return n, err
}

// seekable are bodies that can be read again from where they stood, which is behind the
// first 100 bytes of data if that can be.
var seekable = []struct {
	name  string
	whole bool // it stands at its beginning
	make  func(t *testing.T, data []byte) io.ReadCloser
}{
	{"file", false, func(t *testing.T, data []byte) io.ReadCloser {
		f := tempFile(t, data)
		skip(t, f, 100)
		return f
	}},
	{"section", false, func(t *testing.T, data []byte) io.ReadCloser {
		s := io.NewSectionReader(bytes.NewReader(append([]byte("before"), data...)), 6, int64(len(data)))
		skip(t, s, 100)
		return io.NopCloser(s)
	}},
	{"seeker", false, func(t *testing.T, data []byte) io.ReadCloser {
		r := bytes.NewReader(data)
		skip(t, r, 100)
		return struct {
			io.ReadSeeker
			*closes
		}{r, new(closes)}
	}},
	{"seeker behind NopCloser", false, func(t *testing.T, data []byte) io.ReadCloser {
		r := strings.NewReader(string(data)) // has a WriteTo
		skip(t, r, 100)
		return io.NopCloser(r)
	}},
	{"seeker behind NopCloser, without WriteTo", false, func(t *testing.T, data []byte) io.ReadCloser {
		r := bytes.NewReader(data)
		skip(t, r, 100)
		return io.NopCloser(struct{ io.ReadSeeker }{r})
	}},
	{"file with a Read of its own", false, func(t *testing.T, data []byte) io.ReadCloser {
		f := &aloud{File: tempFile(t, data)}
		skip(t, f, 100)
		return f
	}},
	{"reader at", true, func(_ *testing.T, data []byte) io.ReadCloser {
		return readerAt{bytes.NewReader(data), bytes.NewReader(data), new(closes)}
	}},
}

// TestSeek: a body that can seek is read again from where it stood, whatever the first
// sending had of it and had done with it, and nothing is kept.
func TestSeek(t *testing.T) {
	data := pattern(100_000)
	for _, body := range seekable {
		for _, length := range []int64{-1, 0, 1} { // unknown, unknown, known
			if body.whole && length <= 0 {
				continue
			}
			for _, read := range []int{0, 1, 99, 50_000, 99_900, 100_000} {
				for _, closed := range []bool{false, true} {
					want := data
					if !body.whole {
						want = data[100:]
					}
					rc := body.make(t, data)
					req := newRequest(t, rc, nil)
					req.ContentLength = length * int64(len(want))
					b := replay.New(req, replay.Options{Limit: -1})
					first := attach(req, b)
					if n, _ := io.ReadFull(first.Body, make([]byte, read)); read >= len(want) != (n == len(want)) {
						t.Fatalf("%s: the first sending had %d bytes", body.name, n)
					}
					if closed {
						_ = first.Body.Close()
					}
					again, ok := b.TakeBack(t.Context())
					if !ok {
						t.Errorf("%s after %d bytes: there is no second sending", body.name, read)
						b.HandOver()
						continue
					}
					if _, err := first.Body.Read(make([]byte, 1)); err == nil && read < len(want) {
						t.Errorf("%s: the first sending reads on", body.name)
					}
					second := attach(req, again)
					if second.GetBody != nil {
						t.Errorf("%s: net/http is given a GetBody that the caller has not", body.name)
					}
					got, err := io.ReadAll(second.Body)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("%s after %d bytes: %d bytes, error %v, the same: %v", body.name, read, len(got), err, bytes.Equal(got, want))
					}
					_ = second.Body.Close()
					_ = first.Body.Close()
					wantClosedOnce(t, body.name, rc)
				}
			}
		}
	}
}

func wantClosedOnce(t *testing.T, name string, body io.ReadCloser) {
	t.Helper()
	n := int32(1)
	switch body := body.(type) {
	case *os.File:
		if body.Close() == nil {
			n = 0
		}
	case *aloud:
		if body.Close() == nil {
			n = 0
		}
	case readerAt:
		n = body.n.Load()
	case struct {
		io.ReadSeeker
		*closes
	}:
		n = body.n.Load()
	}
	if n != 1 {
		t.Errorf("%s: closed %d times", name, n)
	}
}

// doubled is a file whose Read makes something of it that goes on from one Read to the
// next, as a cipher or a compressor does. Its Seek knows nothing of that.
type doubled struct {
	*os.File
	state byte
}

func (d *doubled) Read(p []byte) (int, error) {
	n, err := d.File.Read(p)
	for i := range p[:n] {
		d.state += p[i] | 1
		p[i] = d.state
	}
	return n, err
}

// stays has a Seek that does nothing.
type stays struct{ io.Reader }

func (stays) Seek(int64, int) (int64, error) { return 0, nil }
func (stays) Close() error                   { return nil }

// TestSeekAnother: what cannot be read again as it was is not sent again, or not to its
// end: no server gets the whole of something else.
func TestSeekAnother(t *testing.T) {
	data := pattern(100_000)
	write := func(off int64, with string) func(*testing.T, io.ReadCloser) {
		return func(t *testing.T, rc io.ReadCloser) {
			t.Helper()
			f := rc.(*os.File)
			if _, err := f.WriteAt([]byte(with), off); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(f.Name(), time.Time{}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(t *testing.T) io.ReadCloser { return tempFile(t, data) }
	for _, tc := range []struct {
		name    string
		body    func(*testing.T) io.ReadCloser
		between func(*testing.T, io.ReadCloser)
		refused bool // there is no second sending at all
	}{
		{"written to", file, write(10, "other"), true},
		{"longer", file, write(100_000, "more"), true},
		{"shorter", file, func(t *testing.T, rc io.ReadCloser) {
			if err := rc.(*os.File).Truncate(1000); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"written to behind its back", func(t *testing.T) io.ReadCloser { return struct{ *os.File }{tempFile(t, data)} },
			func(t *testing.T, rc io.ReadCloser) { write(99_999, "x")(t, rc.(struct{ *os.File }).File) }, false},
		{"longer behind its back", func(t *testing.T) io.ReadCloser { return struct{ *os.File }{tempFile(t, data)} },
			func(t *testing.T, rc io.ReadCloser) { write(100_000, "x")(t, rc.(struct{ *os.File }).File) }, false},
		{"shorter behind its back", func(t *testing.T) io.ReadCloser { return struct{ *os.File }{tempFile(t, data)} },
			func(t *testing.T, rc io.ReadCloser) {
				if err := rc.(struct{ *os.File }).Truncate(1000); err != nil {
					t.Fatal(err)
				}
			}, false},
		{"state that Seek forgets", func(t *testing.T) io.ReadCloser { return &doubled{File: tempFile(t, data)} }, nil, false},
		{"a Seek that does nothing", func(*testing.T) io.ReadCloser { return stays{bytes.NewReader(data)} }, nil, false},
		{"closed by the caller", file, func(_ *testing.T, rc io.ReadCloser) { _ = rc.Close() }, true},
		{"ReadAt of something else", func(*testing.T) io.ReadCloser {
			return readerAt{bytes.NewReader(data), bytes.NewReader(pattern(200_000)[1:]), new(closes)}
		}, nil, true},
		{"a pipe", func(t *testing.T) io.ReadCloser {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = w.Write(data)
				_ = w.Close()
			}()
			return r
		}, nil, true},
	} {
		rc := tc.body(t)
		req := newRequest(t, rc, nil)
		if strings.HasPrefix(tc.name, "ReadAt") {
			req.ContentLength = int64(len(data))
		}
		b := replay.New(req, replay.Options{Limit: -1})
		first := attach(req, b)
		had, err := io.ReadAll(first.Body)
		if err != nil || len(had) != len(data) {
			t.Fatalf("%s: the first sending had %d bytes, error %v", tc.name, len(had), err)
		}
		if tc.between != nil {
			tc.between(t, rc)
		}
		again, ok := b.TakeBack(t.Context())
		if ok == tc.refused {
			t.Errorf("%s: there is a second sending: %v", tc.name, ok)
		}
		if !ok {
			b.HandOver()
			_ = first.Body.Close()
			continue
		}
		second := attach(req, again)
		got, err := io.ReadAll(second.Body)
		if err == nil || len(got) >= len(had) {
			t.Errorf("%s: the second sending has %d of %d bytes, error %v", tc.name, len(got), len(had), err)
		}
		if _, err := second.Body.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: and then goes on, error %v", tc.name, err)
		}
		_ = second.Body.Close()
	}
}

// TestSeekKeepsFirst: of a body that is not known, as much is kept as of others: so a small
// one is sent again even if its Seek is not what it seems.
func TestSeekKeepsFirst(t *testing.T) {
	data := pattern(1000)
	for _, rc := range []io.ReadCloser{stays{bytes.NewReader(data)}, io.NopCloser(struct{ io.ReadSeeker }{bytes.NewReader(data)})} {
		req := newRequest(t, rc, nil)
		b := replay.New(req, replay.Options{Limit: limit})
		_, _ = io.ReadAll(attach(req, b).Body)
		if n := replay.Kept(b); n != len(data) {
			t.Errorf("%T: %d bytes are kept", rc, n)
		}
		again, ok := b.TakeBack(t.Context())
		if !ok {
			t.Fatalf("%T: there is no second sending", rc)
		}
		if got, err := io.ReadAll(attach(req, again).Body); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%T: the second sending has %d bytes, error %v", rc, len(got), err)
		}
	}
	f := tempFile(t, data)
	req := newRequest(t, f, nil)
	b := replay.New(req, replay.Options{Limit: limit})
	_, _ = io.ReadAll(attach(req, b).Body)
	if n := replay.Kept(b); n != 0 {
		t.Errorf("%d bytes of a file are kept", n)
	}
	b.HandOver()
}

// TestExpectAsked: which bodies are asked about, and that a guard is put on these alone.
func TestExpectAsked(t *testing.T) {
	type options = replay.Options
	standard := func(n int) func(*testing.T) *http.Request {
		return func(t *testing.T) *http.Request {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost", bytes.NewReader(pattern(n)))
			if err != nil {
				t.Fatal(err)
			}
			return req
		}
	}
	stream := func(length int64) func(*testing.T) *http.Request {
		return func(t *testing.T) *http.Request {
			req := newRequest(t, watch(t, pattern(10)), nil)
			req.ContentLength = length
			return req
		}
	}
	with := func(name string) func(*testing.T) *http.Request {
		return func(t *testing.T) *http.Request {
			req := standard(1000)(t)
			req.Header[name] = []string{"200-ok"}
			return req
		}
	}
	for _, tc := range []struct {
		name string
		req  func(*testing.T) *http.Request
		o    options
		want bool
	}{
		{"longer, with a GetBody", standard(101), options{ExpectTimeout: 1, ExpectAbove: 100}, true},
		{"as long", standard(100), options{ExpectTimeout: 1, ExpectAbove: 100}, false},
		{"each", standard(1), options{ExpectTimeout: 1, ExpectAbove: -1}, true},
		{"none", standard(1000), options{ExpectTimeout: 1}, false},
		{"the base does not wait", standard(1000), options{ExpectAbove: 100}, false},
		{"longer, a stream", stream(101), options{Limit: limit, ExpectTimeout: 1, ExpectAbove: 100}, true},
		{"unknown length", stream(-1), options{Limit: limit, ExpectTimeout: 1, ExpectAbove: 100}, true},
		{"unknown length, said otherwise", stream(0), options{Limit: limit, ExpectTimeout: 1, ExpectAbove: 100}, true},
		{"shorter, but not kept", stream(50), options{ExpectTimeout: 1, ExpectAbove: 100, ExpectUnkept: true}, true},
		{"shorter, and kept", stream(50), options{Limit: limit, ExpectTimeout: 1, ExpectAbove: 100, ExpectUnkept: true}, false},
		{"longer than is kept, not asked for", stream(50), options{ExpectTimeout: 1, ExpectAbove: 100}, false},
		{"the caller's Expect", with("Expect"), options{ExpectTimeout: 1, ExpectAbove: 100}, false},
		{"the caller's, in its own spelling", with("expect"), options{ExpectTimeout: 1, ExpectAbove: 100}, false},
	} {
		req := tc.req(t)
		b := replay.New(req, tc.o)
		r := attach(req, b)
		if got := r.Header.Get("Expect") == "100-continue"; got != tc.want {
			t.Errorf("%s: asked %v", tc.name, got)
		}
		if tc.want == (r.Body == req.Body) && strings.HasSuffix(tc.name, "GetBody") {
			t.Errorf("%s: guarded %v", tc.name, r.Body != req.Body)
		}
		b.HandOver()
		_ = r.Body.Close()
	}
}

// nobodySeeks has a method Seek, because of what is embedded, and nobody to do it.
type nobodySeeks struct {
	io.Reader
	io.Seeker
	*closes
}

func TestNilSeeker(t *testing.T) {
	req, err := http.NewRequest(http.MethodPost, "https://api.example.com/", nobodySeeks{strings.NewReader("body"), nil, new(closes)})
	if err != nil {
		t.Fatal(err)
	}
	b := replay.New(req, replay.Options{Limit: 1})
	r := req.Clone(t.Context())
	b.Attach(r)
	if got, err := io.ReadAll(r.Body); string(got) != "body" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, ok := b.TakeBack(t.Context()); ok {
		t.Error("sent again, longer than what is kept")
	}
	b.HandOver()
}
