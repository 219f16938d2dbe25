package replay_test

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/replay"
)

// Bodies that cannot be read, or closed.

// broken is a body of which one Read fails, when it is told to, and that has something to say
// afterwards all the same.
type broken struct {
	fails chan struct{}
	err   error
}

func (b *broken) Read(p []byte) (int, error) {
	if b.err == nil {
		return copy(p, "the rest"), io.EOF
	}
	<-b.fails
	err := b.err
	b.err = nil
	return 0, err
}

func (b *broken) Close() error { return nil }

// TestPendingReadBreaks: a Read that was handed on and failed ends the second sending, which
// would have a gap where that was.
func TestPendingReadBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := &broken{make(chan struct{}), errors.New("the disk is gone")}
		want := body.err
		req := newRequest(t, body, nil)
		b := replay.New(req, replay.Options{Limit: limit})
		first := attach(req, b)
		go func() { _, _ = first.Body.Read(make([]byte, 4)) }()
		synctest.Wait()
		again, ok := b.TakeBack(t.Context())
		if !ok {
			t.Fatal("there is no second sending")
		}
		close(body.fails)
		if got, err := io.ReadAll(attach(req, again).Body); len(got) > 0 || !errors.Is(err, want) {
			t.Errorf("the second sending has %q, error %v", got, err)
		}
		again.Close()
	})
}

// TestBrokenBody: a body whose Read failed is not sent again, as nobody knows where it stands.
func TestBrokenBody(t *testing.T) {
	body := &broken{make(chan struct{}), errors.New("the disk is gone")}
	close(body.fails)
	req := newRequest(t, body, nil)
	b := replay.New(req, replay.Options{Limit: limit})
	first := attach(req, b)
	if _, err := first.Body.Read(make([]byte, 4)); err == nil {
		t.Error("the first sending is not told")
	}
	if _, ok := b.TakeBack(t.Context()); ok {
		t.Error("there is a second sending")
	}
	b.HandOver()
}

// unclosable is a body whose Close fails.
type unclosable struct {
	*watched
	err error
}

func (u unclosable) Close() error {
	_ = u.watched.Close()
	return u.err
}

// TestCloseFails: whoever closes the body is told what became of that, in its own words if
// there is one body, and of each if there are more.
func TestCloseFails(t *testing.T) {
	one, other := errors.New("not flushed"), errors.New("not unlocked")
	for _, tc := range []struct {
		name string
		errs []error // of the first body, and of what GetBody gives
		want string
	}{
		{"fine", []error{nil}, ""},
		{"alone", []error{one}, "not flushed"},
		{"the first", []error{one, nil}, "not flushed"},
		{"the second", []error{nil, other}, "not unlocked"},
		{"both", []error{one, other}, "not flushed\nnot unlocked"},
	} {
		req := newRequest(t, unclosable{watch(t, pattern(10)), tc.errs[0]}, nil)
		if len(tc.errs) > 1 {
			req.GetBody = func() (io.ReadCloser, error) { return unclosable{watch(t, pattern(10)), tc.errs[1]}, nil }
		}
		b := replay.New(req, replay.Options{Limit: limit})
		_, _ = io.ReadAll(attach(req, b).Body)
		again, ok := b.TakeBack(t.Context())
		if !ok {
			t.Fatalf("%s: there is no second sending", tc.name)
		}
		got := ""
		if err := attach(req, again).Body.Close(); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
