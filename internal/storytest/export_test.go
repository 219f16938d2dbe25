package storytest

import "time"

const (
	MostTries = mostTries
	TooLate   = tooLate
)

var (
	Check       = Story.check
	Fairly      = Story.fairly
	NewWatch    = newWatch
	Block       = block
	SameBut     = sameBut
	Presentable = presentable
)

// On returns the story with another page than docs/examples.md.
func (s Story) On(page string) Story {
	s.page = page
	return s
}

// FirstLine returns the index of what was written when the first line was over, or -1.
func FirstLine(written []string) int {
	w := watched{began: time.Now().Add(-time.Hour)} // so that no time is 0
	for i, s := range written {
		if _, _ = w.Write([]byte(s)); w.first != 0 {
			return i
		}
	}
	return -1
}
