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
		"worker 1   o o ", "worker 5   o o ", "the token  ====",
		"Logged in again, with a heartbeat every 200ms",
		"without a request the next one is answered 200. The server counted: heartbeats ",
		"401s 0, logins 0.",
		"heartbeat ", "h h", "the token  ====",
	},
	Varies: []string{`heartbeats \d+`, `^ +0 ms .*$`, `^(worker \d|heartbeat|the token)  .*$`},
	Sleeps: true,
}

func TestStory(t *testing.T) { told.Test(t) }
