package store

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"
)

// RecordPath is the file of key.
func (f *File) RecordPath(key string) string { return f.path(key) }

// SinceStart reports whether there is a clock that nobody can set.
func SinceStart() bool {
	_, ok := sinceStart()
	return ok
}

// SetStamp stamps the last claim of key, as made d ago, after a start of the machine; "":
// the last one.
func (f *File) SetStamp(key, start string, d time.Duration) error {
	now, _ := sinceStart()
	now.start = cmp.Or(start, now.start)
	return os.WriteFile(f.path(key)+longSuffix, fmt.Appendf(nil, stampFormat, now.start, (now.up-d).Nanoseconds()), 0o600)
}

// SinceStamp is sinceStamp, and for how long the machine runs.
func (f *File) SinceStamp(key string) (passed time.Duration, ok bool, up time.Duration) {
	now, _ := sinceStart()
	s, ok := f.readStamp(key)
	return s.since, ok, now.up
}

// Changes returns a wait for changes of the record of key, as who waits for its lock has it, but
// without ever looking.
func (f *File) Changes(key string) (change func(context.Context) error, stop func()) {
	t := &fileTurn{slotTurn: slotTurn{slots: &f.long, key: key}, file: f}
	t.watch()
	return func(ctx context.Context) error { return t.change(ctx, nil) }, func() { t.End(0) }
}
