package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const users = 100

// A story is two instances of the back end, and the API behind them.
type story struct {
	began     time.Time
	out       io.Writer
	api       *tokentest.Server
	instances []*instance
}

// An instance would be a process of its own, on another machine.
type instance struct {
	pool        *tokenclient.Pool
	client      *http.Client
	connections func() int // to the database, at this moment
	most        atomic.Int64
}

func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%4.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// run tells the story over each engine.
func run(ctx context.Context, stdout io.Writer) error {
	for _, e := range engines {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := tell(ctx, stdout, e); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return nil
}

func tell(ctx context.Context, out io.Writer, e engine) (err error) {
	fmt.Fprintln(out, e.name)
	address, stop, problem := start(e.server)
	defer stop()
	if problem != "" {
		fmt.Fprintln(out, "       not told:", problem)
		return nil
	}
	s := &story{began: time.Now(), out: out}
	if s.api, err = tokentest.Start(nil, nil); err != nil {
		return err
	}
	defer s.api.Close()
	key := make([]byte, 32)
	rand.Read(key) // never fails
	for range 2 {
		end, err := s.addInstance(ctx, e, address, key)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	if err := s.usersLogIn(ctx); err != nil {
		return err
	}
	if err := s.tokensAreRevoked(ctx); err != nil {
		return err
	}
	return s.oneLogsOut(ctx)
}

func (s *story) addInstance(ctx context.Context, e engine, address string, secret []byte) (end func() error, err error) {
	db, err := e.open(ctx, address)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.close())
		}
	}()
	key, err := store.KeyBytes("example", secret)
	if err != nil {
		return nil, err
	}
	pool, err := newPool(s.api.URL, db.kv, key)
	if err != nil {
		return nil, err
	}
	base := &http.Transport{MaxIdleConnsPerHost: users}
	client := pool.Wrap(&http.Client{Transport: base})
	s.instances = append(s.instances, &instance{pool: pool, client: client, connections: db.connections})
	return func() error {
		defer base.CloseIdleConnections()
		return errors.Join(pool.Close(ctx), db.close()) // in this order: a refresh under way needs the database
	}, nil
}

func user(i int) string { return fmt.Sprintf("user-%03d", i) }

func (s *story) usersLogIn(ctx context.Context) error {
	// Issue stands in for a login page. Every other user logs in at the second instance.
	err := everybody(func(i int) error {
		session, err := s.instances[i%2].pool.Session(ctx, user(i))
		if err != nil {
			return err
		}
		return session.SetToken(ctx, s.api.Issue(user(i)))
	})
	if err != nil {
		return err
	}
	s.say("%d users have logged in, each at one of two instances.", users)
	return nil
}

func (s *story) tokensAreRevoked(ctx context.Context) error {
	for i := range users {
		s.api.RevokeAccess(user(i))
	}
	err := everybody(func(i int) error {
		var both sync.WaitGroup
		var errs [2]error
		for n, at := range s.instances {
			both.Go(func() { errs[n] = at.get(ctx, s.api.URL, user(i)) })
		}
		both.Wait()
		return errors.Join(errs[:]...)
	})
	if err != nil {
		return err
	}
	s.say("All access tokens were revoked, and all users sent a request to both instances at the same moment: all were answered.")
	c := s.api.Counters()
	if c.Refreshes != users || c.Reuses != 0 {
		return fmt.Errorf("not as told: want %d refreshes, and no refresh token that came twice; the server counted %+v", users, c)
	}
	s.say("The server counted %d refreshes, one for each user, and no refresh token that came twice.", c.Refreshes)
	s.say("The instances had %d and %d connections to the database at most.", s.instances[0].most.Load(), s.instances[1].most.Load())
	return nil
}

func (s *story) oneLogsOut(ctx context.Context) error {
	if err := s.instances[0].pool.Logout(ctx, user(1)); err != nil {
		return err
	}
	if err := s.instances[1].get(ctx, s.api.URL, user(1)); !errors.Is(err, tokenclient.ErrLoginRequired) {
		return fmt.Errorf("not as told: after a logout the other instance got %v", err)
	}
	s.say("%s logged out at one instance. The other says: log in.", user(1))
	return nil
}

// everybody calls do for all users at the same time. The error is the first one's.
func everybody(do func(i int) error) error {
	var wg sync.WaitGroup
	var errs [users]error
	for i := range users {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// get sends a request of the user's.
func (i *instance) get(ctx context.Context, api, user string) error {
	req, err := http.NewRequestWithContext(tokenclient.WithKey(ctx, user), http.MethodGet, api+"/api/me", nil)
	if err != nil {
		return err
	}
	resp, err := i.client.Do(req)
	i.most.Store(max(i.most.Load(), int64(i.connections())))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answers %s", resp.Status)
	}
	return nil
}
