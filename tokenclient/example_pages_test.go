package tokenclient_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// What docs/errors.md has a program do next.
const (
	done        = "done"
	logIn       = "log in"
	tryLater    = "try later"
	tellSomeone = "tell somebody"
)

// next is what docs/errors.md shows.
func next(client *http.Client, req *http.Request) string {
	resp, err := client.Do(req)
	var te *tokenclient.TokenError
	switch {
	case errors.Is(err, tokenclient.ErrLoginRequired), errors.Is(err, tokenclient.ErrStoreCorrupt):
		return logIn // nothing else helps
	case errors.As(err, &te) && te.Temporary(), errors.Is(err, tokenclient.ErrStoreUnavailable):
		return tryLater // the login is still good
	case err != nil:
		return tellSomeone // the network, or something to mend
	}
	defer resp.Body.Close()
	return done
}

// The branches of a program, each met once.
func ExampleTokenError() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	ctx := context.Background()
	session, err := tokenclient.New(tokenclient.Config{Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	client := session.Wrap(srv.Client())
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/api/things", nil)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println(next(client, req))
	if err := session.SetToken(ctx, srv.Issue("alice")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(next(client, req))
	srv.RevokeAccess("alice")
	srv.FailRefresh(-1, tokentest.Fault{Status: http.StatusServiceUnavailable})
	fmt.Println(next(client, req))
	// Output:
	// log in
	// done
	// try later
}

// docs/origins.md shows the Config.
func ExampleConfig_origins() {
	refresher := &tokenclient.OAuth2Refresher{TokenURL: "https://auth.example.com/token", ClientAuth: tokenclient.PublicClient("my-app")}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: refresher,
		Origins:   []string{"https://api.example.com", "https://files.example.com:8443"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(context.Background())

	_, err = tokenclient.New(tokenclient.Config{Refresher: refresher, Origins: []string{"http://api.example.com"}})
	fmt.Println("plain http is refused:", err != nil)
	// Output: plain http is refused: true
}
