package main

import (
	"math/rand/v2"
	"testing"
)

// TestInterval: the order statistics are those of the tables for the sign test, and
// the median is in the range as often as it says.
func TestInterval(t *testing.T) {
	for _, test := range []struct{ n, low int }{{1, 1}, {5, 1}, {6, 1}, {8, 1}, {9, 2}, {11, 2}, {20, 6}, {51, 19}, {100, 40}} {
		var s series
		for i := range test.n {
			s = append(s, float64(test.n-i))
		}
		low, high := s.interval()
		if low != float64(test.low) || high != float64(test.n+1-test.low) {
			t.Errorf("of %d: %v to %v, want from %d", test.n, low, high, test.low)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	const times = 2000
	in := 0
	for range times {
		s := make(series, 25)
		for i := range s {
			s[i] = r.ExpFloat64()
		}
		if low, high := s.interval(); low <= 0.6931 && 0.6931 <= high {
			in++
		}
	}
	if in < times*94/100 {
		t.Errorf("the median was in the range %d of %d times", in, times)
	}
}
