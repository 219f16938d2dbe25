package fleet_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// memberEnv makes the test binary a member. It holds the settings as JSON.
const memberEnv = "SILENTREFRESH_TEST_MEMBER"

// The headers of a refresh say which member makes it, and of whose token.
const (
	memberHeader  = "X-Member"
	accountHeader = "X-Account"
)

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(memberEnv); ok {
		os.Exit(runMember(text))
	}
	// These tests wait for each other's processes and compute little: more of them than
	// the machine has processors may run at once.
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "8")
	}
	os.Exit(m.Run())
}

// settings are what a member makes its sessions from.
type settings struct {
	Name            string
	Accounts        []string // one session each
	URL             string   // of the gate
	Engine, Address string
	RefreshTimeout  time.Duration
	Margin          time.Duration
}

// order is what a member is told to do.
type order struct {
	ID      int
	Do      string        // "get" with the first session, or "work": one request after another with each, for ever
	Timeout time.Duration // of each request
	Pause   time.Duration // between two requests of a session at work
}

// report is what a member says: about an order, or about a request of its work.
type report struct {
	ID      int    // 0: of its work, or Event
	Event   string // "ready"
	Account string
	Err     string
	Kinds   []string // the names of the sentinels that the error is
	Began   time.Time
	Took    time.Duration
}

func (r report) is(kind string) bool {
	for _, k := range r.Kinds {
		if k == kind {
			return true
		}
	}
	return false
}

// kinds are the errors that reports tell apart.
var kinds = map[string]error{
	"ErrLoginRequired":    tokenclient.ErrLoginRequired,
	"ErrStoreUnavailable": tokenclient.ErrStoreUnavailable,
	"ErrStoreCorrupt":     tokenclient.ErrStoreCorrupt,
	"DeadlineExceeded":    context.DeadlineExceeded,
}

func (r *report) fail(err error) {
	if err == nil {
		return
	}
	r.Err = err.Error()
	for name, kind := range kinds {
		if errors.Is(err, kind) {
			r.Kinds = append(r.Kinds, name)
		}
	}
	var te *tokenclient.TokenError
	if errors.As(err, &te) {
		r.Kinds = append(r.Kinds, "TokenError")
	}
}

// member is a process with a session for each account.
type member struct {
	settings settings
	clients  []*http.Client

	mu  sync.Mutex // guards out
	out *json.Encoder
}

// runMember is the whole life of a member. It ends when its standard input does, as a
// crash would: nothing outlives the test, and nothing is tidied up.
func runMember(text string) int {
	m := &member{out: json.NewEncoder(os.Stdout)}
	if err := m.start(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	m.say(report{Event: "ready"})
	for in := json.NewDecoder(bufio.NewReader(os.Stdin)); ; {
		var o order
		if err := in.Decode(&o); err != nil {
			return 0
		}
		go m.obey(o)
	}
}

func (m *member) start(text string) error {
	s := &m.settings
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return err
	}
	shared, err := engines[s.Engine].open(s.Address, s.Margin)
	if err != nil {
		return err
	}
	base := new(http.Transport)
	for _, account := range s.Accounts {
		plain := &http.Client{Transport: signed{base, s.Name, account}}
		session, err := tokenclient.New(tokenclient.Config{
			Refresher: &tokenclient.JSONRefresher{URL: s.URL + "/token/refresh", HTTPClient: plain},
			Store:     shared, Key: account,
			Origins:        []string{s.URL},
			RefreshTimeout: s.RefreshTimeout,
		})
		if err != nil {
			return err
		}
		m.clients = append(m.clients, session.Wrap(plain))
	}
	return nil
}

// signed puts the names of member and account on requests.
type signed struct {
	base          http.RoundTripper
	name, account string
}

func (s signed) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(memberHeader, s.name)
	req.Header.Set(accountHeader, s.account)
	return s.base.RoundTrip(req)
}

func (m *member) obey(o order) {
	if o.Do == "get" {
		m.say(m.get(0, o))
		return
	}
	for i := range m.clients {
		go func() {
			for pause := time.NewTicker(o.Pause); ; <-pause.C {
				m.say(m.get(i, o))
			}
		}()
	}
}

// get makes one request with the i-th session, and is an error unless it was answered
// with 200.
func (m *member) get(i int, o order) report {
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	r := report{ID: o.ID, Account: m.settings.Accounts[i], Began: time.Now()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.settings.URL+"/api/", nil)
	if err == nil {
		var resp *http.Response
		if resp, err = m.clients[i].Do(req); err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode != http.StatusOK {
				r.Kinds = append(r.Kinds, resp.Status)
				err = errors.New(resp.Status)
			}
		}
	}
	r.Took = time.Since(r.Began)
	r.fail(err)
	return r
}

func (m *member) say(r report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.out.Encode(r) // if the parent is gone, so is standard input
}
