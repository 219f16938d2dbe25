package replay_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/replay"
)

// TestExpectHeld: from the first byte of an answer on no Read takes anything of the body until
// it is known what the answer is; but none waits for longer than the base transport would, or
// than an answer takes, or than the caller does.
func TestExpectHeld(t *testing.T) {
	const timeout = time.Second
	gone := errors.New("the caller has left")
	type asked struct {
		*httptrace.ClientTrace

		b     replay.Body
		first *http.Request
		leave context.CancelCauseFunc
	}
	wait := func(d time.Duration) func(asked) { return func(asked) { time.Sleep(d) } }
	waits := func(a asked) { a.Wait100Continue() }
	begins := func(a asked) { a.GotFirstResponseByte() }
	wants := func(a asked) { a.Got100Continue() }
	handedOver := func(a asked) { a.b.HandOver() }
	for _, tc := range []struct {
		name   string
		before []func(asked) // the Read
		during func(asked)   // a Read that waits, half a second after it began; nil: nothing happens
		held   time.Duration // for how long the Read waits
		err    error         // what it ends with; nil: it reads
	}{
		{"no answer yet", []func(asked){waits}, nil, 0, nil},
		{"nothing but an answer", []func(asked){waits, begins}, nil, timeout, nil},
		{"an answer before the base waits", []func(asked){begins, wait(timeout / 10), waits}, nil, timeout, nil},
		{"an answer before it waits, long after", []func(asked){begins, wait(time.Hour), waits}, nil, timeout, nil},
		{"an answer when it has waited a while", []func(asked){waits, wait(timeout / 4), begins}, nil, timeout * 3 / 4, nil},
		{"an answer at the last moment", []func(asked){waits, wait(timeout - 1), begins}, nil, 100 * time.Millisecond, nil},
		{"an answer long ago", []func(asked){waits, begins, wait(timeout)}, nil, 0, nil},
		{"it goes on", []func(asked){waits, begins, wait(timeout - 1), begins}, nil, 1, nil},
		{"the server wants the body", []func(asked){waits, begins}, wants, timeout / 2, nil},
		{"it has wanted it", []func(asked){waits, begins, wants}, nil, 0, nil},
		{"it has wanted it, and answers", []func(asked){waits, begins, wants, begins}, nil, timeout, nil},
		{"it wants it without a word before", []func(asked){waits, wants}, nil, 0, nil},
		{"the answer is taken", []func(asked){waits, begins}, handedOver, timeout / 2, nil},
		{"it was taken", []func(asked){waits, begins, handedOver, begins}, nil, 0, nil},
		{"the first sending is closed", []func(asked){waits, begins}, func(a asked) { _ = a.first.Body.Close() }, timeout / 2, http.ErrBodyReadAfterClose},
		{"the caller leaves", []func(asked){waits, begins}, func(a asked) { a.leave(gone) }, timeout / 2, gone},
	} {
		synctest.Test(t, func(t *testing.T) {
			body := watch(t, []byte("body"))
			req := newRequest(t, body, nil)
			ctx, leave := context.WithCancelCause(req.Context())
			defer leave(nil)
			req = req.WithContext(ctx)
			b := replay.New(req, replay.Options{Limit: limit, ExpectTimeout: timeout, ExpectAbove: -1})
			a := asked{httptrace.ContextClientTrace(b.Context(ctx)), b, attach(req, b), leave}
			for _, do := range tc.before {
				do(a)
			}
			if tc.during != nil {
				time.AfterFunc(timeout/2, func() {
					if body.r.Len() < 4 {
						t.Errorf("%s: the body is read meanwhile", tc.name)
					}
					tc.during(a)
				})
			}
			began := time.Now()
			got, err := io.ReadAll(a.first.Body)
			if took := time.Since(began); took != tc.held {
				t.Errorf("%s: a Read waits for %v, want %v", tc.name, took, tc.held)
			}
			if !errors.Is(err, tc.err) || err == nil && string(got) != "body" || err != nil && len(got) > 0 {
				t.Errorf("%s: %q, error %v", tc.name, got, err)
			}
			time.Sleep(timeout) // for what comes late
			b.HandOver()
			_ = a.first.Body.Close()
			body.wantClosed(t, 1)
		})
	}
}

