package simulation_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
)

// A process is one of the program: sessions, or a Pool, over the store.
type process struct {
	w         *world
	id        int
	dead      atomic.Bool // it was killed
	refresher tokenclient.Refresher
	prover    *dpop.Prover // nil: tokens are not bound
	hooks     *tokenclient.Hooks

	// The scheduler's.
	storeDown    time.Duration // until when it cannot reach the store
	storeTrouble time.Duration // until when that may matter
	storeFault   bool          // there was any
	closed       time.Duration // when it was closed the last time
	closing      int           // restarts under way
	open         []*operation  // under way
	calls        map[*call]bool
	doom         map[stepKind]*step // how it is going to be killed, or to stand still
	still        time.Duration      // until when it stands still
	stands       [][2]time.Duration // when it stood still
	keptBack     time.Duration      // when the end of a context last kept back what it wanted to send
	claimed      map[string]*claim  // the last one, by its key in the engine
	forced       map[string]int
	forcedAt     map[string]time.Duration  // when such a call ended
	sent         map[*family]time.Duration // when it first sent whose tokens
	left         map[*family]time.Duration
	unstored     map[string]time.Duration // when the last logout began that the store does not know; 0: it knows all

	restarting atomic.Bool

	mu         sync.Mutex    // guards all below
	openBodies int           // answers that nobody has closed
	stage      int           // of its keys
	ahead      time.Duration // its clock
	sessions   map[string]*tokenclient.Session
	pool       *tokenclient.Pool
	clients    map[string]*http.Client
	stop       context.CancelFunc
	life       context.Context
	keeping    map[string]bool
}

func (p *process) name() string { return fmt.Sprintf("p%d", p.id) }

func newProcess(w *world, id int) *process {
	p := &process{w: w, id: id, forced: map[string]int{}, forcedAt: map[string]time.Duration{}, sent: map[*family]time.Duration{}, left: map[*family]time.Duration{}, unstored: map[string]time.Duration{}, calls: map[*call]bool{}, doom: map[stepKind]*step{}, claimed: map[string]*claim{}}
	client := &http.Client{Transport: line{p}}
	if w.plan.set.json {
		p.refresher = &tokenclient.JSONRefresher{TokenURL: "https://" + authHost + "/token", HTTPClient: client}
	} else {
		p.refresher = &tokenclient.OAuth2Refresher{
			TokenURL: "https://" + authHost + "/token", RevocationURL: "https://" + authHost + "/revoke",
			ClientAuth: tokenclient.PublicClient("app"), HTTPClient: client,
		}
	}
	p.prover = w.newProver(p.refresher)
	p.hooks = p.newHooks()
	p.start()
	return p
}

// newHooks returns hooks that keep all that is said, and use the session that they hear of.
func (p *process) newHooks() *tokenclient.Hooks {
	say := func(what string) func(tokenclient.RefreshInfo, error) {
		return func(info tokenclient.RefreshInfo, err error) { p.w.print(fmt.Sprintf("%s %+v %v", what, info, err)) }
	}
	return &tokenclient.Hooks{
		Refreshed:     func(info tokenclient.RefreshInfo) { p.w.print(fmt.Sprintf("refreshed %+v", info)) },
		RefreshFailed: say("refresh failed"),
		SaveFailed:    say("save failed"),
		SessionEnded: func(err error) {
			p.w.print(fmt.Sprintf("ended %+v", err))
			p.mu.Lock()
			sessions := p.sessions
			p.mu.Unlock()
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			for _, s := range sessions {
				_, _ = s.Peek(ctx)
			}
		},
	}
}

func (p *process) config(user string) tokenclient.Config {
	set := &p.w.plan.set
	c := tokenclient.Config{
		Refresher: p.refresher, Origins: p.origins(), Audiences: p.audiences(), RefreshTimeout: refreshTimeout,
		Heartbeat: set.heartbeat, Hooks: p.hooks, StepUp: p.stepUp(user),
	}
	if p.prover != nil {
		c.Attacher = p.prover
	}
	if set.slides > 0 {
		c.Renewed = tokenclient.RenewedHeader("X-Renewed")
	}
	if set.logs {
		c.Logger = slog.New(logOf{p.w})
	}
	return c
}

// logOf is a slog.Handler that keeps what is logged.
type logOf struct{ w *world }

func (logOf) Enabled(context.Context, slog.Level) bool { return true }
func (l logOf) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l logOf) WithGroup(string) slog.Handler          { return l }
func (l logOf) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += fmt.Sprintf(" %s=%+v", a.Key, a.Value)
		return true
	})
	l.w.print(text)
	return nil
}

// start makes the sessions.
func (p *process) start() {
	set := &p.w.plan.set
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions, p.clients, p.keeping = map[string]*tokenclient.Session{}, map[string]*http.Client{}, map[string]bool{}
	p.life, p.stop = context.WithCancel(context.Background())
	base := &http.Client{Transport: line{p}}
	s := p.newStore()
	if set.pool {
		pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
			Store: s, Config: func(_ context.Context, user string) (tokenclient.Config, error) { return p.config(user), nil },
			MaxIdle: 1, IdleFor: 20 * time.Second, MaxRefreshes: 1,
		})
		if err != nil {
			panic(err)
		}
		p.pool = pool
		for _, user := range users[:set.users] {
			p.clients[user] = pool.Wrap(base)
		}
		if set.keepFresh {
			life := p.life
			p.w.spawn(func() { _ = pool.KeepFresh(life, 0) })
		}
	} else {
		c := p.config(users[0])
		if s != nil {
			c.Store, c.Key = s, users[0]
		}
		session, err := tokenclient.New(c)
		if err != nil {
			panic(err)
		}
		p.sessions[users[0]] = session
		p.clients[users[0]] = session.Wrap(base)
	}
	for _, c := range p.clients {
		c.Transport.(*tokenclient.Transport).MaxReplayBody = maxCopy
	}
}

// maxCopy is how much of a stream the library may keep.
const maxCopy = 128

// session returns that of a user.
func (p *process) session(ctx context.Context, user string) (*tokenclient.Session, error) {
	p.mu.Lock()
	s, pool := p.sessions[user], p.pool
	p.mu.Unlock()
	if pool != nil {
		return pool.Session(ctx, user)
	}
	return s, nil
}

// client returns that of a user, and the context of its requests.
func (p *process) client(ctx context.Context, user string) (context.Context, *http.Client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return tokenclient.WithKey(ctx, user), p.clients[user]
}

// keepFresh has the session kept fresh from now on.
func (p *process) keepFresh(user string, s *tokenclient.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.w.plan.set.keepFresh || p.pool != nil || p.keeping[user] {
		return
	}
	p.keeping[user] = true
	life := p.life
	p.w.spawn(func() {
		err := s.KeepFresh(life)
		p.w.print(fmt.Sprintf("%+v", err))
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keeping[user] = false
	})
}

// close ends the sessions.
func (p *process) close(ctx context.Context) error {
	p.mu.Lock()
	stop, s, pool := p.stop, p.sessions[users[0]], p.pool
	p.mu.Unlock()
	stop()
	if pool != nil {
		return pool.Close(ctx)
	}
	return s.Close(ctx)
}
