package tokenclient

import "context"

// SessionFor is what a Pool adds to a request.
func SessionFor(p *Pool, ctx context.Context) (*Session, error) { return p.sessionFor(ctx) }
