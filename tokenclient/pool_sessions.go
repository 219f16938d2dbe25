package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// A load makes the session of one key, for everybody who wants it.
type load struct {
	key     string
	waiting int // guarded by Pool.mu
	cancel  context.CancelFunc
	made    chan struct{} // closed when there is a session, which has not looked at the store yet; or never
	done    chan struct{}

	making  *Session // written before made is closed
	session *Session // written before done is closed
	err     error
}

// insidePool marks the contexts that a Pool hands to its Config.
type insidePool struct{ p *Pool }

// load returns the session of a key that find did not.
func (p *Pool) load(ctx context.Context, key string) (*Session, error) {
	return p.awaitLoad(ctx, key, false)
}

// loadToLogout is load for who is going to log the session out, at once. It does not wait for
// the look at the store, which a logout makes pointless, and so ends.
func (p *Pool) loadToLogout(ctx context.Context, key string) (*Session, error) {
	return p.awaitLoad(ctx, key, true)
}

func (p *Pool) awaitLoad(ctx context.Context, key string, unlooked bool) (*Session, error) {
	l, s, err := p.joinLoad(ctx, key)
	if l == nil {
		return s, err
	}
	var made <-chan struct{}
	if unlooked {
		made = l.made
	}
	select {
	case <-l.done:
		return l.session, l.err
	case <-made:
		// The load is not left: the session alone may know of the logout, and is to be kept.
		return l.making, nil
	case <-ctx.Done():
		p.leaveLoad(l)
		return nil, ctx.Err()
	}
}

// joinLoad has the caller wait for the load of key, which leaveLoad ends. l is nil if there is
// none to wait for.
func (p *Pool) joinLoad(ctx context.Context, key string) (l *load, s *Session, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, ErrClosed
	}
	if s, err := p.rememberedLocked(key); s != nil || err != nil {
		return nil, s, err
	}
	if ctx.Value(insidePool{p}) != nil {
		return nil, nil, fmt.Errorf("tokenclient: PoolConfig.Config uses its Pool for another key: %w", ErrReentrant)
	}
	if l = p.loads[key]; l == nil {
		l = p.startLocked(strings.Clone(key)) // it may be a piece of something large
	}
	l.waiting++
	return l, nil, nil
}

func (p *Pool) leaveLoad(l *load) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.waiting--; l.waiting == 0 {
		l.cancel()
		if p.loads[l.key] == l && !p.closed { // else Close waits for it
			delete(p.loads, l.key)
		}
	}
}

func (p *Pool) startLocked(key string) *load {
	ctx, cancel := context.WithCancel(p.lifetime)
	l := &load{key: key, cancel: cancel, made: make(chan struct{}), done: make(chan struct{})}
	p.loads[key] = l
	go func() {
		defer close(l.done)
		defer cancel()
		s, err := p.open(ctx, l)
		p.mu.Lock()
		defer p.mu.Unlock()
		switch {
		case !p.closed && p.loads[key] == l:
			l.session, l.err = s, err
			p.rememberLocked(key, s, err)
		case s != nil:
			s.abandon() // nobody has seen it
			fallthrough
		default:
			l.err = ErrClosed // else everybody has left
		}
		if p.loads[key] == l {
			delete(p.loads, key)
		}
	}()
	return l
}

// open makes the session of l's key and has it look at the store. Whether there is a
// token decides how the session is kept, and who wants one asks next anyway.
func (p *Pool) open(ctx context.Context, l *load) (*Session, error) {
	key := l.key
	c, err := contain.Go("it", nil, func() (Config, error) { return p.config(ctx, key) }).Result()
	if err != nil {
		return nil, fmt.Errorf("tokenclient: PoolConfig.Config of key %q: %w", key, err)
	}
	if c.Store != nil || c.Key != "" {
		return nil, fmt.Errorf("tokenclient: PoolConfig.Config of key %q sets Store or Key; leave both empty, the Pool sets them", key)
	}
	c.Store, c.Key = p.store, key
	set, err := p.settingsOf(&c)
	if err != nil {
		return nil, fmt.Errorf("tokenclient: PoolConfig.Config of key %q: %w", key, err)
	}
	s := newSession(set, c.Store, c.Key)
	p.loaded.Add(1)
	l.making = s
	close(l.made)
	_, _ = s.asItIs(ctx) // the session keeps the error, for those who need a token
	return s, nil
}

