package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/check"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/turns"
)

// PoolConfig is what [NewPool] makes a [Pool] from. Store and Config are required.
type PoolConfig struct {
	// Store keeps the tokens of all users. A Pool forgets sessions that nobody
	// uses, and without a Store that would be a logout.
	Store Store

	// Config returns the Config of the session of key, with Store and Key empty:
	// the Pool sets these. It is called when a session is loaded, by one goroutine
	// at a time for each key and by many for different keys, without a lock held.
	// Everybody who wants the key waits for the same call; its ctx ends when the
	// last of them has left or the Pool is closed, and it must return then.
	//
	// Return the same Refresher, Attacher, Hooks and Logger for all keys, where that
	// can be: sessions whose Configs are alike share what is made of them, which is
	// a third of a session. A Config with Rejected, Renewed or StepUp is like no
	// other.
	//
	// If it fails, or returns what [New] would refuse, so does everything that wants the
	// key for the next second; an error that is ErrLoginRequired is how to refuse users who
	// do not exist before the Store is asked for them. It must not use the Pool for a key
	// that is not loaded: with ctx that is ErrReentrant.
	Config func(ctx context.Context, key string) (Config, error)

	// MaxIdle is how many sessions with a token are kept while nobody uses them.
	// Beyond that those not used lately are forgotten. 0: 10,000. Sessions that
	// cannot be forgotten yet, see [Pool], are kept beside.
	MaxIdle int

	// IdleFor is how long a session is kept while nobody uses it, and at most a
	// quarter longer. 0: 15 minutes.
	IdleFor time.Duration

	// MaxRefreshes is how many refresh tokens are presented to one token endpoint
	// at the same time, over all users. Further refreshes wait in line. 0: 32.
	MaxRefreshes int
}

const (
	defaultMaxIdle      = 10_000
	defaultIdleFor      = 15 * time.Minute
	defaultMaxRefreshes = 32
)

// A Pool has the sessions of many users, each under a key, over one Store: for
// gateways, back ends of front ends, and agents that act for many people. Requests
// of its Client go out with the token of the user whose key their context has:
//
//	client := pool.Client()
//	req, err := http.NewRequestWithContext(tokenclient.WithKey(ctx, "alice"), "GET", url, nil)
//	...
//	resp, err := client.Do(req)
//
// The key alone decides whose token a request gets. Take it from what the program
// has authenticated, never from a token or from what a client just says.
//
// # Sessions
//
// A session is loaded when its key is first asked for, and is forgotten when
// nobody has used it for a while, or to make room. There is one Session for each
// key as long as anybody holds it: who asks for a key gets the Session that others
// still use, even if the Pool had forgotten it meanwhile. A session is not forgotten
// while it refreshes, while it has a token or a logout that is not in the Store yet,
// or while it looks at the Store.
//
// A request for a user without a token is ErrLoginRequired. That is remembered for
// a second without asking the Store again, for some thousand users beside those who
// are logged in, whom strangers therefore cannot push out. A login by
// [Session.SetToken] counts at once. A key may have any length; but one of more than 512
// bytes is not remembered without a token, so that strangers cannot fill the memory with
// theirs.
//
// # Refreshes
//
// At most MaxRefreshes are made at a time, those that requests wait for first and
// in the order in which they came. Early refreshes, for which nobody waits yet, are
// spread out: if the tokens of all users expire in the same minute, the token
// endpoint sees an even rate. An answer with status 429 or with Retry-After makes
// the other users' refreshes wait too, for a few seconds at first and for up to a
// minute if it is repeated, and then go on one by one; so the limit of a single user
// does not stop the others. While the endpoint gives no answer, or a 5xx, fewer and
// fewer refreshes are made at a time, down to one. Waiting in line does not count against
// Config.RefreshTimeout, and ends with a request's context.
//
// All this is for each token endpoint: the origin that an [OAuth2Refresher] or
// [JSONRefresher] posts to, or that another Refresher names by its method Endpoints. Of those
// that name none, each type counts as one endpoint, and so does each function that is a
// [RefresherFunc], whatever variables it has: one that hangs holds up no other.
//
// A Pool is safe for concurrent use. End it with [Pool.Close].
type Pool struct {
	store   Store
	config  func(context.Context, string) (Config, error)
	maxIdle int
	period  time.Duration // of tick
	lines   *turns.Lines[lineID, *Session]

	// lifetime is the context of what the pool does by itself.
	lifetime context.Context
	end      context.CancelFunc

	entries sync.Map      // of *entry by key; written with mu held
	tick    atomic.Uint32 // odd; goes up by two every period

	loaded, evicted atomic.Uint64
	settings        atomic.Pointer[alikeSettings] // of the session made last; nil: none

	mu       sync.Mutex // guards all below; not held during I/O or while waiting
	loads    map[string]*load
	live     ring // entries of sessions with a token
	empty    ring // and of those without, and of keys whose Config failed
	sweeper  *time.Timer
	sweeping bool // sweeper is set
	closed   bool
}

