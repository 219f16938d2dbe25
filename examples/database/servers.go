package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// An engine is one that the story is told over.
type engine struct {
	name   string
	server func(testing.TB) string // starts one, and returns its address
	open   func(ctx context.Context, address string) (database, error)
}

var engines = []engine{
	{"PostgreSQL", func(tb testing.TB) string {
		s := servers.PostgreSQL(tb)
		return "postgres://" + s.User + "@" + s.Address + "/" + s.Database + "?sslmode=disable"
	}, openPostgreSQL},
	{"Redis", func(tb testing.TB) string { return servers.Redis(tb).Address }, openRedis},
}

// A database is one that was opened.
type database struct {
	kv          store.KV
	connections func() int
	close       func() error
}

// start starts a server. The problem is why there is none: the program is missing, say.
func start(server func(testing.TB) string) (address string, stop func(), problem string) {
	s := new(stage)
	done := make(chan struct{})
	go func() { // which a test that gives up would end
		defer close(done)
		address = server(s)
	}()
	<-done
	return address, s.end, s.problem
}

// A stage is what package servers wants of a test. It says nothing of what happens after
// start.
type stage struct {
	testing.TB // nil
	cleanups   []func()
	problem    string
}

func (s *stage) Helper()                      {}
func (s *stage) Cleanup(f func())             { s.cleanups = append(s.cleanups, f) }
func (s *stage) Error(args ...any)            { s.problem = fmt.Sprint(args...) }
func (s *stage) Errorf(f string, args ...any) { s.Error(fmt.Sprintf(f, args...)) }
func (s *stage) Fatal(args ...any) {
	s.Error(args...)
	runtime.Goexit()
}
func (s *stage) Fatalf(f string, args ...any) { s.Fatal(fmt.Sprintf(f, args...)) }
func (s *stage) Skip(args ...any)             { s.Fatal(args...) }
func (s *stage) Skipf(f string, args ...any)  { s.Fatal(fmt.Sprintf(f, args...)) }

func (s *stage) end() {
	for _, f := range slices.Backward(s.cleanups) {
		f()
	}
}
