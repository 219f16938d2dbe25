// Command gateway is a reverse proxy in front of an API, for many users: it knows who
// sends a request by a cookie of its own, and puts that user's token on it. The tokens
// of all users are in one tokenclient.Pool, behind one http.Client.
//
//	go run ./examples/gateway
//
// It brings its own API, whose access tokens live for six seconds, and its own
// browsers, and takes twelve seconds. What you need in a program of yours is newPool
// and newGateway; the rest is the story.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// newPool returns the sessions of all users of the API.
func newPool(api string, tokens tokenclient.Store, room int) (*tokenclient.Pool, error) {
	everybody := tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api + "/token/refresh"},
		Origins:   []string{api},
	}
	return tokenclient.NewPool(tokenclient.PoolConfig{
		Store:   tokens,
		MaxIdle: room,
		Config:  func(context.Context, string) (tokenclient.Config, error) { return everybody, nil },
	})
}

// newGateway returns a reverse proxy to the API. userOf says who sends a request, and
// is "" for a stranger.
func newGateway(api *url.URL, pool *tokenclient.Pool, base http.RoundTripper, userOf func(*http.Request) string) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(api)
			r.Out.Header.Del("Cookie")        // the gateway's, and nobody else's
			r.Out.Header.Del("Authorization") // a browser has no say in it
		},
		Transport: pool.Transport(base),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, tokenclient.ErrLoginRequired) || errors.Is(err, tokenclient.ErrNoKey) {
				http.Error(w, "log in", http.StatusUnauthorized)
				return
			}
			http.Error(w, "try later", http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(w, r.WithContext(tokenclient.WithKey(r.Context(), userOf(r))))
	})
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

const (
	users    = 200
	room     = 100 // for sessions that nobody uses
	parallel = 20  // requests
	lifetime = 6 * time.Second
)

// A story is the gateway, the API behind it, and the browsers in front.
type story struct {
	began   time.Time
	out     io.Writer
	api     *tokentest.Server
	pool    *tokenclient.Pool
	gateway string
	browser *http.Client
}

func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%4.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func run(ctx context.Context, stdout io.Writer) (err error) {
	s := &story{began: time.Now(), out: stdout}
	s.api, err = tokentest.Start(nil, &tokentest.Options{AccessLifetime: lifetime})
	if err != nil {
		return err
	}
	defer s.api.Close()

	// A gateway of several machines has a store.Shared here.
	s.pool, err = newPool(s.api.URL, new(store.Memory), room)
	if err != nil {
		return err
	}
	// Close waits for refreshes under way: their new tokens must not get lost.
	defer func() { err = errors.Join(err, s.pool.Close(ctx)) }()

	stop, err := s.serve()
	if err != nil {
		return err
	}
	defer stop()
	defer s.browser.CloseIdleConnections()
	return s.tell(ctx)
}

// serve starts the gateway. The cookie is the user's name here; a real one is a
// secret that leads to it.
func (s *story) serve() (stop func(), err error) {
	to, err := url.Parse(s.api.URL)
	if err != nil {
		return nil, err
	}
	base := &http.Transport{MaxIdleConnsPerHost: parallel}
	server := &http.Server{
		Handler: newGateway(to, s.pool, base, func(r *http.Request) string {
			cookie, err := r.Cookie("user")
			if err != nil {
				return ""
			}
			return cookie.Value
		}),
		ReadHeaderTimeout: 10 * time.Second, // of clients that never finish a request
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.gateway = "http://" + l.Addr().String()
	s.browser = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: parallel}}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	return func() {
		_ = server.Close()
		running.Wait()
		base.CloseIdleConnections()
	}, nil
}

func (s *story) tell(ctx context.Context) error {
	if err := s.usersCome(ctx); err != nil {
		return err
	}
	if err := s.strangersCome(ctx); err != nil {
		return err
	}
	if err := s.tokenEndpointFails(ctx); err != nil {
		return err
	}
	if err := s.tokenEndpointIsBack(ctx); err != nil {
		return err
	}
	return s.oneLogsOut(ctx)
}

