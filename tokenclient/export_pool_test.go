package tokenclient

import "context"

// SessionFor is what a Pool adds to a request.
func SessionFor(p *Pool, ctx context.Context) (*Session, error) { return p.sessionFor(ctx) }

// LockPool holds the mutexes of p and of its sessions until unlock is called.
func LockPool(p *Pool) (unlock func()) {
	p.mu.Lock()
	for e := range p.all() {
		e.session.Load().mu.Lock()
	}
	return func() {
		for e := range p.all() {
			e.session.Load().mu.Unlock()
		}
		p.mu.Unlock()
	}
}
