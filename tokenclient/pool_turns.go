package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/turns"
)

var _ host = (*Pool)(nil)

// insideTurn marks the contexts of Refreshers whose session has a turn.
type insideTurn struct{}

// errTurnLost makes the Store take the announcement back.
var errTurnLost = fmt.Errorf("%w: its turn was over before the store let it", ErrNotPresented)

// inTurn is that of a [host]. The turn is taken before the Store is asked for the hold
// on the key, because with the hold the presentation is announced and must follow at
// once. But the hold may be with another process, or with one that was killed, for as
// long as half a minute: by then the turn is lost.
func (p *Pool) inTurn(ctx context.Context, s *Session, again bool, fn presentFunc, exchange func(presentFunc) (Record, error)) (r Record, err error) {
	noTurn := p.lines.Do(ctx, s.rules.Endpoint(), s, again, func(t *turns.Turn[origin.Origin, *Session]) {
		r, err = exchange(func(ctx context.Context, current Record) (made *Token, err error) {
			if !t.Begin() {
				return nil, asTokenError(errTurnLost, current.Token)
			}
			defer func() { t.End(outcome(err)) }()
			return fn(context.WithValue(ctx, insideTurn{}, true), current)
		})
	})
	if noTurn != nil {
		return Record{}, errNoTurn
	}
	return r, err
}

// outcome is what the end of a presentation says about the token endpoint.
func outcome(err error) turns.Outcome {
	var te *TokenError
	switch {
	case err == nil:
		return turns.Outcome{Answer: turns.Served}
	case errors.Is(err, ErrAnnounced), !errors.As(err, &te): // the former asked nobody
		return turns.Outcome{}
	}
	o := turns.Outcome{RetryAfter: te.RetryAfter}
	switch status := te.StatusCode; {
	case status == http.StatusTooManyRequests:
		o.Answer = turns.TooMany
	case status >= 400 && status < 500:
		o.Answer = turns.Served
	case status == 0, status >= 500:
		o.Answer = turns.Down
	}
	return o
}

// hurry is that of a [host]: they could be waiting for each other.
func (p *Pool) hurry(ctx context.Context, s *Session) (done func()) {
	if ctx.Value(insideTurn{}) == nil {
		return func() {}
	}
	return p.lines.Hurry(s.rules.Endpoint(), s)
}

// whenRoom is that of a [host].
func (p *Pool) whenRoom(s *Session, left time.Duration, start func() bool) {
	p.lines.WhenRoom(s.rules.Endpoint(), left, start)
}
