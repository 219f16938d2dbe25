package tokentest_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// request is one call of the API. In a test it is a tokenclient.Session's client
// that puts the token on.
func request(srv *tokentest.Server, token *tokenclient.Token) string {
	req, err := http.NewRequest("GET", srv.URL+"/api/orders", nil)
	if err != nil {
		return err.Error()
	}
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	resp, err := srv.Client().Do(req)
	if err != nil {
		return err.Error()
	}
	resp.Body.Close()
	return resp.Status
}

// A test says tokentest.NewServer(t, nil) in place of Start and Close.
func Example() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	token := srv.Issue("alice")
	fmt.Println(request(srv, token))
	srv.RevokeAccess("alice")
	fmt.Println(request(srv, token))
	fmt.Println(srv.Counters().Unauthorized, "was refused")
	// Output:
	// 200 OK
	// 401 Unauthorized
	// 1 was refused
}

// A program's own client, against a server that revoked its token.
func ExampleServer_Client() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: srv.JSONRefresher(),
		Origins:   []string{srv.URL},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close(context.Background())
	if err := session.SetToken(context.Background(), srv.Issue("alice")); err != nil {
		fmt.Println(err)
		return
	}

	srv.RevokeAccess("alice")
	resp, err := session.Wrap(srv.Client()).Get(srv.URL + "/api/orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	seen := srv.Counters()
	fmt.Println(resp.Status)
	fmt.Println(seen.Unauthorized, "refused,", seen.Refreshes, "refresh")
	// Output:
	// 200 OK
	// 1 refused, 1 refresh
}

// The server rotates, and the client never learns of it.
func ExampleServer_FailRefresh() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	token := srv.Issue("alice")
	srv.FailRefresh(1, tokentest.Fault{Cut: true, AfterCommit: true})
	refresher := srv.JSONRefresher()
	for range 2 { // strict reuse detection takes the second call for a theft
		_, err := refresher.Refresh(context.Background(), token)
		fmt.Println("refreshed:", err == nil)
	}
	fmt.Println("reuses:", srv.Counters().Reuses)
	fmt.Println(request(srv, token))
	// Output:
	// refreshed: false
	// refreshed: false
	// reuses: 1
	// 401 Unauthorized
}

// A session gets over one lost answer. So a test says that all calls fail, or has one
// answered so that the session does not call again at once.
func ExampleServer_FailRefresh_session() {
	ctx, srv, session := tutorial()
	defer srv.Close()
	defer session.Close(ctx)
	reject := func() { // the access token: the next request needs another
		err := session.SetToken(ctx, srv.Issue("alice"))
		srv.RevokeAccess("alice")
		fmt.Println(fetch(srv, session), err, "calls:", srv.Counters().Refreshes)
	}

	srv.FailRefresh(1, tokentest.Fault{Status: 503})
	reject()
	srv.FailRefresh(1, tokentest.Fault{Status: 503, Header: http.Header{"Retry-After": {"1"}}})
	reject()
	srv.FailRefresh(-1, tokentest.Fault{Status: 503})
	reject()
	srv.FailRefresh(0, tokentest.Fault{}) // it is back
	reject()
	// Output:
	// 200 OK <nil> calls: 2
	// try again later <nil> calls: 3
	// try again later <nil> calls: 5
	// 200 OK <nil> calls: 6
}

// A 401 comes late, when the token was already replaced.
func ExampleServer_Hold() {
	srv, err := tokentest.Start(nil, &tokentest.Options{AccessLifetime: -1}) // issued expired
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()

	release := srv.Hold()
	answer := make(chan string)
	token := srv.Issue("alice")
	go func() { answer <- request(srv, token) }()
	for srv.Counters().Unauthorized == 0 { // not judged yet
		runtime.Gosched()
	}
	fmt.Println("decided, but not answered")
	release()
	fmt.Println(<-answer)
	// Output:
	// decided, but not answered
	// 401 Unauthorized
}
