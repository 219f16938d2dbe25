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

func checkStory(t *testing.T, out string) {
	t.Helper()
	rest := out
	for _, want := range []string{
		"Tokens live 1.5s.",
		"Logged in. 5 workers send a request every 300ms.",
		"all 60 were answered 200. The server counted: renewals 60, 401s 0, logins 0.",
		"The workers pause for longer than a token lives.",
		"Locked out: the next request is answered 401. The server counted: requests 1, 401s 1.",
		"Logged in again, with a heartbeat every 300ms",
		"without a request the next one is answered 200. The server counted: heartbeats ",
		"401s 0, logins 0.",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q, or not in its place, in\n%s", want, out)
		}
		rest = after
	}
}

func TestRun(t *testing.T) {
	t.Parallel() // it mostly sleeps
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	checkStory(t, out.String())
}

func TestProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "sliding.exe") // a name that runs everywhere
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
