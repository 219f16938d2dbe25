package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// refresher is a tokenclient.Refresher and Revoker.
type refresher struct{ p *process }

func (r refresher) Refresh(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	return r.p.refresh(ctx, old)
}
func (r refresher) Revoke(ctx context.Context, t *tokenclient.Token) error { return r.p.revoke(ctx, t) }

type clientKey struct{}

// A judgedStore is a process's store, and tells the judge what it returns.
type judgedStore struct {
	tokenclient.Store
	p     *process
	calls map[string]int
	gated bool
}

// begin makes a call of a context.
func (s *judgedStore) begin(ctx context.Context, op string) (context.Context, *call) {
	c := &call{p: s.p, refresh: op == "refresh"}
	who := "p" + string(rune('0'+s.p.id))
	if cl, _ := ctx.Value(clientKey{}).(*client); cl != nil {
		who = cl.name
	}
	s.p.mu.Lock()
	s.calls[who+op]++
	c.name = fmt.Sprintf("%s %s %d", who, op, s.calls[who+op])
	s.p.mu.Unlock()
	c.who = c.name
	return context.WithValue(ctx, callKey{}, c), c
}

// report tells the judge.
func (s *judgedStore) report(c *call, what string, do func()) {
	o := &operation{call: c, what: what}
	o.start = func() {
		do()
		s.p.w.end(o, nil)
	}
	s.p.perform(o)
}

func (s *judgedStore) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	ctx, _ = s.begin(ctx, "load")
	return s.Store.Load(ctx, key)
}

func (s *judgedStore) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	op := "login"
	if t == nil {
		op = "logout"
	}
	ctx, c := s.begin(ctx, op)
	now, was, err = s.Store.Replace(ctx, key, t)
	s.report(c, "replaced", func() {
		if err == nil {
			s.p.w.note(c.who, "done")
		} else {
			s.p.w.note(c.who, "FAILED")
		}
	})
	return now, was, err
}

func (s *judgedStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	w := s.p.w
	ctx, c := s.begin(ctx, "refresh")
	c.seen = seen
	rec, err := s.Store.Refresh(ctx, key, seen, timeout, fn)
	s.report(c, "returned", func() {
		w.judge.returned(c, rec, err)
		w.note(c.who, "returns number %d", int(rec.Number))
		if err != nil && ctx.Err() != nil && c.sent == nil {
			w.count(callerLeft)
		}
	})
	return rec, s.judged(ctx, c, err)
}

func (s *judgedStore) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	w := s.p.w
	ctx, c := s.begin(ctx, "save")
	c.seen = seen
	s.report(c, "saves", func() {
		if !isRenewal(t) {
			c.made = w.server.pairs[t.RefreshToken]
		}
	})
	rec, err := s.Store.Save(ctx, key, seen, t)
	s.report(c, "saved", func() {
		w.judge.returned(c, rec, err)
		w.note(c.who, "returns number %d", int(rec.Number))
	})
	return rec, s.judged(ctx, c, err)
}

// judged is err, with a judge if it is a NotSavedError.
func (s *judgedStore) judged(ctx context.Context, c *call, err error) error {
	var pending *tokenclient.NotSavedError
	if errors.As(err, &pending) {
		return s.pending(ctx, c, pending)
	}
	return err
}

// pending is e with a judge. The times at which a session tries again are left to
// chance; they are put off to when it tries at the latest, which is always the same.
func (s *judgedStore) pending(ctx context.Context, c *call, e *tokenclient.NotSavedError) error {
	w := s.p.w
	last, wait := w.now(), time.Second
	values := context.WithoutCancel(ctx)
	return tokenclient.NewNotSavedError(e.Key, e.Token, e.Err, func(ctx context.Context) error {
		_, again := s.begin(values, "save")
		if s.gated {
			s.p.until(again, last+wait)
		}
		err := e.Save(context.WithValue(ctx, callKey{}, again))
		s.report(again, "saved", func() {
			last, wait = w.now(), min(2*wait, time.Minute)
			if err == nil || errors.Is(err, tokenclient.ErrReplaced) || errors.Is(err, tokenclient.ErrOvertaken) {
				w.judge.settled(c, err)
				w.note(again.who, "is settled")
			}
		})
		return err
	})
}
