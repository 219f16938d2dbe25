package xoauth2_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/xoauth2"
)

// config is a program's configuration of x/oauth2. It has no secret, so the
// AuthStyle is only for the logins, which stay with x/oauth2.
func config(srv *tokentest.Server) *oauth2.Config {
	return &oauth2.Config{
		ClientID:    "app",
		RedirectURL: "http://127.0.0.1/callback",
		Endpoint: oauth2.Endpoint{
			AuthURL:       srv.URL + "/oauth/authorize",
			DeviceAuthURL: srv.URL + "/oauth/device",
			TokenURL:      srv.URL + "/oauth/token",
			AuthStyle:     oauth2.AuthStyleInParams,
		},
	}
}

// newSession takes over from conf.Client, where docs/x-oauth2.md says how.
func newSession(conf *oauth2.Config, api string) (*tokenclient.Session, error) {
	refresher, err := xoauth2.Refresher(conf)
	if err != nil {
		return nil, err
	}
	return tokenclient.New(tokenclient.Config{Refresher: refresher, Origins: []string{api}})
}

// A token goes one way, and what gives tokens the other. docs/x-oauth2.md shows the
// two lines.
func Example() {
	srv, err := tokentest.Start(nil, nil) // stands for the server of the program
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	ctx := context.Background()
	conf := config(srv)
	token := &oauth2.Token{RefreshToken: srv.Issue("alice").RefreshToken} // that the program has from before
	if token, err = conf.TokenSource(ctx, token).Token(); err != nil {
		log.Fatal(err)
	}

	session, err := newSession(conf, srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	err = session.SetToken(ctx, xoauth2.FromToken(token)) // from x/oauth2, once after each login
	source := xoauth2.TokenSource(ctx, session)           // to x/oauth2, for packages that want a TokenSource
	if err != nil {
		log.Fatal(err)
	}

	srv.RevokeAccess("alice")
	resp, err := session.Client().Get(srv.URL + "/api/things")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	newer, err := source.Token()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.Status)
	fmt.Println("another token:", newer.Valid() && newer.AccessToken != token.AccessToken)
	// Output:
	// 200 OK
	// another token: true
}

// A program that had conf.Client(ctx, token), and the token in a file of its own. From now on
// the session's Store has the newest one, and that file is read and never written.
func ExampleTakeOver() {
	srv, err := tokentest.Start(nil, nil) // stands for the server of the program
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	ctx, conf, api := context.Background(), config(srv), srv.URL
	token := &oauth2.Token{RefreshToken: srv.Issue("alice").RefreshToken} // from that file
	tokens := new(store.Memory)                                           // mostly store.NewFile

	session, err := xoauth2.TakeOver(ctx, conf, token, tokenclient.Config{
		Store: tokens, Key: "alice",
		Origins: []string{api},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	client := session.Wrap(http.DefaultClient)

	resp, err := client.Get(api + "/api/things")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	fmt.Println(resp.Status)
	// Output:
	// 200 OK
}

func ExampleRefresher() {
	_, err := xoauth2.Refresher(&oauth2.Config{
		ClientID:     "app",
		ClientSecret: "secret",
		Endpoint:     oauth2.Endpoint{TokenURL: "https://auth.example.com/token"}, // AuthStyle is AutoDetect
	})
	fmt.Println(err != nil)

	refresher, err := xoauth2.Refresher(&oauth2.Config{
		ClientID:     "app",
		ClientSecret: "secret",
		Endpoint:     oauth2.Endpoint{TokenURL: "https://auth.example.com/token", AuthStyle: oauth2.AuthStyleInHeader},
	})
	fmt.Println(refresher, err)
	// Output:
	// true
	// OAuth2Refresher{auth.example.com/token, ClientSecretBasic("app")} <nil>
}
