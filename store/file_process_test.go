package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Several real processes on one folder.

func init() {
	childRoles["hold"] = childHold
	childRoles["increment"] = childIncrement
}

// childFile opens dir as openFile does.
func childFile(dir string) *store.File {
	key, err := store.KeyBytes("test", []byte(strings.Repeat("t", 32)))
	if err != nil {
		panic(err)
	}
	f, err := store.NewFile(dir, store.Seal(key))
	if err != nil {
		panic(err)
	}
	return f
}

// childSeen opens dir, too, and returns what it has of "k".
func childSeen(ctx context.Context, dir string) (*store.File, tokenclient.Record) {
	f := childFile(dir)
	seen, err := f.Load(ctx, "k")
	if err != nil {
		panic(err)
	}
	return f, seen
}

// childHold refreshes "k" in a folder with a timeout. In fn it says so and waits
// for a line.
func childHold(args []string) {
	f := childFile(args[0])
	timeout, err := time.ParseDuration(args[1])
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	seen, err := f.Load(ctx, "k")
	if err != nil {
		panic(err)
	}
	in := bufio.NewReader(os.Stdin)
	rec, err := f.Refresh(ctx, "k", seen, timeout, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		fmt.Println("presents, announced", cur.Announced)
		if _, err := in.ReadString('\n'); err != nil {
			panic(err)
		}
		return next(ctx, cur)
	})
	fmt.Println("number", rec.Number, err)
}

// childIncrement waits for a line and counts the token of "k" up.
func childIncrement(args []string) {
	f := childFile(args[0])
	n, err := strconv.Atoi(args[1])
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		panic(err)
	}
	increment(context.Background(), func(format string, a ...any) { fmt.Printf(format+"\n", a...) }, f, n)
	fmt.Println("done")
}

// TestFileProcessesLoseNoUpdate: 8 processes count to 200 together.
func TestFileProcessesLoseNoUpdate(t *testing.T) {
	const processes, each = 8, 25
	dir := newFolder(t)
	f := openFile(t, dir)
	login(t, f, "k", "0")
	var children []*child
	for range processes {
		children = append(children, startChild(t, nil, "increment", dir, strconv.Itoa(each)))
	}
	for _, c := range children {
		c.expect("ready")
	}
	for _, c := range children {
		c.tell("go")
	}
	for _, c := range children {
		c.expect("done")
	}
	wantStored(t, f, "k", fmt.Sprintf("refresh-%d", processes*each), processes*each+1)
}

// killed returns a folder whose record is claimed by a process that was killed in
// fn.
func killed(t *testing.T, timeout time.Duration) (*store.File, tokenclient.Record) {
	t.Helper()
	dir := newFolder(t)
	f := openFile(t, dir)
	seen := login(t, f, "k", "a")
	c := startChild(t, nil, "hold", dir, timeout.String())
	c.expect("presents, announced 1")
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	return f, seen
}

// TestFileHolderIsKilled: its request may still be on the way, so the next one waits
// until it is over. It knows that the token may be spent.
func TestFileHolderIsKilled(t *testing.T) {
	f, seen := killed(t, 300*time.Millisecond)
	raw, err := os.ReadFile(f.RecordPath("k"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := protocol.DecodeRecord(raw)
	if err != nil || h.Announced != 1 || h.LeaseLen < 300*time.Millisecond || h.LeaseLen > time.Second {
		t.Fatalf("left behind: %+v, %v", h, err)
	}
	info, err := os.Stat(f.RecordPath("k"))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	rec, err := f.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		// Never too early; how much too late depends on the machine.
		if d := time.Since(info.ModTime()); d < h.LeaseLen {
			t.Errorf("presented again %v after the claim", d)
		}
		if d := time.Since(start); d > h.LeaseLen+10*time.Second {
			t.Errorf("waited %v", d)
		}
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

// TestFileHolderWasKilledLongAgo: the age of the record proves that nothing is on
// the way any more. With a lease of an hour, any wait would show.
func TestFileHolderWasKilledLongAgo(t *testing.T) {
	f, seen := killed(t, time.Hour)
	past := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(f.RecordPath("k"), past, past); err != nil {
		t.Fatal(err)
	}
	if store.SinceStart() {
		if err := f.SetStamp("k", "", 2*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rec, err := f.Refresh(ctx, "k", seen, time.Minute, next)
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a'", 2)
}

// TestFileClockWasSetBack: a record from the future proves nothing. The wait is the
// whole length of the lease, and no more.
func TestFileClockWasSetBack(t *testing.T) {
	f, seen := killed(t, 300*time.Millisecond)
	future := time.Now().Add(2 * time.Hour)
	if err := os.Chtimes(f.RecordPath("k"), future, future); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	_, err := f.Refresh(ctx, "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		if d := time.Since(start); d < 300*time.Millisecond {
			t.Errorf("presented again after %v", d)
		}
		return next(ctx, cur)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestFileWaitForADeadHolder honours the context, and notices what others write.
func TestFileWaitForADeadHolder(t *testing.T) {
	f, seen := killed(t, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := f.Refresh(ctx, "k", seen, time.Minute, never(t))
	wantErr(t, err, context.DeadlineExceeded)

	var wg sync.WaitGroup
	wg.Go(func() {
		rec, err := f.Refresh(t.Context(), "k", seen, time.Minute, never(t))
		if err != nil || rec.Token.RefreshToken != "refresh-b" {
			t.Errorf("waiter: %v, %v", rec, err)
		}
	})
	login(t, openFile(t, filepath.Dir(f.RecordPath("k"))), "k", "b")
	wg.Wait()
}

func TestFileLoginAndLogoutDoNotWaitForAHolder(t *testing.T) {
	for name, token := range map[string]*tokenclient.Token{"logout": nil, "login": tok("b")} {
		t.Run(name, func(t *testing.T) {
			dir := newFolder(t)
			f := openFile(t, dir)
			login(t, f, "k", "a")
			c := startChild(t, nil, "hold", dir, "1h")
			c.expect("presents, announced 1")
			now, _, err := f.Replace(t.Context(), "k", token)
			if err != nil {
				t.Fatal(err)
			}
			c.tell("go on")
			c.expect(fmt.Sprintf("number %d %v", now.Number, tokenclient.ErrReplaced))
			rec, err := f.Load(t.Context(), "k")
			if rec.Era != now.Era || rec.State != now.State {
				t.Errorf("%v is stored, %v", rec, err)
			}
		})
	}
}