// alikeSettings are the settings that a Config made, for those that are alike.
type alikeSettings struct {
	config   Config
	settings *settings
}

// settingsOf returns the settings of c. Those of the session made last are used again
// if they can be: mostly all users' Configs are the same but for the key.
func (p *Pool) settingsOf(c *Config) (*settings, error) {
	if last := p.settings.Load(); last != nil && last.config.alike(c) {
		return last.settings, nil
	}
	// A method Validate of the user's may panic. Here that would end the process.
	set, err := contain.Go("its check", nil, c.settings).Result()
	if err != nil {
		return nil, err
	}
	set.setHost(p)
	last := &alikeSettings{*c, set}
	last.config.Key, last.config.Origins = "", slices.Clone(c.Origins) // the latter is the program's
	last.config.Audiences = slices.Clone(c.Audiences)
	for i, a := range last.config.Audiences {
		last.config.Audiences[i].Origins = slices.Clone(a.Origins)
	}
	p.settings.Store(last)
	return set, nil
}

// rememberedLocked returns what is known of a key that find did not find: a session
// that somebody else still holds, or why there is none.
func (p *Pool) rememberedLocked(key string) (*Session, error) {
	e := p.entry(key)
	if e == nil {
		return nil, nil
	}
	if e.failure != nil {
		if limit.Remaining(e.until, time.Now(), lookInterval) > 0 {
			return nil, e.failure
		}
		return nil, nil
	}
	if s := e.session.Load(); s != nil {
		return s, nil
	}
	s := e.evicted.Value()
	if s == nil {
		return nil, nil
	}
	p.takeBackLocked(e, s)
	return s, nil
}

// rememberLocked keeps what came of a load.
func (p *Pool) rememberLocked(key string, s *Session, err error) {
	if errors.Is(err, context.Canceled) && s == nil {
		return // it says nothing about the key
	}
	e := &entry{key: key, failure: err}
	if err != nil {
		e.until = time.Now().Round(0).Add(lookInterval)
	}
	if s != nil {
		e.session.Store(s)
	}
	if old := p.entry(key); old != nil && old.ring != nil {
		old.ring.remove(old)
	}
	p.entries.Store(key, e)
	p.keepLocked(e)
}

// closers is how many sessions Close closes at a time: some may have to write to
// the Store.
const closers = 32

// Close closes all sessions, those included that somebody still holds, as
// [Session.Close] does: it waits for refreshes under way and for their results to be
// saved. Refreshes in line are not begun any more. Requests and calls fail with
// ErrClosed from then on.
//
// When ctx ends it still waits for refresh tokens that a server may have already, as
// [Session.Close] does, and for as long. The error joins those of the sessions, and is
// ctx's too if something was not waited for. Close may be called again, and does again what
// is left to do.
//
// PoolConfig.Config, and what the Pool's sessions call, would wait for themselves if they
// called Close with the context that they were given: the error is ErrReentrant, and
// nothing is closed.
func (p *Pool) Close(ctx context.Context) error {
	if ctx.Value(insidePool{p}) != nil || ctx.Value(insideHost{p}) != nil {
		return fmt.Errorf("tokenclient: Pool.Close would wait for its own caller: %w", ErrReentrant)
	}
	p.mu.Lock()
	p.closed = true
	if p.sweeping {
		p.sweeper.Stop()
	}
	var loads []*load
	for _, l := range p.loads {
		loads = append(loads, l)
	}
	p.mu.Unlock()
	p.end()
	p.lines.Close()

	var errs []error
	for _, l := range loads {
		select {
		case <-l.done:
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("tokenclient: Close did not wait for PoolConfig.Config of key %q: %w", l.key, ctx.Err()))
		}
	}
	var (
		running sync.WaitGroup
		free    = make(chan struct{}, closers)
		mu      sync.Mutex // guards errs from here on
	)
	for e := range p.all() {
		s := p.leave(e)
		if s == nil {
			continue
		}
		free <- struct{}{} // every Close ends
		running.Go(func() {
			defer func() { <-free }()
			if err := s.Close(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
				return
			}
			p.drop(e)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// leave returns e's session for Close, nil if there is none any more.
func (p *Pool) leave(e *entry) *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := e.session.Load(); s != nil {
		return s
	}
	return e.evicted.Value()
}

// drop removes e, whose session is closed.
func (p *Pool) drop(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(e)
}
