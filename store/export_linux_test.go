package store

// A Spare is what it takes to save a token of one key.
type Spare struct{ *spare }

// Reserve opens that of key.
func (f *File) Reserve(key string) (Spare, error) {
	err := f.reserve(key)
	return Spare{f.spareOf(key)}, err
}

// Unreserve closes that of key.
func (f *File) Unreserve(key string) { f.unreserve(key) }

// TryLock takes the short lock by s. unlock is nil if another has it.
func (s Spare) TryLock() (unlock func(), err error) {
	l, err := s.tryLock()
	if l == nil {
		return nil, err
	}
	return l.unlock, err
}

// IsOpen reports whether s has its lock file open.
func (s Spare) IsOpen() bool {
	_, err := s.lock.Stat()
	return err == nil
}
