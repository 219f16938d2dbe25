package former_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/former"
)

// TestRing: the last ones are known, and nothing else is.
func TestRing(t *testing.T) {
	secret := func(i int) string { return fmt.Sprint("secret ", i) }
	if (*former.Ring)(nil).Has("") || new(former.Ring).Has("") {
		t.Error("nothing was added, and something is known")
	}
	r := new(former.Ring)
	for i := range 3 * former.Most {
		r.Add(secret(i))
		r.Add(secret(i)) // again: it takes no second place
		for j := range i + 2 {
			if want := j <= i && j > i-former.Most; r.Has(secret(j)) != want {
				t.Errorf("after %d of them, number %d is known: %v", i+1, j, !want)
			}
		}
	}
	for _, other := range []string{"", "secret", "secret 47 ", "SECRET 47"} {
		if r.Has(other) {
			t.Errorf("%q is known", other)
		}
	}
}

// TestRingShowsNothing: what is remembered is no secret.
func TestRingShowsNothing(t *testing.T) {
	r := new(former.Ring)
	r.Add("planted")
	if text := fmt.Sprintf("%+v %x", r, r); strings.Contains(text, "planted") || strings.Contains(text, fmt.Sprintf("%x", "planted")) {
		t.Errorf("it shows %s", text)
	}
}

// TestRingAllocs: the first costs a little, and a look nothing.
func TestRingAllocs(t *testing.T) {
	r := new(former.Ring)
	r.Add("one")
	if n := testing.AllocsPerRun(100, func() { r.Has("another") }); n != 0 {
		t.Errorf("a look costs %v allocations", n)
	}
}
