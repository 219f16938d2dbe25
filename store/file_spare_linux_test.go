package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Processes that run out of descriptors.

func init() { childRoles["no descriptors"] = childNoDescriptors }

// childNoDescriptors refreshes "k" with so many descriptors that it may open, of which fn takes
// those that are left.
func childNoDescriptors(args []string) {
	free, err := strconv.Atoi(args[1])
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	f, seen := childSeen(ctx, args[0])
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 40, Max: 40}); err != nil {
		panic(err)
	}
	var taken []*os.File
	takeAll := func() {
		for {
			file, err := os.Open(os.DevNull)
			if errors.Is(err, syscall.EMFILE) {
				return
			}
			if err != nil {
				panic(err)
			}
			taken = append(taken, file)
		}
	}
	takeAll()
	for range free {
		taken[0].Close()
		taken = taken[1:]
	}
	called := false
	_, err = f.Refresh(ctx, "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		called = true
		takeAll()
		return next(ctx, cur)
	})
	fmt.Println("called", called, "result:", outcomeOf(err), errors.Is(err, syscall.EMFILE))
}

// TestFileOutOfDescriptors: whatever a process has left, either the token is not presented, or
// the new one is saved.
func TestFileOutOfDescriptors(t *testing.T) {
	dir := newFolder(t)
	f := openFile(t, dir)
	name, number := "a", uint64(1)
	login(t, f, "k", name)
	presented := 0
	for free := range 12 {
		c := startChild(t, nil, "no descriptors", dir, strconv.Itoa(free))
		switch line := c.line(); line {
		case "called true result: ok false":
			presented++
			name, number = name+"'", number+1
		case "called false result: unavailable true":
		default:
			t.Fatalf("with %d descriptors: %s", free, line)
		}
		wantStored(t, f, "k", "refresh-"+name, number)
		if rec, err := f.Load(t.Context(), "k"); err != nil || rec.Announced != 0 {
			t.Errorf("with %d descriptors: %d announced, %v", free, rec.Announced, err)
		}
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	if presented == 0 || presented > 8 {
		t.Errorf("%d of 12 presented the token: nothing was tested", presented)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".tmp-*")); len(left) > 0 {
		t.Errorf("left over: %s", strings.Join(left, " "))
	}
}

// TestFileSpareLockIsKept: who has the short lock by what another one's exchange had open, for want
// of descriptors, keeps it when that exchange ends.
func TestFileSpareLockIsKept(t *testing.T) {
	f := openFile(t, newFolder(t))
	login(t, f, "k", "a")
	s, err := f.Reserve("k")
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := s.TryLock()
	if err != nil || unlock == nil {
		t.Fatalf("not locked: %v", err)
	}
	f.Unreserve("k")
	other := flock.New(f.RecordPath("k") + ".lock")
	if free, err := other.TryLock(); free || err != nil {
		t.Errorf("another has the lock, too: %v", err)
	}
	unlock()
	if free, err := other.TryLock(); !free || err != nil {
		t.Errorf("the lock is not free: %v", err)
	}
	if s.IsOpen() {
		t.Error("the lock file is left open")
	}
	if unlock, err := s.TryLock(); unlock != nil || err != nil {
		t.Errorf("what was closed locks: %v", err)
	}
	if err := other.Unlock(); err != nil {
		t.Error(err)
	}
}
