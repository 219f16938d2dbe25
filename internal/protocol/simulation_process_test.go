package protocol_test

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const keyOfRun = "account"

// startProcess starts one.
func (w *world) startProcess() {
	p := &process{
		w: w, id: len(w.procs), loggedOut: map[int]bool{}, known: map[int]bool{},
		wall: time.Duration(w.rng.IntN(10*3600)-5*3600) * time.Second,
	}
	w.procs = append(w.procs, p)
	engine := &protocol.Engine{Medium: engineOf{p}, Sealer: &testSealer{}, Margin: w.set.margin}
	if w.set.locks {
		engine.Margin, engine.NewTurn = 0, p.turn
	}
	engine.SetTiming(p.clock, p.jitter)
	p.store = &judgedStore{p: p, Store: engine, calls: map[string]int{}}
	if w.set.sessions {
		var err error
		p.store.gated = true
		p.session, err = tokenclient.New(tokenclient.Config{
			Store: p.store, Key: keyOfRun, AnyOrigin: true, Refresher: refresher{p}, RefreshTimeout: w.set.timeout,
			RefreshBefore: -1,
		})
		if err != nil {
			panic(err)
		}
		p.kill = append(p.kill, func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = p.session.Close(ctx)
		})
	}
	defer w.startRenewals(p)
	clients, two := 1, 0.3
	if w.set.sessions {
		two = 0.7 // one logs out while another waits for a refresh
	}
	if w.chance(two) {
		clients = 2
	}
	for n := range clients {
		c := &client{p: p, name: fmt.Sprintf("p%d%c", p.id, 'a'+n)}
		c.own = &call{p: p, name: c.name, who: c.name}
		for _, at := range w.waves {
			if at < w.now() || !w.chance(0.85) {
				continue
			}
			s := step{at: at + w.between(0, 40*time.Millisecond)}
			if w.chance(0.4) {
				s.at = at + w.between(0, 2*w.set.lease())
			}
			switch {
			case w.chance(w.set.logins):
				s.kind = stepLogin
			case w.chance(w.set.logouts):
				s.kind = stepLogout
			}
			s.ambush = s.kind != stepRefresh && w.chance(0.5)
			if w.chance(0.2) {
				s.patience = w.between(100*time.Millisecond, 2*w.set.lease())
			}
			c.steps = append(c.steps, s)
		}
		c.lastAt = w.over() + w.between(0, 4*w.set.lease())
		w.startClient(c)
	}
}

// startRenewals starts a client to which the server sends tokens by itself.
func (w *world) startRenewals(p *process) {
	if w.set.renewals == 0 {
		return
	}
	c := &client{p: p, name: p.name() + "r"}
	c.own = &call{p: p, name: c.name, who: c.name}
	for _, at := range w.waves {
		at += time.Duration(w.saves.Int64N(int64(w.set.lease())))
		if at > w.now() && w.saves.Float64() < w.set.renewals {
			c.steps = append(c.steps, step{at: at, kind: stepRenewal})
		}
	}
	c.lastAt = w.over()
	w.startClient(c)
}

// over is when nothing is wrong any more, and what was stopped has gone on.
func (w *world) over() time.Duration { return w.healed + 2*w.set.lease() + operationTimeout }

func (w *world) startClient(c *client) {
	w.mu.Lock()
	w.running++
	w.mu.Unlock()
	go c.run()
}

// seedEngine logs in before the run begins.
func (w *world) seedEngine() {
	p := &process{w: w, id: -1}
	engine := &protocol.Engine{Medium: startOf{w, &call{p: p, name: "start", who: "start"}}, Sealer: &testSealer{}}
	if _, _, err := engine.Replace(context.Background(), keyOfRun, w.server.login().token()); err != nil {
		panic(err)
	}
}

// startOf is the engine before the run begins.
type startOf struct {
	w *world
	c *call
}

func (startOf) Where(string) string { return "the record" }

func (s startOf) Get(context.Context, string) ([]byte, error) { return nil, nil }

func (s startOf) CompareAndSwap(_ context.Context, _ string, _, new []byte) (bool, error) {
	s.w.commit(&operation{p: s.c.p, call: s.c}, new)
	return true, nil
}

// closeSessions ends those that live.
func (w *world) closeSessions() {
	for _, p := range w.procs {
		if p.dead {
			continue
		}
		w.running++
		go func() {
			defer func() {
				w.mu.Lock()
				w.running--
				w.mu.Unlock()
				w.ring()
			}()
			err := p.session.Close(context.Background())
			c := &client{p: p, own: &call{p: p, name: "close", who: p.name()}}
			c.ask("closed", func() {
				if err != nil {
					w.violated("P2: closed with %v", err)
				}
			})
		}()
	}
	w.run(func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.running == 0 && len(w.arrived) == 0
	})
}
