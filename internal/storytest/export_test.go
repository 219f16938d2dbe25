package storytest

const (
	MostTries = mostTries
	TooLate   = tooLate
	Soon      = soon
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
