package processes_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// agentEnv makes the test binary an agent. It holds the settings as JSON.
const agentEnv = "SILENTREFRESH_TEST_AGENT"

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(agentEnv); ok {
		os.Exit(runAgent(text))
	}
	// These tests wait for each other's processes and compute nothing: more of
	// them than the machine has processors may run at once.
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "16")
	}
	os.Exit(m.Run())
}

// settings are what an agent makes its session from.
type settings struct {
	Name           string // of the agent: the gate tells requests apart by it
	URL            string
	OAuth2         bool // else the JSON endpoint, which cannot revoke
	Dir            string
	KeyID          string
	SealKey        []byte
	Account        string
	RefreshTimeout time.Duration
	UID            int // who to become before anything else; 0: stay who you are
}

// order is what an agent is told to do. Each runs on a goroutine of its own.
type order struct {
	ID      int
	Do      string
	Timeout time.Duration // of the order's context; 0: none
	Token   *wireToken
	Limit   int64
}

// answer is what an agent says about an order, or by itself.
type answer struct {
	ID      int    // 0: an event
	Event   string // "ready", "refused to start", or the name of a hook
	Status  int
	Subject string // whose token the API saw
	Err     string
	Is      []string // the names of the sentinels that the error is
	Took    time.Duration
}

// wireToken is a token on its way to an agent; Token itself marshals to nothing.
type wireToken struct {
	Access, Refresh, Type         string
	Expiry, RefreshExpiry, Issued time.Time
}

// kinds are the errors that answers tell apart.
var kinds = map[string]func(error) bool{
	"ErrLoginRequired":    is(tokenclient.ErrLoginRequired),
	"ErrLoggedOut":        is(tokenclient.ErrLoggedOut),
	"ErrClosed":           is(tokenclient.ErrClosed),
	"ErrStoreUnavailable": is(tokenclient.ErrStoreUnavailable),
	"ErrStoreCorrupt":     is(tokenclient.ErrStoreCorrupt),
	"DeadlineExceeded":    is(context.DeadlineExceeded),
	"NotSavedError": func(err error) bool {
		var e *tokenclient.NotSavedError
		return errors.As(err, &e)
	},
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func (a *answer) fail(err error) {
	if err == nil {
		return
	}
	a.Err = err.Error()
	for name, match := range kinds {
		if match(err) {
			a.Is = append(a.Is, name)
		}
	}
}

// agent is a process with a session.
type agent struct {
	settings settings
	session  *tokenclient.Session
	client   *http.Client

	mu  sync.Mutex // guards out
	out *json.Encoder
}

// orders are all that agents can do. Systems add theirs in systemOrders.
var orders = map[string]func(*agent, context.Context, order, *answer) error{
	"get": (*agent).get,
	"peek": func(a *agent, ctx context.Context, _ order, _ *answer) error {
		_, err := a.session.Peek(ctx)
		return err
	},
	"login":  (*agent).login,
	"logout": func(a *agent, ctx context.Context, _ order, _ *answer) error { return a.session.Logout(ctx) },
	"close":  func(a *agent, ctx context.Context, _ order, _ *answer) error { return a.session.Close(ctx) },
}

// runAgent is the whole life of an agent. It ends when its standard input does,
// as a crash would: nothing outlives the test, and nothing is tidied up.
func runAgent(text string) int {
	a := &agent{out: json.NewEncoder(os.Stdout)}
	if err := a.start(text); err != nil {
		refused := answer{Event: "refused to start"}
		refused.fail(err)
		a.say(refused)
		return 0
	}
	a.say(answer{Event: "ready"})
	for in := json.NewDecoder(bufio.NewReader(os.Stdin)); ; {
		var o order
		if err := in.Decode(&o); err != nil {
			return 0
		}
		go a.obey(o)
	}
}

func (a *agent) start(text string) error {
	s := &a.settings
	if err := json.Unmarshal([]byte(text), s); err != nil {
		return err
	}
	if s.UID != 0 {
		if err := becomeUser(s.UID); err != nil {
			return fmt.Errorf("become user %d: %w", s.UID, err)
		}
	}
	key, err := store.KeyBytes(s.KeyID, s.SealKey)
	if err != nil {
		return err
	}
	files, err := store.NewFile(s.Dir, store.Seal(key))
	if err != nil {
		return err
	}
	plain := &http.Client{Transport: signed{new(http.Transport), s.Name}}
	c := tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{URL: s.URL + "/token/refresh", HTTPClient: plain},
		Store:     files, Key: s.Account,
		Origins:        []string{s.URL},
		RefreshTimeout: s.RefreshTimeout,
		Hooks: &tokenclient.Hooks{
			SaveFailed:   func(_ tokenclient.RefreshInfo, err error) { a.event("SaveFailed", err) },
			SessionEnded: func(err error) { a.event("SessionEnded", err) },
		},
		// The parent searches all of it for tokens.
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if s.OAuth2 {
		c.Refresher = &tokenclient.OAuth2Refresher{
			TokenURL: s.URL + "/oauth/token", RevocationURL: s.URL + "/oauth/revoke",
			ClientAuth: tokenclient.PublicClient("agent"), HTTPClient: plain,
		}
	}
	if a.session, err = tokenclient.New(c); err != nil {
		return err
	}
	a.client = a.session.Wrap(plain)
	return nil
}

// signed puts the agent's name on its requests.
type signed struct {
	base http.RoundTripper
	name string
}

func (s signed) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(agentHeader, s.name)
	return s.base.RoundTrip(req)
}

func (a *agent) obey(o order) {
	ctx := context.Background()
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	said := answer{ID: o.ID}
	do := orders[o.Do]
	if do == nil {
		do = systemOrders[o.Do]
	}
	began := time.Now()
	if do == nil {
		said.fail(fmt.Errorf("no order %q on this system", o.Do))
	} else {
		said.fail(do(a, ctx, o, &said))
	}
	said.Took = time.Since(began)
	a.say(said)
}

func (a *agent) say(said answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.out.Encode(said) // if the parent is gone, so is standard input
}

func (a *agent) event(name string, err error) {
	said := answer{Event: name}
	said.fail(err)
	a.say(said)
}

func (a *agent) get(ctx context.Context, _ order, said *answer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.settings.URL+"/api/", nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said.Status = resp.StatusCode
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return err
	}
	var seen struct{ Subject string }
	err = json.Unmarshal(body, &seen)
	said.Subject = seen.Subject
	return err
}

func (a *agent) login(ctx context.Context, o order, _ *answer) error {
	return a.session.SetToken(ctx, &tokenclient.Token{
		AccessToken: o.Token.Access, RefreshToken: o.Token.Refresh, TokenType: o.Token.Type,
		Expiry: o.Token.Expiry, RefreshExpiry: o.Token.RefreshExpiry, Issued: o.Token.Issued,
	})
}
