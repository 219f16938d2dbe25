package protocol_test

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What a client does.
const (
	stepRefresh = iota
	stepLogin
	stepLogout
	stepRenewal
)

type step struct {
	at       time.Duration
	kind     int
	patience time.Duration // of its context; 0: endless
	ambush   bool          // it waits until the process refreshes
}

// A client is a part of a process that does one thing after another. In a process
// with a session all share that; in others each talks to the store itself.
type client struct {
	p     *process
	name  string
	own   *call // for what it waits for outside of the store
	steps []step
	seen  tokenclient.Record

	lastAt time.Duration // when it tries once more, with nothing in the way
}

// ask has the scheduler do something, and waits for it.
func (c *client) ask(what string, do func()) {
	o := &operation{call: c.own, what: what}
	o.start = func() {
		do()
		c.p.w.end(o, nil)
	}
	c.p.perform(o)
}

// until waits.
func (p *process) until(c *call, at time.Duration) {
	o := &operation{call: c, what: "until"}
	o.start = func() {
		p.w.forProcess(o, max(0, at-p.w.now()), func() { p.w.end(o, nil) })
	}
	p.perform(o)
}

// ambush waits until an answer is on its way to a refresh of the process: that finds
// in memory what came meanwhile.
func (c *client) ambush() {
	p := c.p
	o := &operation{call: c.own, what: "ambush"}
	o.start = func() {
		p.ambush = o
		p.w.forProcess(o, 3*time.Second, func() { p.w.end(o, nil) })
	}
	p.perform(o)
}

func (c *client) run() {
	w := c.p.w
	defer func() {
		w.mu.Lock()
		w.running--
		w.mu.Unlock()
		w.ring()
	}()
	for _, s := range c.steps {
		c.p.until(c.own, s.at)
		if s.ambush {
			c.ambush()
		}
		ctx, cancel := context.Background(), context.CancelFunc(func() {})
		if s.patience > 0 {
			ctx, cancel = context.WithTimeout(ctx, s.patience)
		}
		ctx = context.WithValue(ctx, clientKey{}, c)
		switch s.kind {
		case stepRefresh:
			c.refresh(ctx)
		case stepLogin:
			var t *pair
			c.ask("login", func() {
				t = w.server.login()
				w.count(loggedIn)
				w.note(c.name, "LOGIN %d", t.family.id)
			})
			c.replace(ctx, t.token())
		case stepLogout:
			c.ask("logout", func() {
				w.count(loggedOut)
				c.p.hasLoggedOut, c.p.mayRevoke = true, len(w.server.families)
				for f := range c.p.known {
					c.p.loggedOut[f] = true
				}
				w.note(c.name, "LOGOUT")
			})
			c.replace(ctx, nil)
		case stepRenewal:
			c.renew(ctx)
		}
		cancel()
	}
	c.p.until(c.own, c.lastAt)
	c.last(context.WithValue(context.Background(), clientKey{}, c))
}

// refresh needs a new token, as after a 401.
func (c *client) refresh(ctx context.Context) {
	for try := range 2 {
		err := c.once(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, tokenclient.ErrNoToken) || errors.Is(err, tokenclient.ErrLoginRequired) {
			return
		}
		c.p.until(c.own, c.p.w.now()+time.Duration(try+1)*700*time.Millisecond)
	}
}

func (c *client) once(ctx context.Context) error {
	p := c.p
	if p.session != nil {
		return c.remembers(func() (*tokenclient.Token, error) { return p.session.Refresh(ctx) })
	}
	if c.seen.State != tokenclient.Active {
		rec, err := p.store.Load(ctx, keyOfRun)
		if err != nil {
			return err
		}
		c.seen = rec
	}
	var made *tokenclient.Token
	var sent *presentation
	var held tokenclient.Record
	rec, err := p.store.Refresh(ctx, keyOfRun, c.seen, p.w.set.timeout, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		held = cur
		t, err := p.refresh(ctx, cur.Token)
		made, sent = t, callOf(ctx).sent
		return t, err
	})
	if made == nil && sent != nil && p.w.set.latePairs {
		if made = c.awaitLate(sent); made != nil {
			rec, err = c.saveLate(context.WithoutCancel(ctx), held, made)
		}
	}
	return c.came(ctx, rec, err, made)
}

// awaitLate waits for an answer that comes when the call was given up. It is nil if
// none comes, or one that says no.
func (c *client) awaitLate(q *presentation) (t *tokenclient.Token) {
	o := &operation{call: c.own, what: "late"}
	o.start = func() {
		w := c.p.w
		if q.arrives == 0 || !q.over {
			w.end(o, nil)
			return
		}
		w.forProcess(o, max(0, q.arrives-w.now()), func() {
			if q.result != nil {
				w.count(latePair)
				w.note(c.name, "hears LATE of %d-%d", q.pair.family.id, q.pair.n)
				t = q.result.token()
			}
			w.end(o, nil)
		})
	}
	c.p.perform(o)
	return t
}