func (s *story) usersCome(ctx context.Context) error {
	// Issue stands in for a login page.
	for i := range users {
		session, err := s.pool.Session(ctx, user(i))
		if err != nil {
			return err
		}
		if err := session.SetToken(ctx, s.api.Issue(user(i))); err != nil {
			return err
		}
	}
	s.say("%d users logged in. Access tokens live for %v here.", users, lifetime)
	s.sayStats()
	return s.everybody(ctx, "All sent a request. Each answer was the sender's own.")
}

func (s *story) strangersCome(ctx context.Context) error {
	if err := s.want(ctx, "mallory", http.StatusUnauthorized, ""); err != nil {
		return err
	}
	if err := s.want(ctx, "", http.StatusUnauthorized, ""); err != nil {
		return err
	}
	s.say("Mallory, who has no account, and a stranger without a cookie were told to log in.")
	return nil
}

func (s *story) tokenEndpointFails(ctx context.Context) error {
	s.api.FailRefresh(-1, tokentest.Fault{Status: http.StatusServiceUnavailable})
	s.say("The token endpoint is down, and answers 503.")
	if err := s.everybody(ctx, "Nobody noticed: the tokens are still good."); err != nil {
		return err
	}
	if err := sleep(ctx, lifetime-time.Since(s.began)+200*time.Millisecond); err != nil {
		return err
	}
	if err := s.want(ctx, user(0), http.StatusBadGateway, ""); err != nil {
		return err
	}
	s.say("The tokens have expired. %s is told to try later, and not to log in.", user(0))
	return nil
}

func (s *story) tokenEndpointIsBack(ctx context.Context) error {
	s.api.FailRefresh(0, tokentest.Fault{})
	s.api.Set(func(o *tokentest.Options) { o.AccessLifetime = time.Hour })
	s.say("The token endpoint is back.")
	if err := sleep(ctx, 3*time.Second); err != nil { // by when user 0 may try again
		return err
	}
	before := s.api.Counters().Refreshes
	if err := s.everybody(ctx, "All sent a request, and were refreshed first."); err != nil {
		return err
	}
	c := s.api.Counters()
	if c.Refreshes-before != users || c.Reuses != 0 || c.Unauthorized != 0 {
		return fmt.Errorf("not as told: want %d refreshes and no 401, the server counted %+v", users, c)
	}
	s.say("The server counted %d refreshes for %d users, reuses %d, 401s %d.", c.Refreshes-before, users, c.Reuses, c.Unauthorized)
	return nil
}

func (s *story) oneLogsOut(ctx context.Context) error {
	if err := s.pool.Logout(ctx, user(1)); err != nil {
		return err
	}
	if err := s.want(ctx, user(1), http.StatusUnauthorized, ""); err != nil {
		return err
	}
	if err := s.want(ctx, user(2), http.StatusOK, user(2)); err != nil {
		return err
	}
	s.say("%s logged out, and %s did not.", user(1), user(2))
	s.sayStats()
	return nil
}

func user(i int) string { return fmt.Sprintf("user-%03d", i) }

func (s *story) sayStats() {
	stats := s.pool.Stats()
	s.say("The pool has room for %d idle sessions: %d live, %d loads, %d evicted.", room, stats.Live, stats.Loads, stats.Evicted)
}

// everybody has all users send a request and says what if each got an answer of its
// own.
func (s *story) everybody(ctx context.Context, what string) error {
	var (
		wg   sync.WaitGroup
		free = make(chan struct{}, parallel)
		errs [users]error
	)
	for i := range users {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			errs[i] = s.want(ctx, user(i), http.StatusOK, user(i))
		})
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	s.say("%s", what)
	return nil
}

// want sends a request with user's cookie through the gateway and checks the status
// of the answer, and whose the API says it is.
func (s *story) want(ctx context.Context, user string, status int, subject string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.gateway+"/api/me", nil)
	if err != nil {
		return err
	}
	if user != "" {
		req.AddCookie(&http.Cookie{Name: "user", Value: user})
	}
	resp, err := s.browser.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var answer struct{ Subject string }
	if status == http.StatusOK {
		_ = json.Unmarshal(body, &answer) // what is no answer has no subject
	}
	if resp.StatusCode != status || answer.Subject != subject {
		return fmt.Errorf("not as told: %q got %s and is %q to the API, want %d and %q", user, resp.Status, answer.Subject, status, subject)
	}
	return nil
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
