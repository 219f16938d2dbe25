package tokentest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// fetch is the program of the tutorial in doc.go, as small as can be.
func fetch(srv *tokentest.Server, session *tokenclient.Session) string {
	resp, err := session.Wrap(srv.Client()).Get(srv.URL + "/api/orders")
	switch {
	case errors.Is(err, tokenclient.ErrLoginRequired):
		return "log in again"
	case err != nil:
		return "try again later"
	}
	resp.Body.Close()
	return resp.Status
}

// tutorial is how its tests begin, for examples, which have no testing.TB.
func tutorial() (ctx context.Context, srv *tokentest.Server, session *tokenclient.Session) {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	session, err = tokenclient.New(tokenclient.Config{Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}})
	if err != nil {
		log.Fatal(err)
	}
	return context.Background(), srv, session
}

// A person logs in with a password, at first with a wrong one.
func Example_login() {
	ctx, srv, session := tutorial()
	defer srv.Close()

	srv.AddUser("alice", "secret")
	fmt.Println(fetch(srv, session)) // log in again
	_, err := srv.PasswordLogin().Login(ctx, "alice", "wrong")
	fmt.Println("wrong password:", err != nil) // true
	token, err := srv.PasswordLogin().Login(ctx, "alice", "secret")
	if err == nil {
		err = session.SetToken(ctx, token)
	}
	fmt.Println(fetch(srv, session), err) // 200 OK

	// Output:
	// log in again
	// wrong password: true
	// 200 OK <nil>
}

// An access token expires: it is refreshed before the server sees it.
func Example_expiry() {
	ctx, srv, session := tutorial()
	defer srv.Close()

	srv.Set(func(o *tokentest.Options) { o.AccessLifetime = -1 })
	err := session.SetToken(ctx, srv.Issue("alice")) // has expired already
	srv.Set(func(o *tokentest.Options) { o.AccessLifetime = time.Hour })
	fmt.Println(fetch(srv, session), err) // 200 OK
	seen := srv.Counters()
	fmt.Println("refreshes:", seen.Refreshes, "refused:", seen.Unauthorized) // 1, 0

	// Output:
	// 200 OK <nil>
	// refreshes: 1 refused: 0
}

// The server revokes the access token, and then everything.
func Example_revocation() {
	ctx, srv, session := tutorial()
	defer srv.Close()

	err := session.SetToken(ctx, srv.Issue("alice"))
	srv.RevokeAccess("alice")
	fmt.Println(fetch(srv, session), err)                // 200 OK
	fmt.Println("refused:", srv.Counters().Unauthorized) // 1
	srv.RevokeAll("alice")
	fmt.Println(fetch(srv, session)) // log in again

	// Output:
	// 200 OK <nil>
	// refused: 1
	// log in again
}

// The token endpoint is down when it is needed. No login is asked for.
func Example_outage() {
	ctx, srv, session := tutorial()
	defer srv.Close()

	err := session.SetToken(ctx, srv.Issue("alice"))
	srv.RevokeAccess("alice")
	srv.FailRefresh(-1, tokentest.Fault{Status: http.StatusServiceUnavailable})
	fmt.Println(fetch(srv, session), err) // try again later
	srv.FailRefresh(0, tokentest.Fault{}) // it is back
	_, err = session.Refresh(ctx)         // or wait: a test in a bubble can
	fmt.Println(fetch(srv, session), err) // 200 OK

	// Output:
	// try again later <nil>
	// 200 OK <nil>
}

// A person logs out, and the server is told.
func Example_logout() {
	ctx, srv, session := tutorial()
	defer srv.Close()

	token := srv.Issue("alice")
	err := errors.Join(session.SetToken(ctx, token), session.Logout(ctx))
	fmt.Println(fetch(srv, session), err)                   // log in again
	fmt.Println("revocations:", srv.Counters().Revocations) // 1
	_, err = srv.OAuth2Refresher().Refresh(ctx, token)
	fmt.Println("its refresh token is dead:", errors.Is(err, tokenclient.ErrLoginRequired)) // true

	// Output:
	// log in again <nil>
	// revocations: 1
	// its refresh token is dead: true
}

func TestOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true})
		session, err := tokenclient.New(tokenclient.Config{Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}})
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close(t.Context())
		if err := session.SetToken(t.Context(), srv.Issue("alice")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // the access token has expired
		if got := fetch(srv, session); got != "200 OK" || srv.Counters().Refreshes != 1 {
			t.Error(got)
		}
	})
}

// TestTutorial keeps the code in the package's documentation to what runs here.
func TestTutorial(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("tutorial_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?m)(^//\t.*\n)+`).FindAllString(string(doc), -1)
	if len(blocks) < 7 {
		t.Errorf("the documentation has %d pieces of code", len(blocks))
	}
	for _, block := range blocks {
		code := strings.ReplaceAll(block, "//\t", "")
		inside := strings.ReplaceAll(block, "//\t", "\t") // of an example
		if !strings.Contains(string(source), code) && !strings.Contains(string(source), inside) {
			t.Errorf("this code of the documentation is not run:\n%s", code)
		}
	}
}