// NewPool makes a Pool. It does no I/O. An error says which field is wrong, and what to
// write there. What is wrong with the Config of a key is told when that is loaded.
func NewPool(c PoolConfig) (*Pool, error) {
	switch {
	case c.Store == nil:
		return nil, errors.New("tokenclient: PoolConfig.Store is nil; a Pool forgets sessions that nobody uses, and has to find their tokens again")
	case check.Nil(c.Store):
		return nil, fmt.Errorf("tokenclient: PoolConfig.Store holds a nil pointer, a %T; assign one that was made", c.Store)
	case c.Config == nil:
		return nil, errors.New("tokenclient: PoolConfig.Config is nil; it returns the Config of each key's session")
	case c.MaxIdle < 0:
		return nil, fmt.Errorf("tokenclient: PoolConfig.MaxIdle is negative: %d; 0 means %d", c.MaxIdle, defaultMaxIdle)
	case c.IdleFor < 0:
		return nil, fmt.Errorf("tokenclient: PoolConfig.IdleFor is negative: %v; 0 means %v", c.IdleFor, defaultIdleFor)
	case c.MaxRefreshes < 0:
		return nil, fmt.Errorf("tokenclient: PoolConfig.MaxRefreshes is negative: %d; 0 means %d", c.MaxRefreshes, defaultMaxRefreshes)
	}
	if err := check.Duration("PoolConfig.IdleFor", c.IdleFor); err != nil {
		return nil, fmt.Errorf("tokenclient: %w", err)
	}
	p := &Pool{
		store:   c.Store,
		config:  c.Config,
		maxIdle: defaultMaxIdle,
		period:  defaultIdleFor / idleTicks,
		loads:   make(map[string]*load),
	}
	most := defaultMaxRefreshes
	if c.MaxIdle > 0 {
		p.maxIdle = c.MaxIdle
	}
	if c.IdleFor > 0 {
		p.period = max(c.IdleFor/idleTicks, time.Millisecond)
	}
	if c.MaxRefreshes > 0 {
		most = c.MaxRefreshes
	}
	p.lines = turns.New[lineID, *Session](most)
	p.tick.Store(1)
	p.lifetime, p.end = context.WithCancel(context.WithValue(context.Background(), insidePool{p}, true))
	return p, nil
}

// Format writes how many sessions there are, whatever the verb: they lead to tokens.
func (p *Pool) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "Pool{%d live}", p.Stats().Live) }

type poolKey struct{}

// WithKey returns a context whose requests, through a [Pool], get the token of the
// user with that key. The innermost key counts. It holds for the redirects of such
// a request too.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, poolKey{}, key)
}

// KeyFrom returns the key of [WithKey] that ctx has; "": none. It is for protocols that have no
// [Transport]: they take the session from [Pool.Session].
func KeyFrom(ctx context.Context) string {
	key, _ := ctx.Value(poolKey{}).(string)
	return key
}

