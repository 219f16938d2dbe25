package storytest

const (
	MostTries = mostTries
	TooLate   = tooLate
)

var (
	Check    = Story.check
	Fairly   = Story.fairly
	NewWatch = newWatch
)
