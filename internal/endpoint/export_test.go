package endpoint

// Bounds that tests go up to.
const (
	MaxAnswer   = maxAnswer
	MaxLifetime = maxLifetime
	MaxPeek     = maxPeek
)
