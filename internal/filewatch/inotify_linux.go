package filewatch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"syscall"
)

// Supported reports whether this system tells.
const Supported = true

// Touch sets the times of the file at path to now, as who may write to it can, and thus has
// those told who watch it.
func Touch(path string) error {
	const utimeNow = 1<<30 - 1 // as the nanoseconds
	now := []syscall.Timespec{{Nsec: utimeNow}, {Nsec: utimeNow}}
	if err := syscall.UtimesNano(path, now); err != nil {
		return fmt.Errorf("filewatch: %w", &os.PathError{Op: "utimensat", Path: path, Err: err})
	}
	return nil
}

// open has the kernel tell what happens in dir.
func open(dir string) (*os.File, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("filewatch: %w", os.NewSyscallError("inotify_init1", err))
	}
	events := os.NewFile(uintptr(fd), "inotify") // it does not block, so Close ends its Read
	if _, err := syscall.InotifyAddWatch(fd, dir, syscall.IN_MOVED_TO|syscall.IN_ATTRIB|syscall.IN_ONLYDIR); err != nil {
		_ = events.Close()
		return nil, fmt.Errorf("filewatch: %w", &os.PathError{Op: "inotify_add_watch", Path: dir, Err: err})
	}
	return events, nil
}

// read returns the names of what has changed, until the folder is gone or events is closed; ""
// if the kernel could not keep up.
func read(events *os.File) iter.Seq[string] {
	return func(yield func(string) bool) {
		buf := make([]byte, 16<<10)
		for {
			n, err := events.Read(buf)
			if err != nil {
				return
			}
			for b := buf[:n]; len(b) >= syscall.SizeofInotifyEvent; {
				mask := binary.NativeEndian.Uint32(b[4:])
				end := syscall.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
				name := string(bytes.TrimRight(b[syscall.SizeofInotifyEvent:end], "\x00"))
				b = b[end:]
				if mask&syscall.IN_IGNORED != 0 || !yield(name) {
					return
				}
			}
		}
	}
}
