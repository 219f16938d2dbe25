package servers

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Redis starts a Redis that has written to its file what it answered to. The lines
// of config are added to its redis.conf.
func Redis(tb testing.TB, config ...string) *Server {
	tb.Helper()
	return startRedis(tb, nil, append([]string{
		"save \"\"",
		"appendonly yes",
		"appendfsync always",
		"auto-aof-rewrite-percentage 0",
	}, config...))
}

// Sentinel starts a Redis Sentinel with config, the lines of its file.
func Sentinel(tb testing.TB, config ...string) *Server {
	tb.Helper()
	return startRedis(tb, []string{"--sentinel"}, config)
}

func startRedis(tb testing.TB, options, config []string) *Server {
	tb.Helper()
	redis := program(tb, "redis-server", "redis-server")
	s := newServer(tb, syscall.SIGKILL, nil)
	file := s.path("redis.conf")
	config = append([]string{"port " + s.port(), "bind 127.0.0.1", "dir " + s.dir}, config...)
	if err := os.WriteFile(file, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	s.command = append([]string{redis, file}, options...)
	s.ready = s.pingRedis
	s.Start()
	return s
}

func (s *Server) pingRedis() error {
	conn, err := net.DialTimeout("tcp", s.Address, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && answer != "+PONG\r\n" {
		err = fmt.Errorf("it answers %q", answer)
	}
	return err
}