// Session returns the session of key, after loading it if necessary: from PoolConfig.Config
// and from the Store. For a user without a token it returns a session without one,
// as it does if the Store cannot be read; [Session.SetToken] then logs the user in.
// There is no need to close the session, which would end it for all who have it.
//
// Errors are ErrNoKey if key is empty, ErrClosed, ctx's, and those of
// PoolConfig.Config.
func (p *Pool) Session(ctx context.Context, key string) (*Session, error) {
	if key == "" {
		return nil, ErrNoKey
	}
	if s := p.find(key); s != nil {
		return s, nil
	}
	return p.load(ctx, key)
}

// sessionFor returns the session whose token a request with ctx gets, nil if that
// is none. For a session that is loaded it takes no lock and allocates nothing.
func (p *Pool) sessionFor(ctx context.Context) (*Session, error) {
	key := KeyFrom(ctx)
	if s := p.find(key); s != nil {
		return s, nil
	}
	if withoutToken(ctx) {
		return nil, nil
	}
	if key == "" {
		return nil, ErrNoKey
	}
	return p.load(ctx, key)
}

// find returns the session of key if it is loaded.
func (p *Pool) find(key string) *Session {
	if e := p.entry(key); e != nil {
		return p.use(e)
	}
	return nil
}

// Transport returns a RoundTripper whose requests carry the token of the user whose
// key their context has. Its errors are those of [Session.Transport] and
// [Pool.Session]; a request without a key is ErrNoKey, unless it is one with
// [WithoutToken]. Where the token may go is for each user's Config to say. base nil
// means [http.DefaultTransport].
func (p *Pool) Transport(base http.RoundTripper) *Transport {
	return &Transport{Base: base, sessions: p.sessionFor}
}

// Client returns a new client over [http.DefaultTransport] for the requests of all
// users; see [Pool.Transport].
func (p *Pool) Client() *http.Client { return p.Wrap(nil) }

// Wrap returns a copy of c for the requests of all users, as [Session.Wrap] does
// for those of one. A Jar of c is shared by all users: leave it out unless cookies
// say nothing about a user.
func (p *Pool) Wrap(c *http.Client) *http.Client { return wrap(c, p.Transport) }

// Logout is [Session.Logout] of the user with that key. It needs a Config, too: log a
// user out before PoolConfig.Config stops knowing of him.
//
// For a session that is not loaded it waits for PoolConfig.Config, as long as ctx lasts. If
// that ends first nobody is logged out, not even in memory, and the error is ctx's. It does not
// wait for the Store to be read: who waits for that with the session is answered as after any
// logout.
func (p *Pool) Logout(ctx context.Context, key string) error {
	if key == "" {
		return fmt.Errorf("tokenclient: Logout: %w", ErrNoKey)
	}
	s, err := p.find(key), error(nil)
	if s == nil {
		s, err = p.loadToLogout(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("tokenclient: Logout: %w", err)
	}
	return s.Logout(ctx)
}

// Sessions returns the sessions that are loaded and have a token, in no particular
// order, and does not count as a use of them. Sessions that come or go meanwhile may
// be missing.
func (p *Pool) Sessions() iter.Seq2[string, *Session] {
	return func(yield func(string, *Session) bool) {
		for e := range p.all() {
			if s := e.session.Load(); s != nil && s.holds().usable() && !yield(e.key, s) {
				return
			}
		}
	}
}

// PoolStats are counts of a [Pool] at one moment.
type PoolStats struct {
	Live       int    // sessions that the Pool keeps, with a token
	Empty      int    // keys that are remembered although they have no token
	Loads      uint64 // sessions made so far
	Evicted    uint64 // sessions forgotten so far
	Refreshing int    // refreshes that present a refresh token, or are about to
	Waiting    int    // refreshes in line, those included that nobody waits for
}

// Stats returns the counts of this moment. It is cheap.
func (p *Pool) Stats() PoolStats {
	s := PoolStats{Loads: p.loaded.Load(), Evicted: p.evicted.Load()}
	s.Refreshing, s.Waiting = p.lines.Count()
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Live, s.Empty = p.live.len, p.empty.len
	return s
}
