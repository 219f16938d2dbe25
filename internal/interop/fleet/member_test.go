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

// memberHeader has the name of the member that made a request.
const memberHeader = "X-Member"

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(memberEnv); ok {
		os.Exit(runMember(text))
	}
	flag.Parse()
	os.Exit(m.Run())
}

// settings are what a member makes its session from.
type settings struct {
	Name            string
	URL             string // of the gate
	Engine, Address string
	RefreshTimeout  time.Duration
	Margin          time.Duration
}

// order is what a member is told to do.
type order struct {
	ID      int
	Do      string        // "get", or "work": one request after another, for ever
	Timeout time.Duration // of each request
	Pause   time.Duration // between two requests of "work"
}

// report is what a member says: about an order, or about a request of its work.
type report struct {
	ID    int    // 0: of its work, or Event
	Event string // "ready"
	Err   string
	Kinds []string // the names of the sentinels that the error is
	Began time.Time
	Took  time.Duration
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

// member is a process with a session.
type member struct {
	settings settings
	client   *http.Client

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
	plain := &http.Client{Transport: signed{new(http.Transport), s.Name}}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{URL: s.URL + "/token/refresh", HTTPClient: plain},
		Store:     shared, Key: account,
		Origins:        []string{s.URL},
		RefreshTimeout: s.RefreshTimeout,
	})
	if err != nil {
		return err
	}
	m.client = session.Wrap(plain)
	return nil
}

// signed puts the member's name on its requests.
type signed struct {
	base http.RoundTripper
	name string
}

func (s signed) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(memberHeader, s.name)
	return s.base.RoundTrip(req)
}

func (m *member) obey(o order) {
	if o.Do == "get" {
		m.say(m.get(o))
		return
	}
	for pause := time.NewTicker(o.Pause); ; <-pause.C {
		m.say(m.get(o))
	}
}

// get makes one request, and is an error unless it was answered with 200.
func (m *member) get(o order) report {
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	r := report{ID: o.ID, Began: time.Now()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.settings.URL+"/api/", nil)
	if err == nil {
		var resp *http.Response
		if resp, err = m.client.Do(req); err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %d", resp.StatusCode)
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
