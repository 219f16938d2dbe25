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
		Refresher: &tokenclient.JSONRefresher{TokenURL: api + "/token/refresh"},
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

	s := &story{began: time.Now(), stdout: stdout, server: server, session: session, client: client}
	if err := logIn(ctx, session, server.URL, user, password); err != nil {
		return err
	}
	s.say("Logged in as %s. Access tokens live for %v here.", user, lifetime)
	if err := s.tokensExpire(ctx); err != nil {
		return err
	}
	if err := s.accessTokenIsRevoked(ctx); err != nil {
		return err
	}
	if err := s.refreshTokenIsRevoked(ctx); err != nil {
		return err
	}
	return s.count()
}

// A story is the server, and the program that calls it.
type story struct {
	began   time.Time
	stdout  io.Writer
	server  *tokentest.Server
	session *tokenclient.Session
	client  *http.Client
	calls   int
}

func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.stdout, "%4.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// call is how the program calls the API.
func (s *story) call(ctx context.Context) error {
	s.calls++
	return get(ctx, s.client, s.server.URL+"/api/orders")
}

func (s *story) tokensExpire(ctx context.Context) error {
	for range expiries {
		n, err := s.callUntilRefreshed(ctx)
		if err != nil {
			return err
		}
		s.say("%d calls, all answered 200. The token was about to expire and was refreshed meanwhile.", n)
	}
	if c := s.server.Counters(); c.Refreshes != expiries || c.Unauthorized != 0 {
		return fmt.Errorf("not as told: want %d refreshes and no 401, the server counted %+v", expiries, c)
	}
	s.say("%d tokens used up, the server counted %d refreshes and not one 401.", expiries, expiries)
	return nil
}

// An administrator does this, or a server that lost its sessions.
func (s *story) accessTokenIsRevoked(ctx context.Context) error {
	// With a token that is seconds old and was never accepted, the session would first try
	// whether the server only does not know it yet.
	if err := s.call(ctx); err != nil {
		return err
	}
	s.server.RevokeAccess(user)
	s.say("The server revoked the access token before its time.")
	if err := s.call(ctx); err != nil {
		return err
	}
	if c := s.server.Counters(); c.Refreshes != expiries+1 || c.Unauthorized != 1 {
		return fmt.Errorf("not as told: want one more refresh and one 401, the server counted %+v", c)
	}
	s.say("The next call was answered 200: the server said 401, and the request was sent again with a new token.")
	return nil
}

// A password was changed, or nobody used the program for a month.
func (s *story) refreshTokenIsRevoked(ctx context.Context) error {
	s.server.RevokeAll(user)
	s.say("The server revoked the refresh token too.")
	if err := s.call(ctx); !errors.Is(err, tokenclient.ErrLoginRequired) {
		return fmt.Errorf("not as told: want an error that is ErrLoginRequired, got %w", err)
	}
	s.say("The next call failed, and says why: log in again.")

	if err := logIn(ctx, s.session, s.server.URL, user, password); err != nil {
		return err
	}
	if err := s.call(ctx); err != nil {
		return err
	}
	s.say("Logged in again. The next call was answered 200: same session, same client.")
	return nil
}

// count compares what was told with what the server counted.
func (s *story) count() error {
	got := s.server.Counters()
	want := tokentest.Counters{
		Logins:       2,
		Refreshes:    expiries + 2, // the last one was refused
		Requests:     s.calls + 1,  // one was sent twice
		Unauthorized: 2,            // the one sent twice, and the one that needed a login
	}
	if got != want {
		return fmt.Errorf("not as told: want %+v, the server counted %+v", want, got)
	}
	fmt.Fprintf(s.stdout, "\nThe program made %d calls. The server counted:\n", s.calls)
	fmt.Fprintf(s.stdout, "  logins     %3d\n", got.Logins)
	fmt.Fprintf(s.stdout, "  refreshes  %3d  (%d for expiry, 1 for the revoked access token, 1 refused)\n", got.Refreshes, expiries)
	fmt.Fprintf(s.stdout, "  requests   %3d  (1 was sent twice)\n", got.Requests)
	fmt.Fprintf(s.stdout, "  401s       %3d  (none of them seen by the program)\n", got.Unauthorized)
	return nil
}

// callUntilRefreshed makes a call every now and then until the session has
// another token, and returns how many calls that took.
func (s *story) callUntilRefreshed(ctx context.Context) (n int, err error) {
	old, err := s.session.Peek(ctx)
	if err != nil {
		return 0, err
	}
	for now := old; now.Expiry.Equal(old.Expiry); n++ {
		if err := s.call(ctx); err != nil {
			return n, err
		}
		time.Sleep(pause)
		if now, err = s.session.Peek(ctx); err != nil {
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
