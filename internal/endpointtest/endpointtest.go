// Package endpointtest is the rig of tests of what calls a token endpoint: a server that
// answers as it is told, and secrets that must be seen nowhere. It does not know what the
// calls are, nor who makes them.
package endpointtest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// What is secret. WantSilent knows each of them by its first word.
const (
	Refresh = "planted-refresh-token-0123456789"
	Access  = "planted-access-token-0123456789"
	Secret  = "planted-client-secret-0123456789"
)

// WantSilent fails the test if one of the texts has a secret in it, in either case.
func WantSilent(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), "planted") {
			t.Errorf("a secret in %q", text)
		}
	}
}

// Serve starts a server for the life of the test and counts its requests.
func Serve(t *testing.T, h http.HandlerFunc) (srv *httptest.Server, calls *atomic.Int32) {
	t.Helper()
	calls = new(atomic.Int32)
	srv = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		h(w, r)
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, calls
}

// Answer is a handler that always answers so.
func Answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}
