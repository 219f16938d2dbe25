package tokenclient

// LockSession holds s's mutex until unlock is called.
func LockSession(s *Session) (unlock func()) {
	s.mu.Lock()
	return s.mu.Unlock
}
