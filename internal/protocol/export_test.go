package protocol

import "time"

// SetTiming gives e a clock and jitter of its own. It is for before the first use.
func (e *Engine) SetTiming(clock func() time.Time, chance func(below time.Duration) time.Duration) {
	e.timing = &timing{clock, chance}
}
