//go:build unix

package processes_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const (
	snippetAPI    = "SILENTREFRESH_SNIPPET_API"
	snippetFolder = "SILENTREFRESH_SNIPPET_FOLDER"
	snippetPool   = "SILENTREFRESH_SNIPPET_POOL"
)

// runSnippet makes this process the program of the README, if it is to be that.
func runSnippet() {
	api, ok := os.LookupEnv(snippetAPI)
	if !ok {
		return
	}
	if err := snippet(api, os.Getenv(snippetFolder)); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// snippet makes requests until a signal comes. It closes its session as the README says: with
// a context that has ended by then.
func snippet(api, dir string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	key, err := store.LoadOrCreateKeyFile(filepath.Join(dir, "secret.key"))
	if err != nil {
		return err
	}
	files, err := store.NewFile(filepath.Join(dir, "tokens"), store.Seal(key))
	if err != nil {
		return err
	}
	c := tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api + "/token/refresh"},
		Origins:   []string{api},
	}
	var client *http.Client
	if os.Getenv(snippetPool) != "" {
		pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
			Store:  files,
			Config: func(context.Context, string) (tokenclient.Config, error) { return c, nil },
		})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, pool.Close(ctx)) }()
		client = pool.Wrap(http.DefaultClient)
	} else {
		c.Store, c.Key = files, "alice"
		session, err := tokenclient.New(c)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, session.Close(ctx)) }()
		client = session.Wrap(http.DefaultClient)
	}
	fmt.Println("ready")
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(tokenclient.WithKey(ctx, "alice"), http.MethodGet, api+"/api/", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		switch {
		case err == nil:
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		case errors.Is(err, tokenclient.ErrLoginRequired):
			return err
		}
	}
	return nil
}

// TestSignals sends SIGINT and SIGTERM at random instants to programs that refresh, against a
// server that ends the session when a refresh token comes twice. Before Close waited for a
// token that was presented, whatever became of its context, the login was lost whenever the
// signal came with the answer on its way.
func TestSignals(t *testing.T) {
	t.Parallel()
	const lanes = 4
	runs := 200
	if testing.Short() {
		runs = 20
	}
	var mu sync.Mutex
	var during, lost int
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(lane)))
			l := newSignalLane(t)
			for i := range runs / lanes {
				refreshing := l.run(t, i, random)
				mu.Lock()
				if refreshing {
					during++
				}
				mu.Unlock()
			}
			if n := l.srv.Counters().Reuses; n > 0 {
				mu.Lock()
				lost += n
				mu.Unlock()
			}
			l.wantAlive(t)
		})
	}
	wg.Wait()
	t.Logf("%d programs were sent a signal, %d of them when it had begun a refresh; spent tokens that came again: %d", runs, during, lost)
	if lost > 0 || during == 0 {
		t.Error("want none, and some that had begun a refresh")
	}
}

// signalLane is one user whose program is started again and again.
type signalLane struct {
	srv *tokentest.Server
	dir string
}

func newSignalLane(t *testing.T) *signalLane {
	l := &signalLane{tokentest.NewServer(t, &tokentest.Options{Latency: 20 * time.Millisecond}), t.TempDir()}
	s := l.session(t)
	if err := s.SetToken(t.Context(), l.srv.Issue("alice")); err != nil {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return l
}

// session is that of the program.
func (l *signalLane) session(t *testing.T) *tokenclient.Session {
	key, err := store.LoadOrCreateKeyFile(filepath.Join(l.dir, "secret.key"))
	if err != nil {
		t.Error(err)
	}
	files, err := store.NewFile(filepath.Join(l.dir, "tokens"), store.Seal(key))
	if err != nil {
		t.Error(err)
	}
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: l.srv.JSONRefresher(), Store: files, Key: "alice", Origins: []string{l.srv.URL},
	})
	if err != nil {
		t.Error(err)
	}
	return s
}

// run starts the program, whose first request begins a refresh, and sends it a signal. It
// reports whether the signal came after the server had the refresh token.
func (l *signalLane) run(t *testing.T, i int, random *rand.Rand) (refreshing bool) {
	l.srv.RevokeAccess("alice")
	before := l.srv.Counters().Refreshes
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), snippetAPI+"="+l.srv.URL, snippetFolder+"="+l.dir)
	if i%2 == 1 {
		cmd.Env = append(cmd.Env, snippetPool+"=1")
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return false
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return false
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); line != "ready\n" {
		t.Errorf("the program said %q, error %v", line, err)
	}
	timer := time.NewTimer(time.Duration(random.IntN(int(100 * time.Millisecond))))
	defer timer.Stop()
	<-timer.C
	_ = cmd.Process.Signal([]os.Signal{syscall.SIGINT, syscall.SIGTERM}[i/2%2])
	at := l.srv.Counters().Refreshes
	rest, _ := io.ReadAll(r)
	if err := cmd.Wait(); err != nil || strings.Contains(string(rest), "log in") {
		t.Errorf("the program ended with %v: %s", err, rest)
	}
	return at > before && i > 0
}

// wantAlive checks that the session goes on.
func (l *signalLane) wantAlive(t *testing.T) {
	s := l.session(t)
	defer func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	l.srv.RevokeAccess("alice")
	resp, err := s.Wrap(l.srv.Client()).Get(l.srv.URL + "/api/")
	if err != nil {
		t.Errorf("the session is lost: %v", err)
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
