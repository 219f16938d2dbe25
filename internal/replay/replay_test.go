package replay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/replay"
)

const limit = 1 << 20

// watched is a body that complains about two readers at a time, and about a Read after its
// Close.
type watched struct {
	t      *testing.T
	r      *bytes.Reader
	busy   atomic.Bool
	closed atomic.Int32
}

func watch(t *testing.T, data []byte) *watched { return &watched{t: t, r: bytes.NewReader(data)} }

func (b *watched) Read(p []byte) (int, error) {
	if !b.busy.CompareAndSwap(false, true) {
		b.t.Error("two sendings read one body")
	}
	defer b.busy.Store(false)
	if b.closed.Load() > 0 {
		b.t.Error("the body is read after its Close")
	}
	return b.r.Read(p)
}

func (b *watched) Close() error {
	b.closed.Add(1)
	return nil
}

func (b *watched) rewind() (io.ReadCloser, error) {
	if b.busy.Load() {
		b.t.Error("GetBody is called while the body is being read")
	}
	_, err := b.r.Seek(0, io.SeekStart)
	return b, err
}

func (b *watched) wantClosed(t *testing.T, n int32) {
	t.Helper()
	if got := b.closed.Load(); got != n {
		t.Errorf("the body was closed %d times, want %d", got, n)
	}
}

func newRequest(t *testing.T, body io.ReadCloser, getBody func() (io.ReadCloser, error)) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Body, req.GetBody, req.ContentLength = body, getBody, -1
	return req
}

// attach returns the request that a sending of b is made with.
func attach(req *http.Request, b replay.Body) *http.Request {
	r := req.Clone(req.Context())
	b.Attach(r)
	return r
}

func pattern(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 7)
	}
	return data
}

// TestTakeBack: the first sending reads at its own pace while it is cut off, and the second
// has the whole body, whatever the first had read. One body serves both.
func TestTakeBack(t *testing.T) {
	data := pattern(100_000)
	dir := t.TempDir()
	for _, mode := range []string{"kept", "GetBody", "spooled", "seeks"} {
		for range 200 {
			body := watch(t, data)
			req := newRequest(t, body, nil)
			o := replay.Options{Limit: limit}
			switch mode {
			case "GetBody":
				req.GetBody = body.rewind
			case "spooled":
				o = replay.Options{Limit: 10_000, SpoolDir: dir, MaxSpool: limit}
			case "seeks":
				o.Limit = 10_000
				req.Body = seeks{body}
			}
			b := replay.New(req, o)
			first := attach(req, b)
			var reader sync.WaitGroup
			begun := make(chan struct{})
			stop := rand.IntN(40)
			reader.Go(func() {
				p := make([]byte, 1+rand.IntN(4096))
				for i := 0; ; i++ {
					if i == stop {
						close(begun)
					}
					if _, err := first.Body.Read(p); err != nil {
						if i < stop {
							close(begun)
						}
						break
					}
				}
				_ = first.Body.Close()
			})
			<-begun
			again, ok := b.TakeBack(t.Context())
			if !ok {
				t.Fatalf("%s: there is no second sending", mode)
			}
			second := attach(req, again)
			got, err := io.ReadAll(second.Body)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%s: the second sending has %d bytes, error %v, the same: %v", mode, len(got), err, bytes.Equal(got, data))
			}
			if err := second.Body.Close(); err != nil {
				t.Error(err)
			}
			reader.Wait()
			body.wantClosed(t, 1)
		}
	}
	wantEmpty(t, "afterwards", dir)
}

// seeks is a watched body that can seek.
type seeks struct{ *watched }

func (b seeks) Seek(offset int64, whence int) (int64, error) {
	if b.busy.Load() {
		b.t.Error("Seek is called while the body is being read")
	}
	return b.r.Seek(offset, whence)
}

