package depot_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/examples/sdk/depot"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// newClient returns a client of a server that lives in memory, and closes it when the test
// ends.
func newClient(t *testing.T, server *tokentest.Server, options depot.Options) *depot.Client {
	t.Helper()
	options.HTTPClient = server.Client()
	client, err := depot.New(server.URL, &options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(context.Background()); err != nil { // t.Context has ended by now
			t.Error(err)
		}
	})
	return client
}

func newServer(t *testing.T) *tokentest.Server {
	t.Helper()
	server := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
	server.AddUser("alice", "secret")
	return server
}

// put is a call, and whether the right user's file arrived.
func put(t *testing.T, client *depot.Client) error {
	t.Helper()
	receipt, err := client.Put(t.Context(), "a b", strings.NewReader("hello"))
	if err == nil && (receipt.Owner != "alice" || receipt.Size != 5) {
		t.Errorf("the receipt is %+v", receipt)
	}
	return err
}

// TestLifeOfALogin: two months, in no time.
func TestLifeOfALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, ended := newServer(t), 0
		client := newClient(t, server, depot.Options{LoggedOut: func(error) { ended++ }})
		if err := put(t, client); !errors.Is(err, depot.ErrLoginRequired) {
			t.Errorf("before the login: %v", err)
		}
		if err := client.Login(t.Context(), "alice", "wrong"); err == nil {
			t.Error("logged in with a wrong password")
		}
		if err := client.Login(t.Context(), "alice", "secret"); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			time.Sleep(24 * time.Hour) // the access token lives for a quarter of an hour
			if err := put(t, client); err != nil {
				t.Fatal(err)
			}
		}
		if c := server.Counters(); c.Refreshes != 60 || c.Unauthorized != 0 {
			t.Errorf("the server counted %+v", c)
		}
		server.RevokeAccess("alice") // after the last call: a body is sent twice
		if err := put(t, client); err != nil {
			t.Error(err)
		}
		server.RevokeAll("alice")
		if err := put(t, client); !errors.Is(err, depot.ErrLoginRequired) {
			t.Errorf("after all was revoked: %v", err)
		}
		synctest.Wait()
		if ended != 1 {
			t.Errorf("LoggedOut was called %d times", ended)
		}
	})
}

// TestOutage: nobody is asked to log in because the service is down.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newServer(t)
		client := newClient(t, server, depot.Options{})
		if err := client.Login(t.Context(), "alice", "secret"); err != nil {
			t.Fatal(err)
		}
		server.RevokeAccess("alice")
		server.FailRefresh(-1, tokentest.Fault{Status: http.StatusServiceUnavailable})
		if err := put(t, client); err == nil || errors.Is(err, depot.ErrLoginRequired) {
			t.Errorf("while the service was down: %v", err)
		}
		server.FailRefresh(0, tokentest.Fault{})
		time.Sleep(time.Hour)
		if err := put(t, client); err != nil {
			t.Error(err)
		}
		server.FailAPI(1, tokentest.Fault{Status: http.StatusTeapot})
		if status, ok := errors.AsType[*depot.StatusError](put(t, client)); !ok || status.Status != http.StatusTeapot {
			t.Errorf("of an answer that is no success: %v", status)
		}
	})
}

// TestDir: a login outlives the program that made it, and a logout is one for all.
func TestDir(t *testing.T) {
	server, options := newServer(t), depot.Options{Dir: t.TempDir(), Account: "alice"}
	first := newClient(t, server, options)
	if err := first.Login(t.Context(), "alice", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := put(t, newClient(t, server, options)); err != nil {
		t.Errorf("another process: %v", err)
	}
	if err := first.Logout(t.Context()); err != nil {
		t.Error(err)
	}
	if err := put(t, newClient(t, server, options)); !errors.Is(err, depot.ErrLoginRequired) {
		t.Errorf("after the logout: %v", err)
	}
	if c := server.Counters(); c.Revocations != 1 {
		t.Errorf("the server counted %+v", c)
	}
}

// TestNames: a name stays a name, whatever somebody else typed into it.
func TestNames(t *testing.T) {
	server := newServer(t)
	client := newClient(t, server, depot.Options{})
	if err := client.Login(t.Context(), "alice", "secret"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", ".", "..", "../me", "a/b", "a/../../me", `..\me`, "a\x00"} {
		before := server.Counters().Requests
		if _, err := client.Put(t.Context(), name, strings.NewReader("x")); !errors.Is(err, depot.ErrName) || server.Counters().Requests != before {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"...", "..a", "a..", "%2e%2e", "a?b", "a#b", "über uns;v=1"} {
		if _, err := client.Put(t.Context(), name, strings.NewReader("x")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