// saveLate tries until there is an outcome: the pair exists nowhere else.
func (c *client) saveLate(ctx context.Context, held tokenclient.Record, made *tokenclient.Token) (tokenclient.Record, error) {
	for n := time.Duration(1); ; n++ {
		rec, err := c.p.store.Save(ctx, keyOfRun, held, made)
		var pending *tokenclient.NotSavedError
		if !errors.Is(err, tokenclient.ErrStoreUnavailable) || errors.As(err, &pending) {
			return rec, err
		}
		c.p.until(c.own, c.p.w.now()+n*time.Second)
	}
}

// renew gets a token from the server, unasked, and stores it.
func (c *client) renew(ctx context.Context) {
	p := c.p
	seen, err := p.store.Load(ctx, keyOfRun)
	if err != nil {
		return
	}
	p.until(c.own, p.w.now()+time.Duration(p.jitter(time.Second)))
	c.ask("renewal", func() { p.w.count(renewedToken) })
	seen.Announced = 0 // the client has presented nothing
	rec, err := p.store.Save(ctx, keyOfRun, seen, renewal(seen.Token, int(seen.Number)))
	if errors.Is(err, tokenclient.ErrAnnounced) {
		c.ask("announced", func() { p.w.count(saveAnnounced) })
		return
	}
	_ = c.came(ctx, rec, err, nil)
}

// came is what the client does with what the store returned. made is the pair that it
// has from the server.
func (c *client) came(ctx context.Context, rec tokenclient.Record, err error, made *tokenclient.Token) error {
	var pending *tokenclient.NotSavedError
	switch {
	case errors.As(err, &pending):
		c.seen = rec
		c.keepSaving(ctx, pending)
		return nil
	case errors.Is(err, tokenclient.ErrReplaced):
		if made != nil {
			_ = c.p.revoke(ctx, made)
		}
		c.seen = rec
		return nil
	case errors.Is(err, tokenclient.ErrOvertaken), err == nil:
		c.seen = rec
		return nil
	case errors.Is(err, tokenclient.ErrNoToken) && made != nil:
		_ = c.p.revoke(ctx, made)
		c.seen = tokenclient.Record{}
	case errors.Is(err, tokenclient.ErrNoToken), errors.Is(err, tokenclient.ErrRefused):
		c.seen = tokenclient.Record{}
	}
	return err
}

// peek looks at what the session has in memory.
func (c *client) peek(ctx context.Context) {
	_ = c.remembers(func() (*tokenclient.Token, error) { return c.p.session.Peek(ctx) })
}

// remembers gets a token of the session. It must not be one of those that the session
// was logged out of before.
func (c *client) remembers(get func() (*tokenclient.Token, error)) error {
	p := c.p
	var gone map[int]bool
	c.ask("before", func() { gone = maps.Clone(p.loggedOut) })
	t, err := get()
	if err == nil {
		c.ask("after", func() {
			f := p.w.server.pairs[t.RefreshToken].family.id
			if gone[f] {
				p.w.violated("P4: session %d came back in memory after a logout", f)
			}
			p.known[f] = true
		})
	}
	return err
}

// keepSaving tries until the token is stored.
func (c *client) keepSaving(ctx context.Context, pending *tokenclient.NotSavedError) {
	for n := time.Duration(1); ; n++ {
		c.p.until(c.own, c.p.w.now()+n*time.Second)
		err := pending.Save(context.WithoutCancel(ctx))
		switch {
		case errors.Is(err, tokenclient.ErrReplaced):
			_ = c.p.revoke(ctx, pending.Token)
			return
		case err == nil, errors.Is(err, tokenclient.ErrOvertaken):
			return
		}
	}
}

// replace is a login or a logout.
func (c *client) replace(ctx context.Context, t *tokenclient.Token) {
	p := c.p
	switch {
	case p.session != nil && t != nil:
		_ = p.session.SetToken(ctx, t)
		return
	case p.session != nil:
		_ = p.session.Logout(ctx)
		c.peek(ctx)
		p.until(c.own, p.w.now()+p.w.set.lease()/2)
		c.peek(ctx)
		return
	}
	now, was, err := p.store.Replace(ctx, keyOfRun, t)
	if err != nil {
		return
	}
	c.seen = now
	if t == nil && was.Token != nil {
		_ = p.revoke(ctx, was.Token)
	}
}

// last is the end of a run: there are no faults any more, and everybody can refresh,
// unless there is nothing to be refreshed.
func (c *client) last(ctx context.Context) {
	p, w := c.p, c.p.w
	var began time.Duration
	c.ask("last", func() { began = w.now() })
	var err error
	for range 3 {
		if err = c.once(ctx); err == nil || errors.Is(err, tokenclient.ErrNoToken) {
			break
		}
		p.until(c.own, w.now()+2*time.Second)
	}
	c.ask("lasted", func() {
		h := w.engine.header
		if d := w.now() - began; d > 2*w.judge.longest+10*time.Second {
			w.violated("P3: the last refresh took %v", d)
		}
		if err == nil || h.State != tokenclient.Active {
			return
		}
		t := w.judge.tokens[generation{h.Era, h.Number}]
		if !t.family.revoked && !(p.session != nil && p.hasLoggedOut) {
			w.violated("P3: the last refresh failed: %v", err)
		}
	})
}
