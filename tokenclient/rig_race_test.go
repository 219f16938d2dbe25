//go:build race

package tokenclient_test

const raceEnabled = true
