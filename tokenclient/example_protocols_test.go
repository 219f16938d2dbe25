package tokenclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// twoTokens is what README.zh.md shows for a server with two tokens, around two requests.
func twoTokens(ctx context.Context, srv *tokentest.Server, tokens tokenclient.Store) (err error) {
	api := srv.URL
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api + "/token/refresh"},
		Store:     tokens, Key: "alice",
		Origins: []string{api},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()

	token, err := (&tokenclient.PasswordLogin{URL: api + "/login"}).Login(ctx, "alice", "secret")
	if err != nil {
		return err
	}
	if err := session.SetToken(ctx, token); err != nil {
		return err
	}
	client := session.Wrap(http.DefaultClient)

	for range 2 {
		resp, err := client.Get(api + "/api/things")
		if err != nil {
			return err
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
		srv.RevokeAccess("alice")
	}
	return nil
}

// slidingToken is what README.zh.md shows for a server that renews one token, around two
// requests.
func slidingToken(ctx context.Context, api string, token *tokenclient.Token) (err error) {
	session, err := tokenclient.New(tokenclient.Config{
		Renewed:  tokenclient.RenewedHeader("X-Auth-Token"),
		Attacher: tokenclient.HeaderAttacher("X-Auth-Token"),
		Origins:  []string{api},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()
	if err := session.SetToken(ctx, token); err != nil {
		return err
	}
	client := session.Wrap(http.DefaultClient)

	for range 2 {
		resp, err := client.Get(api + "/api/things")
		if err != nil {
			return err
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	return nil
}

// The two protocols that README.zh.md tells apart.
func Example_protocols() {
	ctx := context.Background()
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.AddUser("alice", "secret")
	if err := twoTokens(ctx, srv, new(store.Memory)); err != nil {
		log.Fatal(err)
	}
	fmt.Println("refreshes:", srv.Counters().Refreshes)

	renewing, err := tokentest.Start(nil, &tokentest.Options{Header: "X-Auth-Token", SlidingHeader: true})
	if err != nil {
		log.Fatal(err)
	}
	defer renewing.Close()
	if err := slidingToken(ctx, renewing.URL, renewing.Issue("alice")); err != nil {
		log.Fatal(err)
	}
	fmt.Println("renewals:", renewing.Counters().Renewals)
	// Output:
	// 200 OK
	// 200 OK
	// refreshes: 1
	// 200 OK
	// 200 OK
	// renewals: 2
}
