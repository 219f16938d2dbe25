package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Refresher that is late has the only good pair: nobody may present its
// predecessor while it is at hand.
func TestLatePairBeatsTheOthers(t *testing.T) {
	for _, late := range []time.Duration{20*time.Second + 200*time.Millisecond, 20*time.Second + 700*time.Millisecond, 22 * time.Second, 25 * time.Second} {
		for _, others := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v late, another process %v", late, others), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx := t.Context()
					kv := &hookedKV{}
					start := time.Now()
					var mu sync.Mutex
					spent := false // the server has exchanged r1
					refresher := func(name string) tokenclient.Refresher {
						return tokenclient.RefresherFunc(func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
							mu.Lock()
							reuse := spent && old.RefreshToken == "r1"
							spent = true
							mu.Unlock()
							if reuse {
								t.Errorf("%s presented r1 again at %v", name, time.Since(start))
								return nil, tokenclient.ErrRefused
							}
							time.Sleep(late) // and ctx is ignored
							return &tokenclient.Token{AccessToken: "access-2", RefreshToken: "r2", Expiry: time.Now().Add(time.Hour)}, nil
						})
					}
					open := func(name string) *tokenclient.Session {
						tokens, err := store.NewShared(kv, store.Plaintext(), nil)
						if err != nil {
							t.Fatal(err)
						}
						s, err := tokenclient.New(tokenclient.Config{Store: tokens, Key: "alice", AnyOrigin: true, Refresher: refresher(name)})
						if err != nil {
							t.Fatal(err)
						}
						return s
					}
					a, b := open("a"), open("b")
					defer a.Close(ctx)
					defer b.Close(ctx)
					if err := a.SetToken(ctx, &tokenclient.Token{AccessToken: "access-1", RefreshToken: "r1", Expiry: time.Now().Add(-time.Second)}); err != nil {
						t.Fatal(err)
					}
					var wg sync.WaitGroup
					sessions := []*tokenclient.Session{a}
					if others {
						sessions = append(sessions, b)
					}
					for i, s := range sessions {
						time.Sleep(time.Duration(i) * time.Second)
						wg.Go(func() {
							for {
								if _, err := s.Token(ctx); err == nil {
									t.Log("session", i, "has the new token at", time.Since(start))
									return
								} else if time.Since(start) > 2*time.Minute {
									t.Error(i, err)
									return
								}
								time.Sleep(100 * time.Millisecond)
							}
						})
					}
					wg.Wait()
				})
			})
		}
	}
}
