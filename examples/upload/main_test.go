package main

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"A stream of 64 MiB is sent to it",
		"The server said 401. By then 0 bytes of the stream had been read: there was nothing to keep.",
		"sent      67108864 bytes, sha256 ",
		"received  67108864 bytes, sha256 ",
		"The server counted: refreshes 1, requests 2, 401s 1.",
		"memory in use before ",
		"memory in use at most ",
		"allocated meanwhile ",
	},
	Varies: []string{`sha256 [0-9a-f]{64}`, `took \d+ ms`, ` +\d+\.\d MiB`},
}

func TestStory(t *testing.T) { told.Test(t) }
