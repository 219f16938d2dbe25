package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// FileOptions.DeadRequestsEndWithin. A hold is an hour long here, so that any wait for its
// end would show.

func init() {
	childRoles["hold promised"] = childHoldPromised
}

// promising opens dir with a promise.
func promising(t testing.TB, dir string, d time.Duration) *store.File {
	t.Helper()
	f, err := store.NewFileWithOptions(dir, store.Seal(keyOf(t, "test")), &store.FileOptions{DeadRequestsEndWithin: d})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// childHoldPromised refreshes "k" in a folder, with a promise. In fn it says so and waits for
// a line. "give up" ends the call as one that got no answer in time, and the process lives.
func childHoldPromised(args []string) {
	key, err := store.KeyBytes("test", []byte(strings.Repeat("t", 32)))
	if err != nil {
		panic(err)
	}
	f, err := store.NewFileWithOptions(args[0], store.Seal(key), &store.FileOptions{DeadRequestsEndWithin: time.Millisecond})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	seen, err := f.Load(ctx, "k")
	if err != nil {
		panic(err)
	}
	in := bufio.NewReader(os.Stdin)
	rec, err := f.Refresh(ctx, "k", seen, time.Hour, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		fmt.Println("presents, announced", cur.Announced)
		if line, err := in.ReadString('\n'); err != nil {
			panic(err)
		} else if line == "give up\n" {
			return nil, context.DeadlineExceeded
		}
		return next(ctx, cur)
	})
	fmt.Println("number", rec.Number, err)
	_, _ = in.ReadString('\n')
}

// inCall returns a folder whose token a child is exchanging, with or without a promise.
func inCall(t *testing.T, promised bool) (dir string, seen tokenclient.Record, c *child) {
	t.Helper()
	dir = newFolder(t)
	seen = login(t, openFile(t, dir), "k", "a")
	if promised {
		c = startChild(t, nil, "hold promised", dir)
	} else {
		c = startChild(t, nil, "hold", dir, "1h")
	}
	c.expect("presents, announced 1")
	return dir, seen, c
}

func (c *child) kill() {
	c.t.Helper()
	if err := c.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	_ = c.Wait()
}

// wantWait fails the test unless f has nobody present the token.
func wantWait(t *testing.T, f *store.File, seen tokenclient.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := f.Refresh(ctx, "k", seen, time.Minute, never(t))
	wantErr(t, err, context.DeadlineExceeded)
}

// wantServed fails the test unless f exchanges the token, which was announced before.
func wantServed(t *testing.T, f *store.File, seen tokenclient.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rec, err := f.Refresh(ctx, "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		if cur.Announced != 2 {
			t.Errorf("%d announced", cur.Announced)
		}
		return next(ctx, cur)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a'", 2)
}

