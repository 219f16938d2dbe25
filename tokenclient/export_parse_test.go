package tokenclient

// The window of the tests of token responses into the package.
var (
	JWTExpiry              = jwtExpiry
	ChallengeAllowsRefresh = challengeAllowsRefresh
)

// Bounds that tests go up to.
const (
	MaxPeek      = maxPeek
	MaxLifetime  = maxLifetime
	MaxAnswer    = maxAnswer
	MaxChallenge = maxChallengeBytes
)