// TestPendingRead: a Read that waits when the body is taken back is handed on. What it
// brings goes to the second sending, once, in its place.
func TestPendingRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		req := newRequest(t, r, nil)
		b := replay.New(req, replay.Options{Limit: limit})
		first := attach(req, b)
		ended := make(chan error, 1)
		go func() {
			for {
				if _, err := first.Body.Read(make([]byte, 4)); err != nil {
					ended <- err
					return
				}
			}
		}()
		_, _ = io.WriteString(w, "one, ")
		synctest.Wait() // the next Read waits
		again, ok := b.TakeBack(t.Context())
		if !ok || !again.Busy() {
			t.Fatalf("there is a second sending: %v; a Read is at work: %v", ok, again.Busy())
		}
		second := attach(req, again)
		begin := make([]byte, 5) // which is not held back: the server may wait for it
		if n, err := second.Body.Read(nil); n != 0 || err != nil {
			t.Errorf("a Read of no bytes: %d, error %v", n, err)
		}
		if _, err := io.ReadFull(second.Body, begin); err != nil {
			t.Error(err)
		}
		got := make(chan string, 1)
		go func() {
			data, err := io.ReadAll(second.Body)
			if err != nil {
				t.Error(err)
			}
			got <- string(data)
		}()
		synctest.Wait() // it waits for that Read
		_, _ = io.WriteString(w, "two, ")
		_, _ = io.WriteString(w, "three")
		_ = w.Close()
		if s := string(begin) + <-got; s != "one, two, three" {
			t.Errorf("the second sending has %q", s)
		}
		if err := <-ended; err == nil || err == io.EOF {
			t.Errorf("the first sending ended with %v, want an error: it is not whole", err)
		}
		if again.Busy() {
			t.Error("a Read is at work")
		}
	})
}

// TestPendingReadFails: so does how it ends.
func TestPendingReadFails(t *testing.T) {
	broken := errors.New("the disk is gone")
	for _, end := range []error{nil, broken} {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			req := newRequest(t, r, nil)
			b := replay.New(req, replay.Options{Limit: limit})
			first := attach(req, b)
			go func() { _, _ = first.Body.Read(make([]byte, 4)) }()
			synctest.Wait()
			again, _ := b.TakeBack(t.Context())
			_ = w.CloseWithError(end)
			data, err := io.ReadAll(attach(req, again).Body)
			if len(data) > 0 || !errors.Is(err, end) {
				t.Errorf("%d bytes, error %v; want %v", len(data), err, end)
			}
		})
	}
}

// TestPendingReadCancelled: the Close of the second sending ends the Read that was handed
// on to it.
func TestPendingReadCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := io.Pipe()
		req := newRequest(t, r, nil)
		b := replay.New(req, replay.Options{Limit: limit})
		first := attach(req, b)
		go func() { _, _ = first.Body.Read(make([]byte, 4)) }()
		synctest.Wait()
		again, _ := b.TakeBack(t.Context())
		second := attach(req, again)
		ended := make(chan error, 1)
		go func() { _, err := second.Body.Read(make([]byte, 4)); ended <- err }()
		synctest.Wait()
		_ = second.Body.Close()
		if err := <-ended; err == nil {
			t.Error("a Read of a closed body succeeded")
		}
	})
}

// stuck is a body whose Read waits.
type stuck struct {
	wait   chan struct{}
	closed atomic.Int32
}

func (b *stuck) Read(p []byte) (int, error) { <-b.wait; return copy(p, "late"), io.EOF }
func (b *stuck) Close() error               { b.closed.Add(1); return nil }

