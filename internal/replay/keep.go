package replay

import "io"

// What the first sending reads is kept in memory up to the limit, then in a file if there
// may be one, and then not at all.

// keepLocked keeps p, which a Read of s brought, for the second sending: one that is to
// come, or one that the Read was handed on to. The lock is not held while a file is
// written to; the Read is still at work, so nobody else writes.
func (src *source) keepLocked(s *sending, p []byte) {
	switch {
	case src.reader != s:
		if src.handedOnLocked() {
			src.kept = append(src.kept, p...)
		}
	case src.decided, src.getBody != nil, src.over, len(p) == 0:
	case src.spool == nil && int64(len(src.kept)+len(p)) <= src.limit:
		src.kept = append(src.kept, p...)
	case src.spoolLocked(p):
	case src.reader != s: // it was handed on meanwhile
		src.kept = append(src.kept, p...)
	default:
		src.over = true
		src.forgetLocked()
	}
}

// handedOnLocked reports whether the second sending goes on with what the first one reads.
func (src *source) handedOnLocked() bool {
	return src.again && src.getBody == nil && src.body != nil && (src.rewind == nil || !src.rewind.rewound)
}

// spoolLocked puts p behind what is in the file, and before that what is kept in memory if
// there is no file yet. It reports whether p is taken care of.
func (src *source) spoolLocked(p []byte) bool {
	file, head := src.spool, src.kept
	var size int64
	if file != nil {
		size, head = file.size, nil
	}
	next := size + int64(len(head)+len(p))
	if src.spoolDir == "" || src.rewind != nil || next > src.maxSpool {
		return false
	}
	src.mu.Unlock()
	made := file == nil
	var err error
	if made {
		file, err = newSpool(src.spoolDir)
	}
	if err == nil {
		err = file.write(size, head, p)
	}
	if made && err != nil && file != nil {
		_ = file.Close()
	}
	src.mu.Lock()
	switch {
	case err != nil:
		return src.decided && !src.again // nobody wants it any more
	case !made && src.spool != file: // it was forgotten
		return true
	case made && (src.decided || src.over): // the second sending reads what is kept, or there will be none
		_ = file.Close()
		return !src.again
	}
	file.size = next
	if made {
		src.spool, src.kept = file, nil
	}
	return true
}

// readSpool is a Read of the second sending. Nothing and no error: the file is at its end.
func (src *source) readSpool(file *spool, p []byte) (int, error) {
	src.mu.Lock()
	at, rest := file.at, file.rest()
	src.mu.Unlock()
	n, err := file.file.ReadAt(p[:min(int64(len(p)), rest)], at)
	switch {
	case n > 0:
		err = nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF // somebody cut the file
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	file.at += int64(n)
	return n, err
}

// forgetLocked forgets what is kept. The lock is not held while a file is closed.
func (src *source) forgetLocked() {
	file := src.spool
	src.kept, src.spool = nil, nil
	if file != nil {
		src.mu.Unlock()
		_ = file.Close()
		src.mu.Lock()
	}
}
