package peek_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/peek"
)

// counted is a body that counts, and can be closed while it is read.
type counted struct {
	io.Reader
	closer io.Closer // nil: nothing
	read   atomic.Int32
	closed atomic.Int32
}

func (c *counted) Read(p []byte) (int, error) {
	c.read.Add(1)
	return c.Reader.Read(p)
}

func (c *counted) Close() error {
	c.closed.Add(1)
	if c.closer != nil {
		return c.closer.Close()
	}
	return nil
}

func answer(t *testing.T, body io.ReadCloser, encoding ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Response{Request: req, StatusCode: 200, Body: body, Header: http.Header{"Content-Encoding": encoding}}
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var errBroken = errors.New("the connection is gone")

// TestAt: what a peek shows, and that all of the body follows, errors in their place.
func TestAt(t *testing.T) {
	const text = `{"ok":false,"error":"token_expired"}`
	long := strings.Repeat(text, 10_000)
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for _, tc := range []struct {
		name     string
		body     string
		encoding []string
		most     int
		want     string
	}{
		{"all of it", text, nil, 100, text},
		{"a part", text, nil, 10, text[:10]},
		{"exactly", text, nil, len(text), text},
		{"a part of much", long, nil, 5000, long[:5000]},
		{"more than may be", strings.Repeat("x", peek.Most+10), nil, peek.Most + 5, strings.Repeat("x", peek.Most)},
		{"nothing there", "", nil, 100, ""},
		{"nothing wanted", text, nil, 0, ""},
		{"less than nothing", text, nil, -1, ""},
		{"identity", text, []string{"identity"}, 100, text},
		{"gzip", zipped(t, text), []string{"gzip"}, 100, text},
		{"gzip, in its old name", zipped(t, text), []string{" X-GZIP"}, 100, text},
		{"gzip, a part", zipped(t, string(noise)), []string{"gzip"}, 5000, string(noise[:4096])},
		{"gzip, that says much", zipped(t, strings.Repeat("x", 10<<20)), []string{"gzip"}, 50, ""},
		{"no gzip, though it says so", text, []string{"gzip"}, 100, ""},
		{"br", text, []string{"br"}, 100, ""},
		{"two encodings", text, []string{"gzip, br"}, 100, ""},
		{"two fields", text, []string{"gzip", "br"}, 100, ""},
	} {
		for name, reader := range map[string]func(io.Reader) io.Reader{
			"at once":          func(r io.Reader) io.Reader { return r },
			"byte by byte":     iotest.OneByteReader,
			"with its end":     iotest.DataErrReader,
			"and then no more": func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(errBroken)) },
		} {
			if name == "byte by byte" && len(tc.body) > 10_000 {
				continue
			}
			body := &counted{Reader: reader(strings.NewReader(tc.body))}
			resp := answer(t, body, tc.encoding...)
			got := string(peek.At(resp, tc.most, time.Minute))
			if tc.name == "gzip, a part" {
				if got == "" || !strings.HasPrefix(string(noise), got) {
					t.Errorf("%s, %s: %d bytes", tc.name, name, len(got))
				}
			} else if tc.name == "gzip, that says much" {
				if len(got) > 50 || strings.Trim(got, "x") != "" {
					t.Errorf("%s, %s: %d bytes", tc.name, name, len(got))
				}
			} else if got != tc.want {
				t.Errorf("%s, %s: %.100q, want %.100q", tc.name, name, got, tc.want)
			}
			if again := string(peek.At(resp, tc.most, time.Minute)); again != got {
				t.Errorf("%s, %s: another peek shows %.100q", tc.name, name, again)
			}
			var want error
			if name == "and then no more" {
				want = errBroken
			}
			whole, err := io.ReadAll(resp.Body)
			if string(whole) != tc.body || !errors.Is(err, want) {
				t.Errorf("%s, %s: then %d bytes of %d, error %v", tc.name, name, len(whole), len(tc.body), err)
			}
			if n := body.closed.Load(); n != 0 {
				t.Errorf("%s: closed %d times before Close", tc.name, n)
			}
			if err := resp.Body.Close(); err != nil || body.closed.Load() != 1 {
				t.Errorf("%s: closed %d times, error %v", tc.name, body.closed.Load(), err)
			}
			if n, err := resp.Body.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Errorf("%s: %d bytes after Close, error %v", tc.name, n, err)
			}
		}
	}
}

