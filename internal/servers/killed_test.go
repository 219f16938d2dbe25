package servers_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
)

// waitToBeKilled is set in the process that TestKilled kills.
const waitToBeKilled = "SERVERS_WAIT_TO_BE_KILLED"

// TestKilled: servers end with the process of their test, also if that is killed, which leaves it
// no time to end them.
func TestKilled(t *testing.T) {
	started := []func(testing.TB, ...string) *servers.Server{servers.Redis, servers.PostgreSQL, servers.MariaDB}
	if testing.Short() {
		started = started[:1]
	}
	if os.Getenv(waitToBeKilled) != "" {
		for _, start := range started {
			fmt.Println("listens at", start(t).Address)
		}
		select {}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilled$", "-test.v", fmt.Sprint("-test.short=", testing.Short()))
	self.Env = append(os.Environ(), waitToBeKilled+"=1")
	out, err := self.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Start(); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for lines := bufio.NewScanner(out); len(addresses) < len(started) && lines.Scan(); {
		if strings.Contains(lines.Text(), "--- SKIP") {
			t.Skip(lines.Text())
		}
		if address, ok := strings.CutPrefix(lines.Text(), "listens at "); ok {
			addresses = append(addresses, address)
		}
	}
	_ = self.Process.Kill()
	_ = self.Wait()
	if len(addresses) != len(started) {
		t.Fatalf("only %q started", addresses)
	}
	for _, address := range addresses {
		for ctx.Err() == nil {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				break
			}
			_ = conn.Close()
			time.Sleep(10 * time.Millisecond)
		}
		if ctx.Err() != nil {
			t.Errorf("the server at %s lives on", address)
		}
	}
}
