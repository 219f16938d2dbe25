package store

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
)

// A stamp says when a claim was written, by the time for which the machine has run since
// it was started: the time of day, which the file system notes, can be set forward, and a
// machine without a battery sets it at every start. It is in the lock file that the holder
// has, which is empty where there is no such clock, and for programs that knew of none.
type stamp struct {
	start string // identifies the start of the machine
	up    time.Duration
}

// stampLen is the length of all stamps, so that a new one takes the place of an old one.
const (
	stampFormat = "%-36.36s %20d\n"
	stampLen    = 36 + 1 + 20 + 1
)

// stampHold notes when new, a record of key, is written, if it is a claim. Without a stamp,
// or with that of an earlier claim, the time of day alone decides; so failures do not
// matter.
func (f *File) stampHold(key string, new []byte) {
	r, err := protocol.DecodeRecord(new)
	if err != nil || r.Lease == [16]byte{} {
		return
	}
	now, ok := sinceStart()
	if !ok {
		return
	}
	file, err := os.OpenFile(f.path(key)+longSuffix, os.O_WRONLY|openFlags, 0)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = file.WriteAt(fmt.Appendf(nil, stampFormat, now.start, now.up.Nanoseconds()), 0)
}

// sinceStamp is the time that has certainly passed since the last claim of key, as far as
// its stamp knows; ok is false if there is none.
func (f *File) sinceStamp(key string) (passed time.Duration, ok bool) {
	now, ok := sinceStart()
	if !ok {
		return 0, false
	}
	file, err := os.OpenFile(f.path(key)+longSuffix, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return 0, false
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, stampLen))
	if err != nil {
		return 0, false
	}
	var then stamp
	if n, _ := fmt.Sscanf(string(b), "%s %d\n", &then.start, &then.up); n != 2 {
		return 0, false
	}
	if then.start != now.start {
		return now.up, true // the machine was started since
	}
	return max(now.up-then.up, 0), true
}
