package stepup_test

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/stepup"
)

func TestLogins(t *testing.T) {
	var l stepup.Logins[int]
	if !l.Same(1, 1) || l.Same(1, 2) {
		t.Error("nobody vouched")
	}
	l.Vouch(1, 2)
	l.Vouch(2, 3)
	l.Vouch(3, 3)
	l.Vouch(3, 1)
	for _, e := range []int{1, 2, 3} {
		if l.First(e) != 1 || !l.Same(e, 1) || !l.Same(3, e) || l.Same(e, 4) {
			t.Errorf("login %d begins with %d", e, l.First(e))
		}
	}
}

// TestManyLogins: what is forgotten makes nobody another user.
func TestManyLogins(t *testing.T) {
	var l stepup.Logins[int]
	for i := 10; i < 50_000; i += 10 {
		l.Vouch(i, i+1)
		if !l.Same(i, i+1) || l.Same(i-10, i) || l.Same(i-9, i+1) {
			t.Fatalf("login %d", i)
		}
	}
	for i := 50_000; i < 55_000; i++ { // one user, again and again
		l.Vouch(i, i+1)
		if !l.Same(i, i+1) {
			t.Fatalf("login %d", i)
		}
		if n := l.Remembered(); n > 1024 {
			t.Fatalf("%d logins are remembered", n)
		}
	}
}
