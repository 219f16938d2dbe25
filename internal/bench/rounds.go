package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// interleave runs measure for each of n contenders in each round. The order is
// another in every round: who comes after whom matters, for the memory that one
// leaves behind is what the next finds.
func interleave(rounds, n int, measure func(contender int) error) error {
	r := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		for _, i := range r.Perm(n) {
			if err := measure(i); err != nil {
				return err
			}
		}
	}
	return nil
}

// series is what was measured of one contender, a number for each round.
type series []float64

// quantile returns a number that the part q of s is below.
func (s series) quantile(q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

func (s series) median() float64 { return s.quantile(0.5) }

// spread is half the distance of the quartiles, as a part of the median.
func (s series) spread() float64 {
	return (s.quantile(0.75) - s.quantile(0.25)) / 2 / s.median()
}

// over returns the ratios to what was measured of another in the same rounds.
func (s series) over(base series) series {
	ratios := make(series, len(s))
	for i := range s {
		ratios[i] = s[i] / base[i]
	}
	return ratios
}

// minus returns the differences from what was measured of another in the same rounds.
func (s series) minus(base series) series {
	differences := make(series, len(s))
	for i := range s {
		differences[i] = s[i] - base[i]
	}
	return differences
}

// interval returns where the median is, with a confidence of at least 95 %, if the
// rounds are independent: by the order statistics, whatever the distribution, as
// benchstat does. With fewer than six rounds it is from the least to the most.
func (s series) interval() (low, high float64) {
	if len(s) == 0 {
		return math.NaN(), math.NaN()
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	// below is the chance that at most k of n are below the median.
	k, below := 0, math.Pow(0.5, float64(n))
	for chance := below; ; k++ {
		chance *= float64(n-k) / float64(k+1) // that exactly k+1 are
		if below+chance > 0.025 {
			break
		}
		below += chance
	}
	return sorted[k], sorted[n-1-k]
}

// ranged writes a ratio with its range.
func ranged(s series) string {
	low, high := s.interval()
	if low == high {
		return fmt.Sprintf("×%.3f", low)
	}
	return fmt.Sprintf("×%.3f (×%.3f to ×%.3f)", s.median(), low, high)
}

// calibrate returns how often f must run to take as long as a turn.
func calibrate(turn time.Duration, f func() error) (int, error) {
	for n := 1; ; n *= 2 {
		least := turn
		for range 5 { // whoever else needs the processor must not count
			began := time.Now()
			if err := repeat(n, f); err != nil {
				return 0, err
			}
			least = min(least, time.Since(began))
		}
		if least > turn/2 {
			return max(1, int(float64(n)*float64(turn)/float64(least))), nil
		}
	}
}

func repeat(n int, f func() error) error {
	for range n {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// timed returns how long f takes on average over n times, in nanoseconds, after
// as many that do not count.
func timed(n int, f func() error) (float64, error) { return timedAfter(n, n, f) }

func timedAfter(before, n int, f func() error) (float64, error) {
	if err := repeat(before, f); err != nil {
		return 0, err
	}
	began := time.Now()
	err := repeat(n, f)
	return float64(time.Since(began).Nanoseconds()) / float64(n), err
}

// atRest is timed without the garbage collector, which runs before. What a
// collection costs, and into whose turn it falls, depends on the program.
func atRest(n int, f func() error) (float64, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if err := repeat(n, f); err != nil {
		return 0, err
	}
	runtime.GC()
	began := time.Now()
	err := repeat(n, f)
	return float64(time.Since(began).Nanoseconds()) / float64(n), err
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

func nsAsMS(ns float64) string { return ms(time.Duration(ns)) }

func percent(part float64) string { return fmt.Sprintf("±%.0f %%", 100*part) }
