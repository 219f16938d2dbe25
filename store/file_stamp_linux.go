package store

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// sinceStart returns the stamp of now. It goes on while the machine sleeps.
func sinceStart() (now stamp, ok bool) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return now, false
	}
	up, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return now, false
	}
	first, _, _ := strings.Cut(string(up), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	now = stamp{strings.TrimSpace(string(id)), time.Duration(seconds * float64(time.Second))}
	return now, err == nil && len(now.start) == 36
}
