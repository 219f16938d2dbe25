package tokenclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// runTool is what the README shows, around two requests. A test compares the two.
func runTool(ctx context.Context, dir, api string, token *tokenclient.Token) (err error) {
	// Leave the key out of the backups of dir: whoever has both can read the tokens.
	key, err := store.LoadOrCreateKeyFile(filepath.Join(dir, "secret.key"))
	if err != nil {
		return err
	}
	files, err := store.NewFile(filepath.Join(dir, "tokens"), store.Seal(key))
	if err != nil {
		return err
	}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api + "/token/refresh"},
		Store:     files, Key: "alice",
		Origins: []string{api},
		Logger:  slog.Default(), // says, among others, if a request goes out without the token, and why
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }() // waits for a save under way, also after ^C
	client := session.Wrap(http.DefaultClient)                    // a copy whose requests carry the token

	if token != nil {
		if err := session.SetToken(ctx, token); err != nil {
			return err
		}
	}
	resp, err := client.Get(api + "/api/things")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	return nil
}

// A command-line tool: the first run logs in, the second one finds the token.
func Example() {
	srv, err := tokentest.Start(nil, nil) // stands for https://api.example.com
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	if err := runTool(ctx, dir, srv.URL, srv.Issue("alice")); err != nil {
		log.Fatal(err)
	}
	srv.RevokeAccess("alice") // the second run does not see the 401
	if err := runTool(ctx, dir, srv.URL, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println("refreshes:", srv.Counters().Refreshes)
	// Output:
	// 200 OK
	// 200 OK
	// refreshes: 1
}

// A program that is told to log in again when the refresh token is dead.
func ExampleErrLoginRequired() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: srv.OAuth2Refresher(),
		Origins:   []string{srv.URL},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := session.SetToken(ctx, srv.Issue("alice")); err != nil {
		log.Fatal(err)
	}
	srv.RevokeAll("alice")

	_, err = session.Client().Get(srv.URL + "/api/things")
	fmt.Println("log in again:", errors.Is(err, tokenclient.ErrLoginRequired))
	if err := session.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: log in again: true
}

// For protocols other than HTTP: take a token, and say so if it was refused.
func ExampleSession_RefreshRejected() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: srv.OAuth2Refresher(),
		AnyOrigin: true, // no Transport of this session is used
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := session.SetToken(ctx, srv.Issue("alice")); err != nil {
		log.Fatal(err)
	}

	token, err := session.Token(ctx)
	if err != nil {
		log.Fatal(err)
	}
	// ... the peer closes the connection: "token not accepted" ...
	another, err := session.RefreshRejected(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("another token:", another.AccessToken != token.AccessToken)
	if err := session.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: another token: true
}

// An API that says in the body what others say by a 401. Of other answers nothing is read.
func ExamplePeekBody() {
	config := tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: "https://api.example.com/token/refresh"},
		Origins:   []string{"https://api.example.com"},
		Rejected: func(resp *http.Response) bool {
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
				return resp.StatusCode == http.StatusUnauthorized
			}
			start := tokenclient.PeekBody(resp, 1<<10, time.Second)
			return bytes.Contains(start, []byte(`"error":"token_expired"`))
		},
	}
	resp := &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(`{"ok":false,"error":"token_expired"}`)),
	}
	fmt.Println(config.Rejected(resp))
	whole, err := io.ReadAll(resp.Body)
	fmt.Println(string(whole), err)
	// Output:
	// true
	// {"ok":false,"error":"token_expired"} <nil>
}

// An API wants a stronger login for what is asked. The program is asked once, for all requests
// that wait, and they are sent again. In a program StepUp calls Browser or Device of package login.
func ExampleDemand() {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer strong" {
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_user_authentication", acr_values="mfa"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer api.Close()

	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api.URL + "/token/refresh"},
		Origins:   []string{api.URL},
		StepUp: func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
			fmt.Println(d.Error, d.Params().Encode())
			return s.SetToken(ctx, &tokenclient.Token{AccessToken: "strong"})
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer session.Close(ctx)
	if err := session.SetToken(ctx, &tokenclient.Token{AccessToken: "weak"}); err != nil {
		fmt.Println(err)
		return
	}
	resp, err := session.Client().Get(api.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode)
	// Output:
	// insufficient_user_authentication acr_values=mfa
	// 200
}
