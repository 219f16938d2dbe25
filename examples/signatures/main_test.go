package main

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"HMAC-SHA256 with a shared secret",
		"POST /api/upload?name=report%20%231, 10000 bytes, sha256 ",
		"signed well: 200",
		"signed well: 401",
		"without a signature: 403",
		"1 refresh, 3 nonces, none of them twice",
		"HTTP Message Signatures (RFC 9421), Ed25519",
	},
	Varies: []string{`sha256 [0-9a-f]{16}`},
}

func TestStory(t *testing.T) { told.Test(t) }