// TestAtNothing: answers that are not read from at all.
func TestAtNothing(t *testing.T) {
	both := struct {
		io.Reader
		io.Writer
		io.Closer
	}{iotest.ErrReader(errBroken), io.Discard, io.NopCloser(nil)}
	for name, resp := range map[string]*http.Response{
		"NoBody":   {Body: http.NoBody},
		"no body":  {},
		"switched": {StatusCode: 101, Body: both},
	} {
		body := resp.Body
		if got := peek.At(resp, 100, time.Minute); got != nil || resp.Body != body {
			t.Errorf("%s: %q, the same body: %v", name, got, resp.Body == body)
		}
	}
	for _, most := range []int{0, -1} {
		body := &counted{Reader: iotest.ErrReader(errBroken)}
		resp := answer(t, body)
		if got := peek.At(resp, most, time.Minute); got != nil || resp.Body != body || body.read.Load() != 0 {
			t.Errorf("%d bytes: %q, the same body: %v", most, got, resp.Body == body)
		}
	}
}

// TestAtTakesNoMore: a peek takes from the connection what it shows and no more, in however many
// pieces that comes.
func TestAtTakesNoMore(t *testing.T) {
	const text = "one two three four"
	for _, most := range []int{1, 5, 8, len(text)} {
		from := strings.NewReader(text)
		resp := answer(t, &counted{Reader: iotest.HalfReader(from)})
		if got := string(peek.At(resp, most, time.Minute)); got != text[:most] || from.Len() != len(text)-most {
			t.Errorf("%d bytes: %q, and %d were taken", most, got, len(text)-from.Len())
		}
	}
}

// TestAtMore: a second peek shows more, and one after a part was read what follows.
func TestAtMore(t *testing.T) {
	resp := answer(t, &counted{Reader: strings.NewReader("one two three four")})
	for _, most := range []int{3, 2, 7, 7} {
		if got := string(peek.At(resp, most, time.Minute)); got != "one two three four"[:most] {
			t.Errorf("%d bytes: %q", most, got)
		}
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if got := string(peek.At(resp, 5, time.Minute)); got != "two t" {
		t.Errorf("after four bytes: %q", got)
	}
	if rest, err := io.ReadAll(resp.Body); string(rest) != "two three four" || err != nil {
		t.Errorf("then %q, error %v", rest, err)
	}
}

// TestAtStream: a body that says nothing holds up a peek for its time and no longer, or for
// as long as the request's context lasts. What it says later comes to its reader, whole.
func TestAtStream(t *testing.T) {
	for _, cancelled := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			body := &counted{Reader: r, closer: r}
			resp := answer(t, body)
			want := 3 * time.Second
			if cancelled {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				resp.Request, want = resp.Request.WithContext(ctx), time.Second
			}
			go func() {
				_, _ = io.WriteString(w, "one ")
				time.Sleep(time.Hour)
				_, _ = io.WriteString(w, "two ")
				time.Sleep(time.Hour)
				_, _ = io.WriteString(w, "three")
				_ = w.CloseWithError(errBroken)
			}()
			began := time.Now()
			if got := string(peek.At(resp, 100, 3*time.Second)); got != "one " || time.Since(began) != want {
				t.Errorf("%q after %v", got, time.Since(began))
			}
			if cancelled {
				_ = resp.Body.Close()
				time.Sleep(3 * time.Hour) // until the writer is done
				return
			}
			time.Sleep(90 * time.Minute)
			if got := string(peek.At(resp, 6, time.Second)); got != "one tw" {
				t.Errorf("later %q", got)
			}
			if n := body.read.Load(); n != 2 {
				t.Errorf("%d Reads, want one for each peek that waited", n)
			}
			got, err := io.ReadAll(resp.Body)
			if string(got) != "one two three" || !errors.Is(err, errBroken) {
				t.Errorf("the reader has %q, error %v", got, err)
			}
			_ = resp.Body.Close()
		})
	}
}

