package former_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/former"
)

// TestChain: the last ones are known, and nothing else is.
func TestChain(t *testing.T) {
	secret := func(i int) string { return fmt.Sprint("secret ", i) }
	if (*former.Chain)(nil).Has("") {
		t.Error("nothing was added, and something is known")
	}
	var r *former.Chain
	for i := range 3 * former.Most {
		r = r.With(secret(i))
		r = r.With(secret(i)) // again: it takes no second place
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

// TestChainShowsNothing: what is remembered is no secret.
func TestChainShowsNothing(t *testing.T) {
	r := (*former.Chain)(nil).With("planted")
	if text := fmt.Sprintf("%+v", *r); strings.Contains(text, "planted") || strings.Contains(text, fmt.Sprintf("%x", "planted")) {
		t.Errorf("it shows %s", text)
	}
}

// TestChainAllocs: the first costs a little, and a look nothing.
func TestChainAllocs(t *testing.T) {
	r := (*former.Chain)(nil).With("one")
	if n := testing.AllocsPerRun(100, func() { r.Has("another") }); n != 0 {
		t.Errorf("a look costs %v allocations", n)
	}
}
