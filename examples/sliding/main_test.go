package main

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"Tokens live 2s.",
		"Logged in. 5 workers send a request every 200ms.",
		"all 60 were answered 200. The server counted: renewals 60, 401s 0, logins 0.",
		"The workers pause for longer than a token lives.",
		"Locked out: the next request is answered 401. The server counted: requests 1, 401s 1.",
		"Logged in again, with a heartbeat every 200ms",
		"without a request the next one is answered 200. The server counted: heartbeats ",
		"401s 0, logins 0.",
	},
	Varies: []string{`heartbeats \d+`},
	Sleeps: true,
}

func TestStory(t *testing.T) { told.Test(t) }
