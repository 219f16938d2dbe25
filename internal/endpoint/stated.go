package endpoint

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"time"
)

// A Clock is what is known of the time of an answer.
type Clock struct {
	Sent time.Time // when the request began, by this machine's clock
	Date time.Time // when the answer was made, by the server's; zero: it did not say
}

// ClockOf returns the clock of an answer with that header to a request that was sent then.
func ClockOf(sent time.Time, h http.Header) Clock {
	date, _ := http.ParseTime(h.Get("Date")) // RFC 9110, section 6.6.1
	return Clock{Sent: sent, Date: date}
}

const (
	day  = 24 * time.Hour
	year = 365 * day

	// epochFrom is where a number of seconds is read as seconds since 1970: as a
	// lifetime it would be 31 years, as a time it is 2001.
	epochFrom = 1e9

	// maxAhead is how far in the future a time may be that is no date. A lifetime of 60
	// years or more, in seconds, is the only other thing that looks like one.
	maxAhead = 10 * year
)

// lifetime reads what v, in the place of a lifetime or of a time, says of how long a token
// lives from when it was issued; 0 if it makes no sense. jwt is how long the token itself
// says, 0 if it does not.
//
// A date counts from the server's own clock, if it told, else from ours. A number may be a
// lifetime in seconds or in milliseconds, or a time since 1970 in seconds or milliseconds.
// The first of these that is about what the token itself says is taken. If none is, or the
// token does not say:
//
//   - it is a time since 1970 if that is in the future, but not by more than ten years for
//     seconds, and by more than a hundred for milliseconds;
//   - it is milliseconds if it is a week or more in seconds, whole minutes in
//     milliseconds, and neither whole days, up to 400, nor whole years in seconds:
//     3600000 is an hour, and nobody means 41 days and 16 hours;
//   - it is seconds.
//
// No token lives longer than it says itself, or 100 years.
func (c Clock) lifetime(v any, jwt time.Duration) time.Duration {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = strings.TrimSpace(v)
	}
	var stated time.Duration
	if f, ok := parseNumber(text); ok {
		stated = c.number(f, jwt)
	} else if at := parseTime(text); !at.IsZero() {
		stated = c.until(float64(at.Unix()))
	} else {
		stated = parseDuration(text)
	}
	if jwt > 0 && stated > 0 {
		return min(stated, jwt)
	}
	return stated
}

// number reads a number.
func (c Clock) number(f float64, jwt time.Duration) time.Duration {
	if f < 1 {
		return 0
	}
	at, small := c.until(f), c.until(f/1000) // as seconds since 1970, and as milliseconds
	if jwt > 0 {
		for _, d := range []time.Duration{seconds(f), seconds(f / 1000), at, small} {
			if d > 0 && (d-jwt).Abs() <= max(jwt/10, 2*time.Second) {
				return d
			}
		}
	}
	switch {
	case f >= epochFrom && at > 0 && at <= maxAhead:
		return at
	case f >= millisecondsFrom && small > 0 && small < maxLifetime:
		return small
	case f >= epochFrom*1000 && small == 0: // over already: a clock is wrong
		return 0
	case isMilliseconds(f):
		return seconds(f / 1000)
	case f >= epochFrom && at == 0:
		return 0
	}
	return seconds(f)
}

// isMilliseconds reports whether f is a lifetime that is round in milliseconds only.
func isMilliseconds(f float64) bool {
	whole := func(unit time.Duration) bool { return math.Mod(f, unit.Seconds()) == 0 }
	if f < (7*day).Seconds() || f > maxLifetime.Seconds()*1000 || math.Mod(f, 60000) != 0 {
		return false
	}
	inSeconds := whole(day) && f <= (400*day).Seconds() || whole(year) && f <= maxLifetime.Seconds()
	return !inSeconds
}

// seconds is so many seconds as a lifetime.
func seconds(f float64) time.Duration {
	return time.Duration(min(max(f, 0), maxLifetime.Seconds())) * time.Second
}

// until is how long it is until a time in seconds since 1970; 0 if it is over. It is counted
// from the server's own clock. If that is off by more than a day, one of the two clocks is
// wrong: the one by which it is longer, or over.
func (c Clock) until(unix float64) time.Duration {
	ours := seconds(unix - float64(c.Sent.Unix()))
	if c.Date.IsZero() {
		return ours
	}
	theirs := seconds(unix - float64(c.Date.Unix()))
	if theirs > 0 && c.Date.Sub(c.Sent).Abs() <= day || ours == 0 {
		return theirs
	}
	if theirs == 0 {
		return ours
	}
	return min(ours, theirs)
}

// parseTime reads a date as RFC 3339 writes it, or about so, or as HTTP does (RFC 9110,
// section 5.6.7). One without a zone is of UTC.
func parseTime(text string) time.Time {
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05",
		"2006-01-02T15:04:05Z0700",
	} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	at, _ := http.ParseTime(text)
	return at
}

// parseDuration reads lifetimes such as "3600s", "1h" and "7d".
func parseDuration(text string) time.Duration {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		f, _ := parseNumber(days)
		return seconds(f * day.Seconds())
	}
	d, _ := time.ParseDuration(text)
	return min(max(d, 0), maxLifetime).Truncate(time.Second)
}
