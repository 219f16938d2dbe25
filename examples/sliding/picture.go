package main

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/timeline"
)

// A picture shows who sent what, and how long the token was good for. Any goroutine may tell
// it.
type picture struct {
	mu                sync.Mutex
	began             time.Time // when the first token was new
	good              time.Time // until when the last one is
	drawing           *timeline.Drawing
	workers           []*timeline.Row
	heartbeats, token *timeline.Row
}

// newPicture begins one for a session that has just logged in.
func newPicture() *picture {
	p := &picture{began: time.Now()}
	p.drawing = timeline.New(p.began, pace/2)
	for i := range workers {
		p.workers = append(p.workers, p.drawing.Row(fmt.Sprintf("worker %d", i+1)))
	}
	p.heartbeats, p.token = p.drawing.Row("heartbeat"), p.drawing.Row("the token")
	p.good = p.began.Add(lifetime)
	return p
}

// answered tells that a worker's request was answered: with a new token, if with 200.
func (p *picture) answered(worker, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sign := 'x'
	if status == http.StatusOK {
		sign = 'o'
		p.good = time.Now().Add(lifetime)
	}
	p.workers[worker].Mark(time.Now(), sign)
}

// heartbeat tells that the server answered one with a new token.
func (p *picture) heartbeat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.good = time.Now().Add(lifetime)
	p.heartbeats.Mark(time.Now(), 'h')
}

// draw shows it up to now: a token that is good for longer goes on to the edge.
func (p *picture) draw(w io.Writer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until := p.good
	if now := time.Now(); until.After(now) {
		until = now
	}
	p.token.Span(p.began, until, '=')
	fmt.Fprint(w, p.drawing)
	fmt.Fprintln(w, "o answered 200 with a new token, x answered 401, h heartbeat, = a token is good")
}