// TestGetBodyWaits: GetBody is not called while a Read is at work. If that does not end, the
// first sending goes on as if nothing had been.
func TestGetBodyWaits(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ends  time.Duration // when the Read does
		leave time.Duration // when the request's context ends
		want  bool
		after time.Duration
	}{
		{"soon", time.Second, time.Hour, true, time.Second},
		{"too late", time.Hour, time.Hour, false, 5 * time.Second},
		{"cancelled", time.Hour, time.Second, false, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := &stuck{wait: make(chan struct{})}
				req := newRequest(t, body, func() (io.ReadCloser, error) {
					select {
					case <-body.wait:
					default:
						t.Error("GetBody is called while the body is being read")
					}
					return io.NopCloser(strings.NewReader("again")), nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), tc.leave)
				defer cancel()
				b := replay.New(req, replay.Options{Limit: limit})
				first := attach(req, b)
				read := make(chan string, 1)
				go func() {
					p := make([]byte, 10)
					n, _ := first.Body.Read(p)
					read <- string(p[:n])
				}()
				time.AfterFunc(tc.ends, func() { close(body.wait) })
				synctest.Wait()
				began := time.Now()
				again, ok := b.TakeBack(ctx)
				if took := time.Since(began); ok != tc.want || took != tc.after {
					t.Fatalf("a second sending: %v, after %v", ok, took)
				}
				want := "late"
				if ok {
					want = "" // nobody may have it: it was not kept
					if data, err := io.ReadAll(attach(req, again).Body); string(data) != "again" || err != nil {
						t.Errorf("the second sending has %q, error %v", data, err)
					}
					again.Close()
				} else {
					b.HandOver()
				}
				if got := <-read; got != want {
					t.Errorf("the first sending has %q, want %q", got, want)
				}
				_ = first.Body.Close()
				if n := body.closed.Load(); n != 1 {
					t.Errorf("the body was closed %d times", n)
				}
			})
		})
	}
}

// TestRepeat: net/http may ask for the body again by itself, in either sending. That, too,
// cuts off whoever reads it, and what is over cannot ask any more.
func TestRepeat(t *testing.T) {
	data := pattern(10_000)
	body := watch(t, data)
	req := newRequest(t, body, body.rewind)
	b := replay.New(req, replay.Options{Limit: limit})
	first := attach(req, b)
	third := func(r *http.Request) {
		t.Helper()
		for range 2 {
			old := r.Body
			if _, err := io.ReadFull(old, make([]byte, 3000)); err != nil {
				t.Fatal(err)
			}
			next, err := r.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := old.Read(make([]byte, 1)); err == nil {
				t.Error("a sending that is over reads on")
			}
			if err := old.Close(); err != nil {
				t.Error(err)
			}
			r.Body = next
		}
		if got, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
	}
	third(first)
	_ = first.Body.Close()
	body.wantClosed(t, 0)
	again, ok := b.TakeBack(t.Context())
	if !ok {
		t.Fatal("there is no second sending")
	}
	if _, err := first.GetBody(); err == nil {
		t.Error("the first sending can be repeated, although it is over")
	}
	second := attach(req, again)
	third(second)
	_ = second.Body.Close()
	body.wantClosed(t, 1)
}

// TestClosedOnce: whatever becomes of a request, each of its bodies is closed once.
func TestClosedOnce(t *testing.T) {
	data := pattern(100)
	for _, read := range []int{0, 50, 100} {
		for _, closeFirst := range []bool{false, true} { // before it is decided
			for _, end := range []string{"handed over", "sent again", "given up", "cannot be had again"} {
				for _, mode := range []string{"kept", "rewound", "another"} {
					body, other := watch(t, data), watch(t, data)
					req := newRequest(t, body, nil)
					switch mode {
					case "rewound":
						req.GetBody = body.rewind
					case "another":
						req.GetBody = func() (io.ReadCloser, error) { return other, nil }
					}
					o := replay.Options{Limit: limit}
					if end == "cannot be had again" {
						o.Limit = -1
						if mode != "kept" {
							req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
						}
					}
					b := replay.New(req, o)
					first := attach(req, b)
					_, _ = io.ReadFull(first.Body, make([]byte, read))
					if closeFirst {
						_ = first.Body.Close()
					}
					again, ok := replay.Body{}, false
					if end != "handed over" {
						again, ok = b.TakeBack(t.Context())
					}
					used := ok && mode == "another"
					switch {
					case !ok:
						b.HandOver()
					case end == "given up":
						again.Close()
					default:
						second := attach(req, again)
						if got, err := io.ReadAll(second.Body); err != nil || !bytes.Equal(got, data) {
							t.Errorf("%s, %s after %d bytes: %d bytes, error %v", mode, end, read, len(got), err)
						}
						_ = second.Body.Close()
					}
					if !closeFirst {
						_ = first.Body.Close()
					}
					_ = first.Body.Close()
					if n := body.closed.Load(); n != 1 {
						t.Errorf("%s, %s after %d bytes, closed before %v: closed %d times", mode, end, read, closeFirst, n)
					}
					if n := other.closed.Load(); used != (n == 1) || n > 1 {
						t.Errorf("%s, %s: GetBody's body was closed %d times", mode, end, n)
					}
				}
			}
		}
	}
}