// TestExpectTakenBack: a body that is held back is sent again whole, however long it is, with
// none of it kept; and the second sending is asked about no more.
func TestExpectTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := watch(t, pattern(1000))
		req := newRequest(t, body, nil)
		b := replay.New(req, replay.Options{Limit: 10, ExpectTimeout: time.Hour, ExpectUnkept: true})
		trace := httptrace.ContextClientTrace(b.Context(req.Context()))
		first := attach(req, b)
		trace.Wait100Continue()
		trace.GotFirstResponseByte()
		ended := make(chan error, 1)
		go func() {
			_, err := first.Body.Read(make([]byte, 100))
			ended <- err
		}()
		synctest.Wait()
		again, ok := b.TakeBack(t.Context())
		if !ok {
			t.Fatal("there is no second sending")
		}
		if err := <-ended; err == nil {
			t.Error("the first sending reads on")
		}
		if ctx := again.Context(req.Context()); httptrace.ContextClientTrace(ctx) != nil {
			t.Error("the second sending is listened to")
		}
		second := attach(req, again)
		if second.Header.Get("Expect") != "" {
			t.Error("the server is asked again")
		}
		trace.GotFirstResponseByte() // late
		if got, err := io.ReadAll(second.Body); err != nil || len(got) != 1000 {
			t.Errorf("the second sending has %d bytes, error %v", len(got), err)
		}
		_ = second.Body.Close()
		_ = first.Body.Close()
		body.wantClosed(t, 1)
	})
}

// TestExpectProtocol: net/http waits for the answer of HTTP/1.1 alone, which a request that was
// made by hand need not say. Another version stays.
func TestExpectProtocol(t *testing.T) {
	for _, tc := range []struct {
		major, minor int
		want         string
	}{{0, 0, "HTTP/1.1"}, {1, 0, "HTTP/1.1"}, {1, 1, ""}, {2, 0, ""}} {
		req := newRequest(t, watch(t, nil), nil)
		req.Proto, req.ProtoMajor, req.ProtoMinor = "", tc.major, tc.minor
		b := replay.New(req, replay.Options{Limit: limit, ExpectTimeout: 1, ExpectAbove: -1})
		r := attach(req, b)
		if r.Proto != tc.want || !r.ProtoAtLeast(1, 1) || req.Proto != "" || req.Header.Get("Expect") != "" {
			t.Errorf("%d.%d: sent as %q %d.%d, and the caller's is %q, with %q", tc.major, tc.minor, r.Proto, r.ProtoMajor, r.ProtoMinor, req.Proto, req.Header)
		}
		b.HandOver()
		_ = r.Body.Close()
	}
}

// TestCertain: what is certain before a sending holds after it, however much that took.
func TestCertain(t *testing.T) {
	again := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("body")), nil }
	for _, tc := range []struct {
		name    string
		body    io.ReadCloser
		getBody func() (io.ReadCloser, error)
		length  int64
		want    bool
	}{
		{"none", nil, nil, 0, true},
		{"an empty one", http.NoBody, nil, 0, true},
		{"with a GetBody", watch(t, pattern(200)), again, -1, true},
		{"shorter than is kept", watch(t, pattern(99)), nil, 99, true},
		{"as long", watch(t, pattern(100)), nil, 100, true},
		{"longer", watch(t, pattern(101)), nil, 101, false},
		{"of a byte", watch(t, pattern(1)), nil, 1, true},
		{"unknown", watch(t, pattern(200)), nil, 0, false},
		{"unknown, said otherwise", watch(t, pattern(200)), nil, -1, false},
	} {
		req := newRequest(t, tc.body, tc.getBody)
		req.ContentLength = tc.length
		o := replay.Options{Limit: 100}
		if got := replay.Certain(req, o); got != tc.want {
			t.Errorf("%s: certain %v", tc.name, got)
		}
		b := replay.New(req, o)
		r := attach(req, b)
		if r.Body != nil {
			_, _ = io.ReadAll(r.Body)
		}
		if _, ok := b.TakeBack(t.Context()); ok != tc.want {
			t.Errorf("%s: sent again %v", tc.name, ok)
		}
	}
}
