// Command stampede sends a thousand requests at once on a token that has expired,
// and a thousand more on one that was revoked.
//
//	go run ./examples/stampede
//
// Each time the token is refreshed once. Were each goroutine to refresh by itself,
// the second one would present a refresh token that is spent; a server that takes
// this for theft, as the one in this program does, would end the session.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const (
	user        = "alice"
	goroutines  = 1000
	connections = 50
	latency     = 200 * time.Millisecond
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "stampede:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer) (err error) {
	server, err := tokentest.Start(nil, &tokentest.Options{
		AccessLifetime: time.Second,
		Latency:        latency, // of a refresh, so that everybody has to wait for it
	})
	if err != nil {
		return err
	}
	defer server.Close()

	refresher := &timed{Refresher: &tokenclient.JSONRefresher{TokenURL: server.URL + "/token/refresh"}}
	session, err := tokenclient.New(tokenclient.Config{Refresher: refresher, Origins: []string{server.URL}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()

	// A thousand sockets are more than some systems give to one program.
	transport := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	client := session.Wrap(&http.Client{Transport: watched{transport}})

	// Issue stands in for a login.
	token := server.Issue(user)
	if err := session.SetToken(ctx, token); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d goroutines, %d connections, a refresh takes %v.\n", goroutines, connections, latency)

	time.Sleep(time.Until(token.Expiry))
	server.Set(func(o *tokentest.Options) { o.AccessLifetime = time.Hour })
	fmt.Fprintf(stdout, "\nThe token has expired. All send a request at once.\n")
	seen, rides, err := stampede(ctx, stdout, client, server)
	if err != nil {
		return err
	}
	draw(stdout, rides, refresher)
	if seen.Refreshes != 1 || seen.Requests != goroutines || seen.Unauthorized != 0 {
		return fmt.Errorf("not as told: want 1 refresh, %d requests and no 401, the server counted %+v", goroutines, seen)
	}

	server.RevokeAccess(user)
	fmt.Fprintf(stdout, "\nThe server revoked the token. All send a request at once.\n")
	seen, rides, err = stampede(ctx, stdout, client, server)
	if err != nil {
		return err
	}
	draw(stdout, rides, refresher)
	// How many were on their way before the new token came depends on the machine.
	if seen.Refreshes != 1 || seen.Unauthorized == 0 || seen.Requests != goroutines+seen.Unauthorized {
		return fmt.Errorf("not as told: want 1 refresh, and each 401 followed by one more request, the server counted %+v", seen)
	}
	return nil
}

// stampede sends a request from each goroutine at the same time, and returns what
// the server counted meanwhile, and what became of each. It is an error if one of them
// fails.
func stampede(ctx context.Context, stdout io.Writer, client *http.Client, server *tokentest.Server) (tokentest.Counters, []*ride, error) {
	before := server.Counters()
	rides := make([]*ride, goroutines)
	errs := make([]error, goroutines)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range goroutines {
		rides[i] = new(ride)
		wg.Go(func() {
			<-start
			errs[i] = rides[i].take(ctx, client, server.URL+"/api/orders")
		})
	}
	close(start)
	wg.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		return tokentest.Counters{}, nil, fmt.Errorf("request %d: %w", i, errs[i])
	}

	after := server.Counters()
	seen := tokentest.Counters{
		Refreshes:    after.Refreshes - before.Refreshes,
		Reuses:       after.Reuses - before.Reuses,
		Requests:     after.Requests - before.Requests,
		Unauthorized: after.Unauthorized - before.Unauthorized,
	}
	fmt.Fprintf(stdout, "All %d were answered 200. The server counted: refreshes %d, reuses %d, requests %d, 401s %d.\n",
		goroutines, seen.Refreshes, seen.Reuses, seen.Requests, seen.Unauthorized)
	return seen, rides, nil
}

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
