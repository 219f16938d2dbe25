package main

import (
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var lines = []string{
	"100 users have logged in, each at one of two instances.",
	"to both instances at the same moment: all were answered.",
	"The server counted 100 refreshes, one for each user, and no refresh token that came twice.",
	" connections to the database at most.",
	"user-001 logged out at one instance. The other says: log in.",
}

var told = storytest.Story{
	Run:     run,
	Lines:   append(append(append([]string{"PostgreSQL\n"}, lines...), "Redis\n"), lines...),
	Secrets: []string{"eyJ"},
	Varies:  []string{`^ *\d+\.\d s`, `\d+ and \d+ connections`},
}

func TestStory(t *testing.T) {
	servers.PostgreSQL(t) // or the test is skipped, and says why
	servers.Redis(t)
	told.Test(t)
}

// TestWithoutServers: who has not installed a program is told which package to install, and
// that is no failure.
func TestWithoutServers(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // where nothing is installed
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil || !strings.Contains(out.String(), "install the Debian package redis-server") {
		t.Errorf("error %v, in\n%s", err, out.String())
	}
}
