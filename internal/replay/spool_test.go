package replay_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/replay"
)

// openIn returns the modes of the files in dir that this process has open, by what the
// system says.
func openIn(t *testing.T, dir string) (modes []os.FileMode) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return nil
	}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		name := filepath.Join("/proc/self/fd", e.Name())
		if to, err := os.Readlink(name); err == nil && strings.HasPrefix(to, dir+"/") {
			if info, err := os.Stat(name); err == nil {
				modes = append(modes, info.Mode())
			}
		}
	}
	return modes
}

func wantEmpty(t *testing.T, when, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) > 0 {
		t.Errorf("%s: %v is left in the directory, error %v", when, list, err)
	}
	if modes := openIn(t, dir); len(modes) > 0 {
		t.Errorf("%s: %d files are left open", when, len(modes))
	}
}

// TestSpool: what is longer than is kept in memory is kept in a file, up to its own limit,
// and the file is gone whatever becomes of the request.
func TestSpool(t *testing.T) {
	const keep, most = 1000, 50_000
	for _, tc := range []struct {
		name       string
		size, read int
		again      bool // there is a second sending
		file       bool // something is in a file
	}{
		{"unread", 100_000, 0, true, false},
		{"small", 1000, 1000, true, false},
		{"longer than is kept", 1001, 1001, true, true},
		{"as long as may be", 50_000, 50_001, true, true},
		{"partly read", 200_000, 50_000, true, true},
		{"too long", 50_001, 50_001, false, false},
	} {
		for _, end := range []string{"handed over", "sent again", "sent again in part", "given up"} {
			dir := t.TempDir()
			data := pattern(tc.size)
			body := watch(t, data)
			req := newRequest(t, body, nil)
			b := replay.New(req, replay.Options{Limit: keep, SpoolDir: dir, MaxSpool: most})
			first := attach(req, b)
			_, _ = io.ReadFull(iotest.HalfReader(first.Body), make([]byte, tc.read))
			_ = first.Body.Close()
			modes := openIn(t, dir)
			if runtime.GOOS == "linux" && len(modes) > 0 != tc.file {
				t.Errorf("%s: %d files are open", tc.name, len(modes))
			}
			for _, m := range modes {
				if m.Perm() != 0o600 {
					t.Errorf("%s: the file's mode is %v", tc.name, m)
				}
			}
			if tc.file && replay.Kept(b) > 0 {
				t.Errorf("%s: %d bytes are kept in memory too", tc.name, replay.Kept(b))
			}
			again, ok := replay.Body{}, false
			if end != "handed over" {
				if again, ok = b.TakeBack(t.Context()); ok != tc.again {
					t.Errorf("%s: there is a second sending: %v", tc.name, ok)
				}
			}
			switch {
			case !ok:
				b.HandOver()
			case end == "given up":
				again.Close()
			default:
				second := attach(req, again)
				want := data
				if end == "sent again in part" {
					want = data[:len(data)/3]
				}
				got := make([]byte, len(want))
				if n, err := io.ReadFull(second.Body, got); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, error %v, the same: %v", tc.name, n, err, bytes.Equal(got, want))
				}
				if n, err := io.Copy(io.Discard, second.Body); end == "sent again" && (n > 0 || err != nil) {
					t.Errorf("%s: %d bytes too many, error %v", tc.name, n, err)
				}
				_ = second.Body.Close()
			}
			wantEmpty(t, tc.name+", "+end, dir)
			body.wantClosed(t, 1)
		}
	}
}

// TestSpoolFails: a file that cannot be written costs the second sending, and nothing else.
func TestSpoolFails(t *testing.T) {
	for _, dir := range []string{filepath.Join(t.TempDir(), "is not there"), os.DevNull} {
		data := pattern(10_000)
		req := newRequest(t, watch(t, data), nil)
		b := replay.New(req, replay.Options{Limit: 10, SpoolDir: dir, MaxSpool: limit})
		if got, err := io.ReadAll(attach(req, b).Body); err != nil || !bytes.Equal(got, data) {
			t.Errorf("the first sending has %d bytes, error %v", len(got), err)
		}
		if _, ok := b.TakeBack(t.Context()); ok {
			t.Error("there is a second sending")
		}
		b.HandOver()
	}
}

// explosive is a body that panics when some of it was read.
type explosive struct{ *watched }

func (e explosive) Read(p []byte) (int, error) {
	if e.r.Len() == 0 {
		panic("planted")
	}
	return e.watched.Read(p)
}

