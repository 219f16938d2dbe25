package sessiontest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Open makes a session that is closed at the end of the test.
func Open(t testing.TB, c tokenclient.Config) *tokenclient.Session {
	t.Helper()
	s, err := tokenclient.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(t, s) })
	return s
}

// Close closes s, and fails the test if that fails.
func Close(t testing.TB, s *tokenclient.Session) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// URL is one of the API that LoggedIn is for.
const URL = "https://api.example.com/things?q=1"

// Access is the access token of the n-th refresh, 0 that of the login.
func Access(n int) string { return fmt.Sprintf("access-%d", n) }

// Refresher issues Access(1), Access(2) and so on.
func Refresher() tokenclient.Refresher {
	var n atomic.Int32
	return tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
		i := int(n.Add(1))
		return &tokenclient.Token{AccessToken: Access(i), RefreshToken: fmt.Sprintf("refresh-%d", i)}, nil
	})
}

// LoggedIn is a session that is logged in to URL's origin with Access(0), and needs no
// server: Refresher refreshes it.
func LoggedIn(t testing.TB, change func(*tokenclient.Config)) *tokenclient.Session {
	t.Helper()
	c := tokenclient.Config{Refresher: Refresher(), Origins: []string{"https://api.example.com"}}
	if change != nil {
		change(&c)
	}
	s := Open(t, c)
	if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: Access(0), RefreshToken: "refresh-0"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// Pair is a token that expires lifetime from now; 0: it does not say.
func Pair(access, refresh string, lifetime time.Duration) *tokenclient.Token {
	t := &tokenclient.Token{AccessToken: access, RefreshToken: refresh, Issued: time.Now()}
	if lifetime != 0 {
		t.Expiry = t.Issued.Add(lifetime)
	}
	return t
}
