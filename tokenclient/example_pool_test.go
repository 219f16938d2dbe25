package tokenclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A back end that calls an API for many users: one client, and each request says in
// its context for whom it is.
func ExamplePool() {
	srv, err := tokentest.Start(nil, nil) // stands for https://api.example.com
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	everybody := tokenclient.Config{
		Refresher: srv.OAuth2Refresher(),
		Origins:   []string{srv.URL},
	}
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store:  new(store.Memory), // a store.File or store.Shared in earnest
		Config: func(context.Context, string) (tokenclient.Config, error) { return everybody, nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	client := pool.Client()

	// After a login of Alice's.
	session, err := pool.Session(ctx, "alice")
	if err != nil {
		log.Fatal(err)
	}
	if err := session.SetToken(ctx, srv.Issue("alice")); err != nil {
		log.Fatal(err)
	}

	for _, user := range []string{"alice", "bob"} {
		req, err := http.NewRequestWithContext(tokenclient.WithKey(ctx, user), http.MethodGet, srv.URL+"/api/me", nil)
		if err != nil {
			log.Fatal(err)
		}
		resp, err := client.Do(req)
		if errors.Is(err, tokenclient.ErrLoginRequired) {
			fmt.Println(user, "has to log in")
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		fmt.Println(user, "got", resp.Status)
	}
	if err := pool.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// alice got 200 OK
	// bob has to log in
}

// Tokens are refreshed before anybody has to wait for it, for those users who have
// sent a request within the last ten minutes.
func ExamplePool_KeepFresh() {
	everybody := tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: "https://api.example.com/token/refresh"},
		Origins:   []string{"https://api.example.com"},
	}
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store:  new(store.Memory),
		Config: func(context.Context, string) (tokenclient.Config, error) { return everybody, nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	kept := make(chan error)
	go func() { kept <- pool.KeepFresh(ctx, 10*time.Minute) }()

	// ... the program's work ...

	stop()
	fmt.Println(errors.Join(<-kept, pool.Close(context.Background())))
	// Output: <nil>
}

// What an operator wants to see.
func ExamplePool_Stats() {
	everybody := tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: "https://api.example.com/token/refresh"},
		Origins:   []string{"https://api.example.com"},
	}
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store:  new(store.Memory),
		Config: func(context.Context, string) (tokenclient.Config, error) { return everybody, nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	session, err := pool.Session(ctx, "alice")
	if err != nil {
		log.Fatal(err)
	}
	if err := session.SetToken(ctx, &tokenclient.Token{AccessToken: "from a login"}); err != nil {
		log.Fatal(err)
	}
	for key := range pool.Sessions() {
		fmt.Println("loaded:", key)
	}
	stats := pool.Stats()
	fmt.Println("live:", stats.Live, "refreshing:", stats.Refreshing, "waiting:", stats.Waiting)
	if err := pool.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// loaded: alice
	// live: 1 refreshing: 0 waiting: 0
}