// TestSpoolPanic: the file is gone too if the body panics, in either sending.
func TestSpoolPanic(t *testing.T) {
	for _, again := range []bool{false, true} {
		dir := t.TempDir()
		body := explosive{watch(t, pattern(10_000))}
		req := newRequest(t, body, nil)
		b := replay.New(req, replay.Options{Limit: 10, SpoolDir: dir, MaxSpool: limit})
		sent := attach(req, b)
		if again {
			skip(t, sent.Body, 5000)
			next, ok := b.TakeBack(t.Context())
			if !ok {
				t.Fatal("there is no second sending")
			}
			sent = attach(req, next)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is hidden")
				}
			}()
			_, _ = io.ReadAll(sent.Body)
		}()
		wantEmpty(t, "after a panic", dir)
		if !again {
			if _, ok := b.TakeBack(t.Context()); ok {
				t.Error("there is a second sending")
			}
			b.HandOver()
		}
		_ = sent.Body.Close()
		body.wantClosed(t, 1)
	}
}

// TestSpoolPending: a Read that waits when the body is taken back is handed on behind what
// is in the file, which is sent before it ends.
func TestSpoolPending(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		req := newRequest(t, r, nil)
		b := replay.New(req, replay.Options{Limit: 2, SpoolDir: dir, MaxSpool: limit})
		first := attach(req, b)
		ended := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, first.Body)
			close(ended)
		}()
		_, _ = io.WriteString(w, "one two")
		synctest.Wait() // the next Read waits
		again, ok := b.TakeBack(t.Context())
		if !ok || !again.Busy() {
			t.Fatalf("a second sending: %v, a Read at work: %v", ok, again.Busy())
		}
		second := attach(req, again)
		p := make([]byte, 7)
		if _, err := io.ReadFull(second.Body, p); err != nil || string(p) != "one two" {
			t.Fatalf("the second sending begins with %q, error %v", p, err)
		}
		go func() {
			_, _ = io.WriteString(w, " three")
			_, _ = io.WriteString(w, " four")
			_ = w.Close()
		}()
		rest, err := io.ReadAll(second.Body)
		if err != nil || string(rest) != " three four" {
			t.Errorf("and goes on with %q, error %v", rest, err)
		}
		<-ended
		_ = second.Body.Close()
	})
	wantEmpty(t, "after a Read that was handed on", dir)
}

// TestSpoolUnwanted: without a directory nothing is written anywhere, whatever the limits say;
// nor is a body that can seek, which is read again instead.
func TestSpoolUnwanted(t *testing.T) {
	data := pattern(10_000)
	temp := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP"} { // where a file goes whose directory is not said
		t.Setenv(name, temp)
	}
	for _, tc := range []struct {
		name string
		body io.ReadCloser
		dir  string
		want bool // there is a second sending
	}{
		{"no directory", watch(t, data), "", false},
		{"a body that seeks", seeks{watch(t, data)}, temp, true},
	} {
		req := newRequest(t, tc.body, nil)
		b := replay.New(req, replay.Options{Limit: 10, SpoolDir: tc.dir, MaxSpool: limit})
		first := attach(req, b)
		skip(t, first.Body, 5000)
		wantEmpty(t, tc.name, temp)
		again, ok := b.TakeBack(t.Context())
		if ok != tc.want {
			t.Errorf("%s: there is a second sending: %v", tc.name, ok)
		}
		if ok {
			again.Close()
		} else {
			b.HandOver()
		}
		_ = first.Body.Close()
	}
}

// TestSpoolCut: what somebody else has done to the file ends the second sending with an error,
// and not as if that were all.
func TestSpoolCut(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // there is no way to reach a file that has no name
	}
	dir := t.TempDir()
	body := watch(t, pattern(10_000))
	req := newRequest(t, body, nil)
	b := replay.New(req, replay.Options{Limit: 10, SpoolDir: dir, MaxSpool: limit})
	_, _ = io.ReadAll(attach(req, b).Body)
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for _, e := range list {
		name := filepath.Join("/proc/self/fd", e.Name())
		if to, err := os.Readlink(name); err == nil && strings.HasPrefix(to, dir+"/") {
			if err := os.Truncate(name, 3000); err != nil {
				t.Fatal(err)
			}
			cut++
		}
	}
	again, ok := b.TakeBack(t.Context())
	if cut != 1 || !ok {
		t.Fatalf("%d files are cut, a second sending: %v", cut, ok)
	}
	second := attach(req, again)
	if got, err := io.ReadAll(second.Body); len(got) != 3000 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the second sending has %d bytes, error %v", len(got), err)
	}
	_ = second.Body.Close()
	wantEmpty(t, "afterwards", dir)
}
