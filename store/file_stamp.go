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
// What may follow is the lease id of a claim whose holder keeps the lock as long as its
// request may be at work, in hexadecimal. Programs that promise nothing leave what is there;
// it is of another claim then.
const (
	stampFormat = "%-36.36s %20d\n"
	stampLen    = 36 + 1 + 20 + 1
	leaseFormat = "%x\n"
	leaseLen    = 2*16 + 1
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
	text := fmt.Appendf(nil, stampFormat, now.start, now.up.Nanoseconds())
	if f.deadRequests > 0 {
		text = fmt.Appendf(text, leaseFormat, r.Lease)
	}
	_, _ = file.WriteAt(text, 0)
}

// A lastStamp is what the stamp of the last claim of a key tells.
type lastStamp struct {
	since     time.Duration // what has certainly passed since then
	restarted bool          // the machine was, since then
	lease     string        // see leaseFormat
}

// holderDied reports whether the holder of r, a claim that is found under the lock, has died:
// it would have kept the lock as long as its request may be at work. If the machine was
// started since, or another one has the folder, nobody has closed its connection.
func (s lastStamp) holderDied(r *protocol.Record) bool {
	return !s.restarted && s.lease == fmt.Sprintf(leaseFormat, r.Lease)
}

// readStamp reads the stamp of the last claim of key; ok is false if there is none.
func (f *File) readStamp(key string) (s lastStamp, ok bool) {
	now, ok := sinceStart()
	if !ok {
		return s, false
	}
	file, err := os.OpenFile(f.path(key)+longSuffix, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return s, false
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, stampLen+leaseLen))
	if err != nil {
		return s, false
	}
	text := string(b)
	var then stamp
	if n, _ := fmt.Sscanf(text, "%s %d\n", &then.start, &then.up); n != 2 {
		return s, false
	}
	if then.start != now.start {
		return lastStamp{since: now.up, restarted: true}, true
	}
	return lastStamp{since: max(now.up-then.up, 0), lease: text[min(stampLen, len(text)):]}, true
}
