// Command quickstart shows what the library does for a program that calls an API
// with short-lived access tokens: nothing to see, until a login is needed.
//
//	go run ./examples/quickstart
//
// It brings its own server, whose access tokens live for two seconds, and takes
// six seconds. What you need in a program of yours is connect and logIn; the rest
// is the story.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// connect returns a session that is not logged in yet. It refreshes tokens by
// itself, and sends them to the API and to nobody else.
func connect(api string) (*tokenclient.Session, error) {
	return tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{URL: api + "/token/refresh"},
		Origins:   []string{api},
	})
}

// logIn is all that is done with the password.
func logIn(ctx context.Context, session *tokenclient.Session, api, user, password string) error {
	login := &tokenclient.PasswordLogin{URL: api + "/login"}
	token, err := login.Login(ctx, user, password)
	if err != nil {
		return err
	}
	return session.SetToken(ctx, token)
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

const (
	user, password = "alice", "correct horse"
	lifetime       = 2 * time.Second
	expiries       = 3
	pause          = 100 * time.Millisecond // between two calls
)

func run(ctx context.Context, stdout io.Writer) (err error) {
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(stdout, "%4.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}

	server, err := tokentest.Start(nil, &tokentest.Options{AccessLifetime: lifetime})
	if err != nil {
		return err
	}
	defer server.Close()
	server.AddUser(user, password)

	session, err := connect(server.URL)
	if err != nil {
		return err
	}
	// Close waits for a refresh under way: its new token must not get lost.
	defer func() { err = errors.Join(err, session.Close(ctx)) }()

	// From here on the program has an ordinary *http.Client.
	client := session.Wrap(http.DefaultClient)
	calls := 0
	call := func() error {
		calls++
		return get(ctx, client, server.URL+"/api/orders")
	}

	if err := logIn(ctx, session, server.URL, user, password); err != nil {
		return err
	}
	say("Logged in as %s. Access tokens live for %v here.", user, lifetime)

	for range expiries {
		n, err := callUntilRefreshed(ctx, session, call)
		if err != nil {
			return err
		}
		say("%d calls, all answered 200. The token was about to expire and was refreshed meanwhile.", n)
	}
	if c := server.Counters(); c.Refreshes != expiries || c.Unauthorized != 0 {
		return fmt.Errorf("not as told: want %d refreshes and no 401, the server counted %+v", expiries, c)
	}
	say("%d tokens used up, the server counted %d refreshes and not one 401.", expiries, expiries)

	// An administrator does this, or a server that lost its sessions.
	server.RevokeAccess(user)
	say("The server revoked the access token before its time.")
	if err := call(); err != nil {
		return err
	}
	if c := server.Counters(); c.Refreshes != expiries+1 || c.Unauthorized != 1 {
		return fmt.Errorf("not as told: want one more refresh and one 401, the server counted %+v", c)
	}
	say("The next call was answered 200: the server said 401, and the request was sent again with a new token.")

	// A password was changed, or nobody used the program for a month.
	server.RevokeAll(user)
	say("The server revoked the refresh token too.")
	err = call()
	if !errors.Is(err, tokenclient.ErrLoginRequired) {
		return fmt.Errorf("not as told: want an error that is ErrLoginRequired, got %w", err)
	}
	say("The next call failed, and says why: log in again.")

	if err := logIn(ctx, session, server.URL, user, password); err != nil {
		return err
	}
	if err := call(); err != nil {
		return err
	}
	say("Logged in again. The next call was answered 200: same session, same client.")

	got := server.Counters()
	want := tokentest.Counters{
		Logins:       2,
		Refreshes:    expiries + 2, // the last one was refused
		Requests:     calls + 1,    // one was sent twice
		Unauthorized: 2,            // the one sent twice, and the one that needed a login
	}
	if got != want {
		return fmt.Errorf("not as told: want %+v, the server counted %+v", want, got)
	}
	fmt.Fprintf(stdout, "\nThe program made %d calls. The server counted:\n", calls)
	fmt.Fprintf(stdout, "  logins     %3d\n", got.Logins)
	fmt.Fprintf(stdout, "  refreshes  %3d  (%d for expiry, 1 for the revoked access token, 1 refused)\n", got.Refreshes, expiries)
	fmt.Fprintf(stdout, "  requests   %3d  (1 was sent twice)\n", got.Requests)
	fmt.Fprintf(stdout, "  401s       %3d  (none of them seen by the program)\n", got.Unauthorized)
	return nil
}

// callUntilRefreshed makes a call every now and then until the session has
// another token, and returns how many calls that took.
func callUntilRefreshed(ctx context.Context, session *tokenclient.Session, call func() error) (n int, err error) {
	old, err := session.Peek(ctx)
	if err != nil {
		return 0, err
	}
	for now := old; now.Expiry.Equal(old.Expiry); n++ {
		if err := call(); err != nil {
			return n, err
		}
		time.Sleep(pause)
		if now, err = session.Peek(ctx); err != nil {
			return n, err
		}
	}
	return n, nil
}

// get is how any program calls an API: it knows nothing of tokens.
func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return nil
}
