// Command sliding talks to a server that renews the token by itself: each answer
// carries a new one in the header X-Auth-Token, with iat and exp in milliseconds,
// and whoever sends nothing for the lifetime of a token is locked out.
//
//	go run ./examples/sliding
//
// There is no refresh token. A program that is busy stays logged in by Config.Renewed
// alone, one that is idle by KeepFresh, which sends the token to the server's
// heartbeat endpoint.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const (
	user, password = "alice", "secret"
	header         = "X-Auth-Token"
	lifetime       = 2 * time.Second
	pace           = lifetime / 10 // of requests, and of heartbeats
	rounds         = 12
	workers        = 5
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sliding:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer) error {
	server, err := tokentest.Start(nil, &tokentest.Options{
		Header:         header,
		SlidingHeader:  true,
		Milliseconds:   true,
		NoExpiresIn:    true, // only the token itself says how long it lives
		AccessLifetime: lifetime,
	})
	if err != nil {
		return err
	}
	defer server.Close()
	server.AddUser(user, password)
	fmt.Fprintf(stdout, "Tokens live %v. Each answer of the server carries a new one.\n", lifetime)
	if err := busyThenIdle(ctx, stdout, server); err != nil {
		return err
	}
	return keptAlive(ctx, stdout, server)
}

// config is what both sessions have in common.
func config(server *tokentest.Server) tokenclient.Config {
	return tokenclient.Config{
		Renewed:  tokenclient.RenewedHeader(header),
		Attacher: stamped{tokenclient.HeaderAttacher(header)},
		Origins:  []string{server.URL},
	}
}

// A stamped Attacher adds the client's time to what another one puts on a request: some
// servers refuse what was sent too long ago.
type stamped struct{ tokenclient.Attacher }

func (s stamped) Attach(req *http.Request, t *tokenclient.Token) error {
	req.Header.Set("X-Timestamp", strconv.FormatInt(time.Now().UnixMilli(), 10))
	return s.Attacher.Attach(req, t)
}

// busyThenIdle has no Refresher: the session lives as long as there are requests.
func busyThenIdle(ctx context.Context, stdout io.Writer, server *tokentest.Server) (err error) {
	session, err := tokenclient.New(config(server))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()
	client := session.Wrap(server.Client())

	if err := login(ctx, server, session); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nLogged in. %d workers send a request every %v.\n", workers, pace)
	before, p := server.Counters(), newPicture()
	for range rounds {
		if err := round(ctx, client, server.URL, p); err != nil {
			return err
		}
		if err := sleep(ctx, pace); err != nil {
			return err
		}
	}
	seen := since(server, before)
	fmt.Fprintf(stdout, "After %v all %d were answered 200. The server counted: renewals %d, 401s %d, logins %d.\n",
		rounds*pace, seen.Requests, seen.Renewals, seen.Unauthorized, seen.Logins)
	if seen.Requests != rounds*workers || seen.Renewals != seen.Requests || seen.Unauthorized+seen.Logins+seen.Heartbeats != 0 {
		return fmt.Errorf("not as told: the server counted %+v", seen)
	}

	fmt.Fprintf(stdout, "\nThe workers pause for longer than a token lives.\n")
	before = server.Counters()
	if err := sleep(ctx, lifetime+pace); err != nil {
		return err
	}
	status, err := get(ctx, client, server.URL)
	if err != nil {
		return err
	}
	p.answered(0, status)
	seen = since(server, before)
	fmt.Fprintf(stdout, "Locked out: the next request is answered %d. The server counted: requests %d, 401s %d.\n",
		status, seen.Requests, seen.Unauthorized)
	p.draw(stdout)
	if status != http.StatusUnauthorized || seen.Requests != 1 || seen.Unauthorized != 1 {
		return fmt.Errorf("not as told: status %d, the server counted %+v", status, seen)
	}
	return nil
}

// keptAlive has a Refresher for KeepFresh: the heartbeat endpoint takes the access
// token itself and answers a new one.
func keptAlive(ctx context.Context, stdout io.Writer, server *tokentest.Server) (err error) {
	c := config(server)
	c.Refresher = &tokenclient.JSONRefresher{TokenURL: server.URL + "/heartbeat", Attacher: c.Attacher}
	c.Heartbeat = pace
	p := newPicture()
	c.Hooks = &tokenclient.Hooks{Refreshed: func(tokenclient.RefreshInfo) { p.heartbeat() }}
	session, err := tokenclient.New(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()
	client := session.Wrap(server.Client())

	if err := login(ctx, server, session); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nLogged in again, with a heartbeat every %v while nothing else is to be done.\n", pace)
	before := server.Counters()
	idle, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- session.KeepFresh(idle) }()
	const pause = lifetime + lifetime/2
	if err := sleep(ctx, pause); err != nil {
		return err
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	status, err := get(ctx, client, server.URL)
	if err != nil {
		return err
	}
	p.answered(0, status)
	seen := since(server, before)
	fmt.Fprintf(stdout, "After %v without a request the next one is answered %d. The server counted: heartbeats %d, 401s %d, logins %d.\n",
		pause, status, seen.Heartbeats, seen.Unauthorized, seen.Logins)
	p.draw(stdout)
	if status != http.StatusOK || seen.Heartbeats < 3 || seen.Requests != 1 || seen.Unauthorized+seen.Logins != 0 {
		return fmt.Errorf("not as told: status %d, the server counted %+v", status, seen)
	}
	return nil
}

func login(ctx context.Context, server *tokentest.Server, session *tokenclient.Session) error {
	token, err := server.PasswordLogin().Login(ctx, user, password)
	if err != nil {
		return err
	}
	token.RefreshToken = "" // a server of this kind issues none
	return session.SetToken(ctx, token)
}

// round sends one request from each worker. It is an error if one of them is not
// answered 200.
func round(ctx context.Context, client *http.Client, url string, p *picture) error {
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			status, err := get(ctx, client, url)
			p.answered(i, status)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("answered %d", status)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func get(ctx context.Context, client *http.Client, url string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/news", nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// since returns what the server counted after before.
func since(server *tokentest.Server, before tokentest.Counters) tokentest.Counters {
	after := server.Counters()
	return tokentest.Counters{
		Logins:       after.Logins - before.Logins,
		Requests:     after.Requests - before.Requests,
		Unauthorized: after.Unauthorized - before.Unauthorized,
		Renewals:     after.Renewals - before.Renewals,
		Heartbeats:   after.Heartbeats - before.Heartbeats,
	}
}
