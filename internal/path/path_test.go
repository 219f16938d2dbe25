package path_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/path"
)

// echo starts a server that sends back what it gets.
func echo(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func say(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
}

func wantEcho(t *testing.T, c net.Conn) {
	t.Helper()
	say(t, c)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// TestSilence: what there is falls silent, in both directions and without an end; what is
// new is not, unless the path is down.
func TestSilence(t *testing.T) {
	p := path.Listen(t, echo(t))
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	wantSilence := func(c net.Conn) {
		t.Helper()
		say(t, c)
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, want nothing", err)
		}
	}
	old := dial()
	wantEcho(t, old)
	p.Silence()
	wantSilence(old)
	second := dial()
	wantEcho(t, second)
	if !p.Silent(old.LocalAddr()) || p.Silent(second.LocalAddr()) {
		t.Error("the first connection is silent, and not the second")
	}
	p.Down(true)
	wantSilence(dial())
	p.Down(false)
	wantEcho(t, dial())
	if p.Conns() != 4 || p.Open() != 4 {
		t.Errorf("%d connections, %d open, want 4", p.Conns(), p.Open())
	}
}

// TestInABubble: a Path without a port, whose silence lasts an hour.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := path.New(t, func(_ context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(far, far) }()
			return near, nil
		})
		c, err := p.Dial(t.Context(), "tcp", "example.com:443")
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c)
		p.Silence()
		say(t, c)
		if err := c.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, want nothing for an hour", err)
		}
		_ = c.Close()
		synctest.Wait()
		if p.Open() != 0 {
			t.Error("the client has closed it")
		}
	})
}
