package main

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkStory reports what is missing from out, or comes in the wrong place.
func checkStory(t *testing.T, out string) {
	t.Helper()
	rest := out
	for _, want := range []string{
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
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q, or not in its place, in\n%s", want, out)
		}
		rest = after
	}
	if strings.Contains(out, "eyJ") || strings.Contains(out, password) {
		t.Errorf("a secret in\n%s", out)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	checkStory(t, out.String())
}

func TestProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "quickstart.exe") // a name that runs everywhere
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), program).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checkStory(t, string(out))
}

func TestRunStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
