package aside_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/aside"
)

// body counts what is read of it, and is closed once.
type body struct {
	io.Reader
	read   atomic.Int64
	closed atomic.Int32
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func (b *body) Close() error { b.closed.Add(1); return nil }

var errBroken = errors.New("broken")

// TestPut: what comes out is the same to the byte, ends as it did, and most of it was
// read before anybody asked.
func TestPut(t *testing.T) {
	for _, size := range []int{0, 1, 511, aside.Most - 1, aside.Most, aside.Most + 1, 3 * aside.Most} {
		for _, end := range []error{io.EOF, errBroken} {
			synctest.Test(t, func(t *testing.T) {
				want := bytes.Repeat([]byte("x"), size)
				for i := range want {
					want[i] = byte(i * 7)
				}
				b := &body{Reader: io.MultiReader(bytes.NewReader(want), iotest.ErrReader(end))}
				put := aside.Put(b)
				synctest.Wait()
				if got := b.read.Load(); got != int64(min(size, aside.Most)) {
					t.Errorf("%d bytes of %d were read", got, size)
				}
				got, err := io.ReadAll(put)
				if end == io.EOF {
					end = nil
				}
				if !bytes.Equal(got, want) || !errors.Is(err, end) {
					t.Errorf("%d bytes and %v came out of %d and %v", len(got), err, size, end)
				}
				if err := put.Close(); err != nil || b.closed.Load() != 1 {
					t.Errorf("Close: %v; closed %d times", err, b.closed.Load())
				}
			})
		}
	}
	if aside.Put(http.NoBody) != http.NoBody || aside.Put(nil) != nil {
		t.Error("nothing was put aside")
	}
}

// TestPutStream: what has come is handed out, and not kept until there is more.
func TestPutStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		put := aside.Put(r)
		for _, word := range []string{"first", "second"} {
			go func() { _, _ = io.WriteString(w, word) }()
			got := make([]byte, 2*aside.Most)
			n, err := put.Read(got)
			if string(got[:n]) != word || err != nil {
				t.Errorf("%q, %v; want %q", got[:n], err, word)
			}
		}
		if err := put.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPutBreaks: a Read that panics, or ends its goroutine, does so to who reads, and not to the
// process. What came before it comes first.
func TestPutBreaks(t *testing.T) {
	for name, breaks := range map[string]func(){"panic": func() { panic("planted") }, "Goexit": runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			put := aside.Put(io.NopCloser(io.MultiReader(strings.NewReader("begun"), reader(func([]byte) (int, error) {
				breaks()
				return 0, nil
			}))))
			synctest.Wait()
			var got strings.Builder
			var value any
			done := make(chan bool)
			go func() {
				defer close(done)
				defer func() { value = recover() }()
				_, _ = io.Copy(&got, put)
				t.Errorf("%s: io.Copy returned", name)
			}()
			<-done
			if got.String() != "begun" || (value == any("planted")) != (name == "panic") {
				t.Errorf("%s: %q, then %v", name, &got, value)
			}
		})
	}
}

// reader is a function as an io.Reader.
type reader func([]byte) (int, error)

func (f reader) Read(p []byte) (int, error) { return f(p) }

// TestPutClose: Close ends a reading that hangs, and with it the goroutine. (The bubble
// checks that.)
func TestPutClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		put := aside.Put(r)
		if _, err := w.Write([]byte("begun")); err != nil {
			t.Fatal(err)
		}
		if err := put.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if _, err := io.ReadAll(put); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("error %v", err)
		}
	})
}
