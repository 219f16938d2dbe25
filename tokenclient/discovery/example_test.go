package discovery_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// From an issuer to a session.
func ExampleFind() {
	srv, err := tokentest.Start(nil, nil) // stands for the server of the program
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	ctx := context.Background()

	md, err := discovery.Find(ctx, srv.URL)
	if err != nil {
		log.Fatal(err)
	}
	if !slices.Contains(md.TokenAuthMethods, "none") {
		log.Fatal("the server wants a client secret")
	}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:      md.TokenEndpoint,
			RevocationURL: md.RevocationEndpoint,
			ClientAuth:    tokenclient.PublicClient("my-app"),
		},
		Origins: []string{srv.URL},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	if err := session.SetToken(ctx, srv.Issue("alice")); err != nil { // a login
		log.Fatal(err)
	}
	_, err = session.Refresh(ctx)
	fmt.Println("refreshed:", err == nil)
	// Output:
	// refreshed: true
}

// A program that starts while its server is down.
func ExampleRefresher() {
	srv, err := tokentest.Start(nil, nil) // stands for the server of the program
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	ctx := context.Background()

	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &discovery.Refresher{
			Issuer: srv.URL,
			Make: func(md *discovery.Metadata) tokenclient.Refresher {
				return &tokenclient.OAuth2Refresher{
					TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint,
					ClientAuth: tokenclient.PublicClient("my-app"),
				}
			},
		},
		Origins: []string{srv.URL},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	if err := session.SetToken(ctx, srv.Issue("alice")); err != nil { // a login
		log.Fatal(err)
	}
	_, err = session.Refresh(ctx) // nothing was asked before
	fmt.Println("refreshed:", err == nil)
	// Output:
	// refreshed: true
}

// From the 401 of an API to the authorization server that it wants tokens of.
func ExampleClient_FollowChallenge() {
	var api *httptest.Server
	api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/oauth-protected-resource":
			fmt.Fprintf(w, `{"resource":%q,"authorization_servers":[%q]}`, api.URL, api.URL+"/tenant")
		case "/.well-known/oauth-authorization-server/tenant":
			fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":%q}`, api.URL+"/tenant", api.URL+"/tenant/token")
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer resource_metadata=%q", api.URL+"/.well-known/oauth-protected-resource"))
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer api.Close()
	ctx := context.Background()

	resp, err := http.Get(api.URL + "/orders")
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()

	var client discovery.Client
	// The program knows the API by this name. Without it, the metadata would have to name
	// the URL of the request.
	resource, err := client.FollowChallenge(ctx, resp, api.URL)
	if err != nil || len(resource.AuthorizationServers) == 0 {
		log.Fatal(err)
	}
	issuer := resource.AuthorizationServers[0]
	if issuer != api.URL+"/tenant" {
		log.Fatal("not a server that tokens may be asked of: ", issuer)
	}
	md, err := client.Find(ctx, issuer)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(md.TokenEndpoint == api.URL+"/tenant/token")
	// Output:
	// true
}

// The endpoints of many users' servers, in a Pool.
func ExampleClient_Find() {
	srv, err := tokentest.Start(nil, nil) // stands for the servers of the users
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	ctx := context.Background()

	servers := new(discovery.Client) // remembers
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store: new(store.Memory),
		Config: func(ctx context.Context, user string) (tokenclient.Config, error) {
			md, err := servers.Find(ctx, srv.URL)
			if err != nil {
				return tokenclient.Config{}, err
			}
			return tokenclient.Config{
				Refresher: &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, ClientAuth: tokenclient.PublicClient("my-app")},
				Origins:   []string{srv.URL},
			}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close(ctx)
	for _, user := range []string{"alice", "bob"} {
		session, err := pool.Session(ctx, user)
		if err == nil {
			err = session.SetToken(ctx, srv.Issue(user)) // a login
		}
		if err == nil {
			_, err = session.Refresh(ctx)
		}
		fmt.Println(user, "refreshed:", err == nil)
	}
	// Output:
	// alice refreshed: true
	// bob refreshed: true
}
