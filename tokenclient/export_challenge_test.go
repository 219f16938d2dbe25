package tokenclient

import "github.com/seed-fbfaa0ec/silentrefresh/internal/challenge"

// The window of the tests of challenges into the package.
var ChallengeAllowsRefresh = challengeAllowsRefresh

// MaxChallenge is a bound that tests go up to.
const MaxChallenge = challenge.MaxBytes
