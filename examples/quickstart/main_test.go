package main

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"Logged in as alice.",
		"was refreshed meanwhile",
		"was refreshed meanwhile",
		"was refreshed meanwhile",
		"3 tokens used up, the server counted 3 refreshes and not one 401.",
		"The server revoked the access token",
		"The next call was answered 200: the server said 401",
		"The server revoked the refresh token too.",
		"log in again.",
		"Logged in again. The next call was answered 200",
		"The server counted:",
		"refreshes    5",
		"401s         2  (none of them seen by the program)",
	},
	Secrets: []string{"eyJ", password},
	Varies:  []string{`^ *\d+\.\d s`, ` {2}\d+ calls, all`, `made \d+ calls`, `requests +\d+`},
	Sleeps:  true,
}

func TestStory(t *testing.T) { told.Test(t) }
