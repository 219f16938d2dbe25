package behaviour_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// idleMost is what an idle session may take beyond the text of its token.
const idleMost = 1000

// idleToken makes a token whose strings are as long as those of a server that issues
// JWTs, and nobody else's.
func idleToken(i int) *tokenclient.Token {
	return &tokenclient.Token{
		AccessToken: fmt.Sprintf("%0850d", i), RefreshToken: fmt.Sprintf("%0600d", i),
		Expiry: time.Now().Add(time.Hour),
	}
}

// idleStore holds a token for every key, and remembers none.
type idleStore struct{ tokenclient.Store }

func (idleStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	_ = ctx.Done() // as that of package database/sql does
	return tokenclient.Record{State: tokenclient.Active, Token: idleToken(len(key)), Number: 1}, nil
}

// idleBytes returns the memory of what make makes, on average.
func idleBytes[T any](n int, make func(i int) T) int {
	inUse := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	all := new([1 << 14]T)
	before := inUse()
	for i := range n {
		all[i] = make(i)
	}
	after := inUse()
	runtime.KeepAlive(all)
	return int(after-before) / n
}

// TestIdle: a session that holds a token and does nothing takes little memory, and
// has the text of its token once. Programs have one for each of their users.
func TestIdle(t *testing.T) {
	if sessiontest.Race {
		t.Skip("the race detector takes memory by itself")
	}
	n := 10000
	if testing.Short() {
		n = 2000
	}
	text := idleBytes(n, func(i int) [2]string {
		token := idleToken(i)
		return [2]string{token.AccessToken, token.RefreshToken}
	})
	var refresher tokenclient.Refresher = &tokenclient.OAuth2Refresher{
		TokenURL: "https://auth.example.com/token", RevocationURL: "https://auth.example.com/revoke", ClientAuth: tokenclient.PublicClient("client"),
	}
	start := func(c tokenclient.Config) *tokenclient.Session {
		c.Origins = []string{"https://api.example.com"}
		if c.Refresher == nil {
			c.Refresher = refresher
		}
		s, err := tokenclient.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, open := range map[string]func(i int) *tokenclient.Session{
		"logged in": func(i int) *tokenclient.Session {
			s := start(tokenclient.Config{})
			if err := s.SetToken(t.Context(), idleToken(i)); err != nil {
				t.Fatal(err)
			}
			return s
		},
		"loaded": func(i int) *tokenclient.Session {
			s := start(tokenclient.Config{Store: idleStore{}, Key: "key"})
			if _, err := s.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			return s
		},
		"refreshed": func(i int) *tokenclient.Session {
			s := start(tokenclient.Config{Refresher: tokenclient.RefresherFunc(
				func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) { return idleToken(i), nil })})
			if err := s.SetToken(t.Context(), idleToken(i)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := idleBytes(n, open) - text
			t.Logf("%d bytes beyond the %d of the token's text", got, text)
			if got > idleMost {
				t.Errorf("%d bytes, want at most %d", got, idleMost)
			}
		})
	}
}
