package limit

import (
	"slices"
	"time"
)

// The bucket of a [Storm]: stormBurst refreshes at once, then one in each interval, which
// doubles from stormInterval to stormMaxInterval.
const (
	stormBurst       = 3
	stormInterval    = 30 * time.Second
	stormMaxInterval = time.Hour
	stormDoublings   = 10
)

// A Storm bounds the refreshes of a session whose access tokens are refused although
// they are new: by a wrong audience, by an endpoint that answers 401 to everybody, by
// a server that lost its keys. Each such refresh would be followed by the next, as
// fast as requests come.
//
// It is a token bucket of three. A refresh that helped costs nothing: what it took is given
// back when a request is accepted that had asked for it. Else one is put back in 30
// seconds. When three new tokens in a row were refused the bucket holds one at most, and
// the interval doubles with each further one, up to an hour, until a refresh helps. The
// zero Storm is full.
type Storm struct {
	granted uint64    // the last generation that may be refreshed because it was refused
	since   time.Time // when the interval began that is running; zero: never used
	struck  uint64    // the last generation that was refused when it was new

	// lent are generations (the lower half of the numbers) for which something was taken that
	// can be given back, the oldest first; 0: none. There are never more than are missing in
	// a full bucket, so that it cannot be filled twice, once by time and once by giving back.
	lent [stormBurst]uint32

	strikes int16 // generations in a row that were refused when they were new, up to some
	left    uint8 // what is in the bucket
	shut    bool  // the last answer of Allow was no
}

// Allow reports whether generation, which the server refused, may be refreshed for that
// reason. All requests that were refused with one generation count once, and so do
// several tries to refresh it: those are for a [Backoff] to bound. begins is true for the
// first no after a yes.
func (s *Storm) Allow(generation uint64, now time.Time) (ok, begins bool) {
	s.refill(now.Round(0))
	ok = generation <= s.granted
	if !ok && s.left > 0 {
		s.left--
		s.granted, ok = generation, true
		s.lend(generation)
	}
	begins = !ok && !s.shut
	s.shut = !ok
	return ok, begins
}

// lend notes that something was taken for generation. There is room: what was taken before
// is missing in the bucket.
func (s *Storm) lend(generation uint64) {
	if i := slices.Index(s.lent[:], 0); i >= 0 {
		s.lent[i] = uint32(generation)
	}
}

// keep drops what was lent to generation, and reports whether there was anything.
func (s *Storm) keep(generation uint64) bool {
	i := slices.Index(s.lent[:], uint32(generation))
	if i < 0 || generation == 0 {
		return false
	}
	copy(s.lent[i:], s.lent[i+1:])
	s.lent[stormBurst-1] = 0
	return true
}

// refill puts into the bucket what it has earned since the last call.
func (s *Storm) refill(now time.Time) {
	size, interval := uint8(stormBurst), s.interval()
	if s.strikes >= stormBurst {
		size = 1
	}
	if s.since.IsZero() {
		s.left = size
	}
	elapsed := now.Sub(s.since)
	if elapsed < 0 { // the clock was set back
		s.since, elapsed = now, 0
	}
	if n := int64(elapsed / interval); n > 0 {
		s.left = uint8(min(int64(s.left)+n, stormBurst))
		s.since = s.since.Add(elapsed - elapsed%interval)
		for s.lent[stormBurst-s.left] != 0 { // time has given it back
			s.keep(uint64(s.lent[0]))
		}
	}
	if s.left >= size {
		// Nothing goes into a bucket that is full: the interval begins when
		// something is taken.
		s.left, s.since = size, now
	}
}

// Replayed notes how a request fared that was sent again with generation, which was new.
// asked is the generation with which it was refused before, if it was among those because of
// whom that was refreshed; 0: it was not. Only they can say that the refresh helped. That
// the server takes a token elsewhere says nothing: an endpoint that always refuses may
// stand beside others, which refuse a generation too once its successor has been issued.
func (s *Storm) Replayed(generation uint64, refused bool, asked uint64) {
	switch {
	case refused && generation > s.struck:
		s.struck = generation
		s.strikes = min(s.strikes+1, stormBurst+stormDoublings)
	case !refused && asked != 0:
		s.strikes = 0
		if s.keep(asked) {
			s.left++
			s.shut = false
		}
	}
}

func (s *Storm) interval() time.Duration {
	return min(stormInterval<<max(s.strikes-stormBurst, 0), stormMaxInterval)
}

// Next returns when Allow may say yes again after it said no.
func (s *Storm) Next() time.Time { return s.since.Add(s.interval()) }

// Shut reports whether Allow said no the last time and would do so still.
func (s *Storm) Shut(now time.Time) bool {
	return s.shut && Remaining(s.Next(), now, stormMaxInterval) > 0
}
