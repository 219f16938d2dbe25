package tokenclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// loop is what docs/loops.md shows as "before". Nobody should copy it.
type loop struct {
	mu              sync.Mutex
	client          *http.Client
	access, refresh string
	api             string
}

func (l *loop) do(req *http.Request) (*http.Response, error) {
	l.mu.Lock()
	req.Header.Set("Authorization", "Bearer "+l.access)
	l.mu.Unlock()
	resp, err := l.client.Do(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	resp.Body.Close()
	if err := l.renew(); err != nil {
		return nil, errors.New("please log in") // also if the server was just restarted
	}
	l.mu.Lock()
	req.Header.Set("Authorization", "Bearer "+l.access)
	l.mu.Unlock()
	return l.client.Do(req) // and its body, which was read?
}

func (l *loop) renew() error {
	l.mu.Lock() // while the network is asked
	defer l.mu.Unlock()
	body := strings.NewReader(`{"refresh_token":"` + l.refresh + `"}`)
	resp, err := l.client.Post(l.api+"/token/refresh", "application/json", body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	var pair struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&pair); err != nil {
		return err
	}
	l.access, l.refresh = pair.Access, pair.Refresh // in memory: lost if the process ends here
	return nil
}

// instead is what docs/loops.md shows as "after".
func instead(api string, tokens tokenclient.Store) (*tokenclient.Session, error) {
	return tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api + "/token/refresh"},
		Store:     tokens, Key: "alice",
		Origins: []string{api},
	})
}

// Ten requests are refused at the same time: the loop asks for ten tokens, a session for one.
func Example_loop() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	ctx := context.Background()

	token := srv.Issue("alice")
	l := &loop{client: srv.Client(), access: token.AccessToken, refresh: token.RefreshToken, api: srv.URL}
	srv.RevokeAccess("alice")
	fmt.Println("the loop:", refusedTogether(srv, l.do))

	session, err := instead(srv.URL, new(store.Memory))
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	if err := session.SetToken(ctx, srv.Issue("alice")); err != nil {
		log.Fatal(err)
	}
	srv.RevokeAccess("alice")
	fmt.Println("a session:", refusedTogether(srv, session.Wrap(srv.Client()).Do))
	// Output:
	// the loop: 10 refreshes
	// a session: 1 refreshes
}

// refusedTogether has ten requests refused before any of them hears of it.
func refusedTogether(srv *tokentest.Server, do func(*http.Request) (*http.Response, error)) string {
	const requests = 10
	before := srv.Counters()
	release := srv.Hold()
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			req, err := http.NewRequest("GET", srv.URL+"/api/things", nil)
			if err != nil {
				log.Fatal(err)
			}
			resp, err := do(req)
			if err != nil {
				log.Fatal(err)
			}
			resp.Body.Close()
		})
	}
	for srv.Counters().Unauthorized-before.Unauthorized < requests {
		runtime.Gosched()
	}
	release()
	wg.Wait()
	return fmt.Sprint(srv.Counters().Refreshes-before.Refreshes, " refreshes")
}