// TestFileDeadRequests: whoever has the lock of a holder that was killed presents the token
// when the time is over that is promised, if both promise it and nothing tells that the
// holder's connection may be open.
func TestFileDeadRequests(t *testing.T) {
	const ms = time.Millisecond
	edit := func(change func(stamp []byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil || len(b) != 58+33 {
				t.Fatalf("%q, %v", b, err)
			}
			if err := os.WriteFile(path, change(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		name          string
		holder, taker bool // who promises
		then          func(t *testing.T, path string)
		served        bool
	}{
		{"both promise", true, true, nil, true},
		{"the holder did not", false, true, nil, false},
		{"the taker does not", true, false, nil, false},
		{"nobody does", false, false, nil, false},
		{"the machine was restarted", true, true, edit(func(b []byte) []byte {
			return append([]byte("another-start-of-this-machine-00000"), b[35:]...)
		}), false},
		{"the stamp is of another claim", true, true, edit(func(b []byte) []byte {
			return append(b[:58], strings.Repeat("0", 32)+"\n"...)
		}), false},
		{"the stamp is cut", true, true, edit(func(b []byte) []byte { return b[:70] }), false},
		{"the stamp is damaged", true, true, edit(func(b []byte) []byte { return b[10:] }), false},
		{"the stamp is gone", true, true, edit(func([]byte) []byte { return nil }), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, seen, c := inCall(t, tc.holder)
			c.kill()
			f := openFile(t, dir)
			if tc.then != nil {
				tc.then(t, f.RecordPath("k")+".hold")
			}
			if tc.taker {
				f = promising(t, dir, ms)
			}
			if tc.served {
				wantServed(t, f, seen)
			} else {
				wantWait(t, f, seen)
			}
		})
	}
}

// TestFileDeadRequestsTime: never too early.
func TestFileDeadRequestsTime(t *testing.T) {
	const promised = 400 * time.Millisecond
	dir, seen, c := inCall(t, true)
	f := promising(t, dir, promised)
	killed := time.Now()
	c.kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := f.Refresh(ctx, "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		if d := time.Since(killed); d < promised {
			t.Errorf("presented %v after the kill, want %v at least", d, promised)
		}
		return next(ctx, cur)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFileDeadRequestsHolderLives: a holder that is slow has not died, whatever is promised.
// Nor has one that has given its call up: the request may be at work in it, as a Refresher
// does that takes no notice of its context. When it dies it is served.
func TestFileDeadRequestsHolderLives(t *testing.T) {
	dir, seen, c := inCall(t, true)
	f := promising(t, dir, time.Millisecond)
	wantWait(t, f, seen)
	c.tell("give up")
	c.expect("number 1 context deadline exceeded")
	wantWait(t, f, seen)
	wantWait(t, openFile(t, dir), seen)
	c.kill()
	wantServed(t, f, seen)
}

// TestFileDeadRequestsGaveUp: in the process of the call that was given up the others wait
// too, and reading, login and logout do not.
func TestFileDeadRequestsGaveUp(t *testing.T) {
	dir := newFolder(t)
	f := promising(t, dir, time.Millisecond)
	seen := login(t, f, "k", "a")
	_, err := f.Refresh(t.Context(), "k", seen, time.Hour, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		return nil, context.DeadlineExceeded
	})
	wantErr(t, err, context.DeadlineExceeded)
	wantWait(t, f, seen)
	wantWait(t, promising(t, dir, time.Millisecond), seen)
	login(t, f, "k", "b")
	wantStored(t, f, "k", "refresh-b", 1)
}

// TestFileGaveUpLetsGo: without a promise the lock is free when the call is given up, and
// what came of a login since can be exchanged at once.
func TestFileGaveUpLetsGo(t *testing.T) {
	wantLetGo(t, openFile(t, newFolder(t)))
}

// TestFileDeadRequestsKeepsForAsLong: the lock of a call that was given up is free again when
// the hold is over, though the process lives.
func TestFileDeadRequestsKeepsForAsLong(t *testing.T) {
	dir := newFolder(t)
	f := promising(t, dir, time.Millisecond)
	seen := login(t, f, "k", "a")
	const timeout = 300 * time.Millisecond
	begin := time.Now()
	_, err := f.Refresh(t.Context(), "k", seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
		return nil, context.DeadlineExceeded
	})
	wantErr(t, err, context.DeadlineExceeded)
	for _, f := range []*store.File{promising(t, dir, time.Millisecond), f} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rec, err := f.Refresh(ctx, "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			if d := time.Since(begin); d < timeout {
				t.Errorf("presented again after %v", d)
			}
			return next(ctx, cur)
		})
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'", 2)
	}
}

func TestNewFileWithOptionsRefuses(t *testing.T) {
	for _, tc := range []struct {
		d  time.Duration
		ok bool
	}{{-time.Second, false}, {-1, false}, {1, false}, {500, false}, {time.Millisecond - 1, false}, {0, true}, {time.Millisecond, true}, {time.Hour, true}} {
		_, err := store.NewFileWithOptions(newFolder(t), store.Seal(keyOf(t, "test")), &store.FileOptions{DeadRequestsEndWithin: tc.d})
		if (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), "DeadRequestsEndWithin is "+tc.d.String()) {
			t.Errorf("%v: %v", tc.d, err)
		}
	}
	if _, err := store.NewFileWithOptions(newFolder(t), store.Seal(keyOf(t, "test")), nil); err != nil {
		t.Error(err)
	}
}
