package main

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"the SDK says so, and sends nothing.",
		"Logged in.",
		"The service has 11 bytes of alice's.",
		"sees nothing of it:",
		"The service has 11 bytes of alice's.",
		"refreshes 1, 401s 1, revocations 1.",
	},
	Secrets: []string{"eyJ"},
}

func TestStory(t *testing.T) { told.Test(t) }
