package stepup

import "sync"

// maxLogins bounds those that are remembered. Without them requests are answered as if nobody
// had vouched.
const maxLogins = 1024

// Logins knows which logins somebody vouched for to be of the same user as an earlier one. E
// names a login. The zero Logins is ready. It is safe for concurrent use.
type Logins[E comparable] struct {
	mu    sync.Mutex
	first map[E]E // the login with which the user began
}

// First returns the login with which the user began who logged in by e: e, if nobody vouched.
func (l *Logins[E]) First(e E) E {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.firstLocked(e)
}

// Same reports whether a and b are of the same user, as far as somebody vouched for that.
func (l *Logins[E]) Same(a, b E) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.firstLocked(a) == l.firstLocked(b)
}

// Vouch says that next is of the same user as e.
func (l *Logins[E]) Vouch(e, next E) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.firstLocked(e)
	if l.firstLocked(next) == first {
		return
	}
	if len(l.first) >= maxLogins {
		clear(l.first)
		first = e
	}
	if l.first == nil {
		l.first = make(map[E]E)
	}
	l.first[next] = first
}

func (l *Logins[E]) firstLocked(e E) E {
	if first, ok := l.first[e]; ok {
		return first
	}
	return e
}