// TestAtClose: Close ends a Read that a peek left behind, and whoever waits for it; the
// bubble ends only if nothing is at work.
func TestAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, during := range []bool{false, true} {
			r, w := io.Pipe()
			body := &counted{Reader: r, closer: r}
			resp := answer(t, body)
			_ = peek.At(resp, 1, time.Second)
			time.AfterFunc(time.Second, func() { _ = resp.Body.Close() })
			if during {
				if got := peek.At(resp, 100, time.Minute); len(got) > 0 {
					t.Errorf("%q of nothing", got)
				}
			}
			if n, err := resp.Body.Read(make([]byte, 10)); n > 0 || err == nil {
				t.Errorf("%d bytes, error %v", n, err)
			}
			synctest.Wait()
			if n := body.closed.Load(); n != 1 {
				t.Errorf("closed %d times", n)
			}
			_ = w.Close()
		}
	})
}

type explosive struct{ io.Reader }

func (e explosive) Read(p []byte) (int, error) {
	if n, err := e.Reader.Read(p); err == nil {
		return n, nil
	}
	panic("planted")
}

// TestAtPanic: a body that panics does so in the hands of who reads it, as without a peek.
func TestAtPanic(t *testing.T) {
	resp := answer(t, &counted{Reader: explosive{strings.NewReader("text")}})
	if got := string(peek.At(resp, 100, time.Minute)); got != "text" {
		t.Errorf("%q", got)
	}
	if got, err := io.ReadAll(io.LimitReader(resp.Body, 4)); string(got) != "text" || err != nil {
		t.Errorf("%q, error %v", got, err)
	}
	defer func() {
		if v := recover(); v != "planted" {
			t.Errorf("the panic is %v", v)
		}
	}()
	_, _ = resp.Body.Read(make([]byte, 1))
	t.Error("there is no panic")
}

// TestAtAnyPace: peeks and Reads of any size, in any order, over a body that comes in any
// pieces, change nothing of it.
func TestAtAnyPace(t *testing.T) {
	data := make([]byte, 20_000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	synctest.Test(t, func(t *testing.T) {
		for range 20 {
			r, w := io.Pipe()
			resp := answer(t, r)
			go func() {
				for rest := data; len(rest) > 0; {
					n := min(len(rest), 1+rand.IntN(3000))
					_, _ = w.Write(rest[:n])
					rest = rest[n:]
					time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
				}
				_ = w.Close()
			}()
			at := 0
			for {
				most := rand.IntN(5000)
				got := peek.At(resp, most, time.Duration(rand.IntN(30))*time.Millisecond)
				if len(got) > most || !bytes.HasPrefix(data[at:], got) {
					t.Fatalf("at %d a peek shows something else", at)
				}
				p := make([]byte, 1+rand.IntN(3000))
				n, err := resp.Body.Read(p)
				if !bytes.HasPrefix(data[at:], p[:n]) {
					t.Fatalf("at %d a Read brings something else", at)
				}
				if at += n; err != nil {
					break
				}
			}
			if at != len(data) {
				t.Errorf("%d bytes of %d", at, len(data))
			}
			_ = resp.Body.Close()
		}
	})
}

// exits is a body whose Read ends its goroutine, as that of a test does which fails there.
type exits struct{}

func (exits) Read([]byte) (int, error) {
	runtime.Goexit()
	return 0, nil
}

func (exits) Close() error { return nil }

func TestReadThatExits(t *testing.T) {
	resp := &http.Response{Body: exits{}, Header: http.Header{}}
	if got := peek.At(resp, 10, time.Minute); len(got) != 0 {
		t.Errorf("%q", got)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = resp.Body.Read(make([]byte, 1))
		t.Error("the next Read came back")
	}()
	<-ended
}
