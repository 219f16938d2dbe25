package rooms

type base struct{ dark int }

func (base) lie() error { return nil }

func first[T any](all []T) (t T) {
	var s Sleeper
	if s != nil {
		s.Sleep()
	}
	for _, t = range all {
		return t
	}
	return t
}

// A Sleeper can be called, but nobody knows whom that calls.
type Sleeper interface{ Sleep() }

// Pair is set without the names of its fields.
type Pair struct{ A, B int }

var _ = Pair{1, 2}

// Limit is a value.
const Limit = 1

// Out is a function.
func Out() {}
