package tokenclient

// The window of the tests of challenges into the package.
var ChallengeAllowsRefresh = challengeAllowsRefresh

// MaxChallenge is a bound that tests go up to.
const MaxChallenge = maxChallengeBytes
