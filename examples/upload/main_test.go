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
		"A stream of 64 MiB is sent to it",
		"The server said 401. By then 0 bytes of the stream had been read: there was nothing to keep.",
		"sent      67108864 bytes, sha256 ",
		"received  67108864 bytes, sha256 ",
		"The server counted: refreshes 1, requests 2, 401s 1.",
		"memory in use before ",
		"memory in use at most ",
		"allocated meanwhile ",
	} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q, or not in its place, in\n%s", want, out)
		}
		rest = after
	}
}

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	checkStory(t, out.String())
}

func TestProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "upload.exe") // a name that runs everywhere
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
