package store

// RecordPath is the file of key.
func (f *File) RecordPath(key string) string { return f.path(key) }
