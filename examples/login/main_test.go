package main

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"A browser opens http://127.0.0.1:",
		"The person presses Refuse. The program is told: login: the authorization server answered access_denied",
		"Approve. The browser shows: You are logged in. You can close this window.",
		"The API says who the program is now: alice.",
		"The next call was answered 200, and nobody was asked.",
		"somebody has to log in again",
		"To log in, open this address on any device:",
		"and type the code",
		"The API says who the program is now: bob.",
	},
	Secrets: []string{"eyJ", "code_challenge", "state="},
	Varies:  []string{`[A-Z2-7]{4}-[A-Z2-7]{4}`},
	Sleeps:  true,
}

func TestStory(t *testing.T) { told.Test(t) }
