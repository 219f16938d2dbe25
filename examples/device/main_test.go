package main

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"nobody has logged in.",
		"which a stranger refuses.",
		"The device is told, and may show another code: login: access denied",
		"To log in, open this address on any device:",
		"The person typed the code into a telephone.",
		"It calls the API: 200 OK.",
		"switched off, and on again",
		"Nobody is asked",
		"It calls the API: 200 OK.",
	},
	Secrets: []string{"eyJ"},
	Varies:  []string{`[A-Z2-7]{4}-[A-Z2-7]{4}`},
	Sleeps:  true,
}

func TestStory(t *testing.T) { told.Test(t) }
