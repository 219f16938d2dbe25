package processes

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// agentVariable makes a test binary an agent. It holds the settings as JSON.
const agentVariable = "SILENTREFRESH_TEST_AGENT"

// The headers of a request say which agent makes it, and with whose session.
const (
	agentHeader   = "X-Agent"
	accountHeader = "X-Account"
)

// A Program is a test binary of which agents can be made.
type Program struct {
	// Open opens the store that the agents share. It is the first that an agent does.
	Open func(Settings) (tokenclient.Store, error)

	// Orders are what these agents can do besides what all can.
	Orders map[string]func(context.Context, Order) error

	// Parallel is how many tests run at the same time unless -parallel says it: they
	// wait for each other's processes and compute little, so that more of them may run
	// than the machine has processors.
	Parallel int
}

// Main runs the tests, or the agent that the process is. It does not return.
func (p Program) Main(m *testing.M) {
	if text, ok := os.LookupEnv(agentVariable); ok {
		runAgent(p, text)
		os.Exit(0)
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(p.Parallel))
	}
	os.Exit(m.Run())
}

// agent is a process with a session for each account.
type agent struct {
	program  Program
	settings Settings
	users    []user

	mu  sync.Mutex // guards out
	out *json.Encoder
}

// user is one account of an agent.
type user struct {
	account string
	session *tokenclient.Session
	client  *http.Client
}

// runAgent is the whole life of an agent. It ends when its standard input does.
func runAgent(p Program, settings string) {
	a := &agent{program: p, out: json.NewEncoder(os.Stdout)}
	if err := a.start(settings); err != nil {
		a.event(Answer{Event: "refused to start"}, err)
		return
	}
	a.event(Answer{Event: "ready"}, nil)
	for in := json.NewDecoder(bufio.NewReader(os.Stdin)); ; {
		var o Order
		if err := in.Decode(&o); err != nil {
			return
		}
		if o.ID == workID {
			a.work(o)
			continue
		}
		go func() { a.say(a.obey(o)) }()
	}
}

func (a *agent) start(settings string) error {
	s := &a.settings
	if err := json.Unmarshal([]byte(settings), s); err != nil {
		return err
	}
	shared, err := a.program.Open(*s)
	if err != nil {
		return err
	}
	base := new(http.Transport)
	for _, account := range s.Accounts {
		u, err := a.user(account, shared, &http.Client{Transport: signed{base, s.Name, account}})
		if err != nil {
			return err
		}
		a.users = append(a.users, u)
	}
	return nil
}

func (a *agent) user(account string, shared tokenclient.Store, plain *http.Client) (user, error) {
	s := a.settings
	c := tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: s.URL + "/token/refresh", HTTPClient: plain},
		Store:     shared, Key: account,
		Origins:        []string{s.URL},
		RefreshTimeout: s.RefreshTimeout,
		Hooks: &tokenclient.Hooks{
			SaveFailed: func(_ tokenclient.RefreshInfo, err error) {
				a.event(Answer{Event: "SaveFailed", Account: account}, err)
			},
			SessionEnded: func(err error) { a.event(Answer{Event: "SessionEnded", Account: account}, err) },
		},
	}
	if s.OAuth2 {
		c.Refresher = &tokenclient.OAuth2Refresher{
			TokenURL: s.URL + "/oauth/token", RevocationURL: s.URL + "/oauth/revoke",
			ClientAuth: tokenclient.PublicClient("agent"), HTTPClient: plain,
		}
	}
	if s.Log {
		c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	session, err := tokenclient.New(c)
	if err != nil {
		return user{}, err
	}
	return user{account, session, session.Wrap(plain)}, nil
}

// signed puts the names of agent and account on requests.
type signed struct {
	base          http.RoundTripper
	name, account string
}

func (s signed) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(agentHeader, s.name)
	req.Header.Set(accountHeader, s.account)
	return s.base.RoundTrip(req)
}

// work never ends, and says what came of each request.
func (a *agent) work(o Order) {
	for _, account := range a.settings.Accounts {
		go func(o Order) {
			o.Account = account
			for pause := time.NewTicker(o.Pause); ; <-pause.C {
				a.say(a.obey(o))
			}
		}(o)
	}
}

func (a *agent) obey(o Order) Answer {
	ctx := context.Background()
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	said := Answer{ID: o.ID, Account: o.Account, Began: time.Now()}
	err := a.do(ctx, o, &said)
	said.Took = time.Since(said.Began)
	said.fail(err)
	return said
}

func (a *agent) do(ctx context.Context, o Order, said *Answer) error {
	u := a.users[0]
	if o.Account != "" {
		u = a.users[slices.Index(a.settings.Accounts, o.Account)]
	}
	switch o.Do {
	case "get":
		return a.get(ctx, u, said)
	case "peek":
		_, err := u.session.Peek(ctx)
		return err
	case "login":
		return u.session.SetToken(ctx, o.Token.token())
	case "logout":
		return u.session.Logout(ctx)
	case "close":
		return u.session.Close(ctx)
	}
	if do := a.program.Orders[o.Do]; do != nil {
		return do(ctx, o)
	}
	return fmt.Errorf("no order %q on this system", o.Do)
}

func (a *agent) get(ctx context.Context, u user, said *Answer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.settings.URL+"/api/", nil)
	if err != nil {
		return err
	}
	resp, err := u.client.Do(req)
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

func (a *agent) event(said Answer, err error) {
	said.fail(err)
	a.say(said)
}

func (a *agent) say(said Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.out.Encode(said) // if the parent is gone, so is standard input
}
