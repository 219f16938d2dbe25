package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

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

func (p *Pool) dropLocked(e *entry) {
	if e.ring != nil {
		e.ring.remove(e)
	}
	p.removeLocked(e)
}