// TestStandard: what http.NewRequest made is not touched, as it costs something to guard
// it and each body that its GetBody gives has a cursor of its own. If this fails with a new
// release of Go nothing is wrong but the speed.
func TestStandard(t *testing.T) {
	for _, body := range []io.Reader{strings.NewReader("body"), bytes.NewReader([]byte("body")), bytes.NewBufferString("body")} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost", body)
		if err != nil {
			t.Fatal(err)
		}
		b := replay.New(req, replay.Options{Limit: limit})
		if r := attach(req, b); r.Body != req.Body {
			t.Errorf("%T: the body is guarded", body)
		}
		_, _ = io.ReadAll(req.Body)
		again, ok := b.TakeBack(t.Context())
		if !ok {
			t.Fatalf("%T: there is no second sending", body)
		}
		if got, err := io.ReadAll(attach(req, again).Body); string(got) != "body" || err != nil {
			t.Errorf("%T: the second sending has %q, error %v", body, got, err)
		}
		if n := testing.AllocsPerRun(100, func() { replay.New(req, replay.Options{Limit: limit}).HandOver() }); n != 0 {
			t.Errorf("%T: %v allocations", body, n)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost", nil)
	b := replay.New(req, replay.Options{Limit: limit})
	if again, ok := b.TakeBack(t.Context()); !ok || attach(req, again).Body != nil {
		t.Error("a request without a body cannot be sent again as it was")
	}
}

// TestKept: a copy is kept up to the limit, and no longer than it may be needed: a
// streaming answer would hold it for hours.
func TestKept(t *testing.T) {
	for _, tc := range []struct {
		size, limit int
		want        int
	}{{100, 100, 100}, {101, 100, 0}, {100, -1, 0}, {100, 1000, 100}} {
		req := newRequest(t, watch(t, pattern(tc.size)), nil)
		b := replay.New(req, replay.Options{Limit: int64(tc.limit)})
		_, _ = io.ReadAll(attach(req, b).Body)
		if got := replay.Kept(b); got != tc.want {
			t.Errorf("%d bytes, limit %d: %d are kept, want %d", tc.size, tc.limit, got, tc.want)
		}
		if tc.want > 0 {
			if _, ok := b.TakeBack(t.Context()); !ok {
				t.Errorf("%d bytes, limit %d: there is no second sending", tc.size, tc.limit)
			}
			continue
		}
		if _, ok := b.TakeBack(t.Context()); ok {
			t.Errorf("%d bytes, limit %d: there is a second sending", tc.size, tc.limit)
		}
	}

	req := newRequest(t, watch(t, pattern(100)), nil)
	b := replay.New(req, replay.Options{Limit: limit})
	r := attach(req, b)
	_, _ = io.ReadFull(r.Body, make([]byte, 50))
	b.HandOver()
	if n := replay.Kept(b); n != 0 {
		t.Errorf("%d bytes are kept of a body that is not sent again", n)
	}
	_, _ = io.ReadAll(r.Body)
	if n := replay.Kept(b); n != 0 {
		t.Errorf("%d bytes are kept of a body that is not sent again", n)
	}

	req = newRequest(t, watch(t, pattern(100)), nil)
	b = replay.New(req, replay.Options{Limit: limit})
	_, _ = io.ReadAll(attach(req, b).Body)
	again, _ := b.TakeBack(t.Context())
	_, _ = io.ReadAll(attach(req, again).Body)
	if n := replay.Kept(b); n != 0 {
		t.Errorf("%d bytes are kept of a body that was sent again", n)
	}
}
