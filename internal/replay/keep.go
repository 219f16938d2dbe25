package replay

import "io"

// What is read for the first time is kept in memory up to the limit, then in a file if there
// may be one, and then not at all.

// keepLocked keeps p, which a Read of s brought, for another sending: one that is to
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
		s.inKept += len(p)
	case src.spoolLocked(s, p):
	case src.reader != s: // it was handed on meanwhile
		src.kept = append(src.kept, p...)
	default:
		src.over = true
		src.forgetLocked()
	}
}

// handedOnLocked reports whether another sending goes on with what an earlier one reads.
func (src *source) handedOnLocked() bool {
	return src.nth > 0 && src.getBody == nil && src.body != nil && (src.rewind == nil || !src.rewind.rewound)
}

// spoolLocked puts p, of s, behind what is in the file, and before that what is kept in memory
// if there is no file yet. It reports whether p is taken care of.
func (src *source) spoolLocked(s *sending, p []byte) bool {
	file, head := src.spool, src.kept
	var size int64
	if file != nil {
		size = file.size
	}
	next := size + int64(len(head)+len(p))
	if file != nil && len(head) > 0 || src.spoolDir == "" || src.rewind != nil || next > src.maxSpool {
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
		return src.decided && src.reader == s // nobody wants it any more
	case !made && src.spool != file: // it was forgotten
		return true
	case made && (src.reader != s || src.decided || src.over): // another sending reads what is kept, or there will be none
		_ = file.Close()
		return src.reader == s
	}
	file.size = next
	if made {
		src.spool, src.kept, s.inKept = file, nil, 0
	}
	if src.reader == s {
		s.inSpool = next
	}
	return true
}

// readSpool is a Read of s, a later sending. Nothing and no error: the file is at its end.
func (src *source) readSpool(s *sending, file *spool, p []byte) (int, error) {
	src.mu.Lock()
	at, rest := s.inSpool, file.after(s.inSpool)
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
	s.inSpool += int64(n)
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
