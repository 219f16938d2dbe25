package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A scene is something that happens to programs, with the library and without.
type scene struct {
	Name, Title, Story string

	// play asks how often the API answered, until ctx ends. It returns errLost
	// if a program is told to log in again.
	play func(s *stage, ctx context.Context) error
}

const (
	crowd = 12 // requests at the same time

	// playtime bounds a scene, and endtime what a program does after its end.
	playtime = 15 * time.Second
	endtime  = 5 * time.Second

	steady = time.Minute
	pause  = 500 * time.Millisecond

	lateAnswer = 300 * time.Millisecond
)

var scenes = []scene{
	{
		"stampede", "Stampede",
		fmt.Sprintf("A program sends %d requests at once with a token that the API refuses.", crowd),
		(*stage).stampede,
	},
	{
		"two", "Two processes, one store",
		"Two programs have read the same login. Both are refused, one after the other.",
		(*stage).two,
	},
	{
		"kill", "Kill in the middle of a refresh",
		"Ctrl-C ends a program when the server has made the new tokens and they are on their way. Then it is started again. " +
			"(After kill -9 at that moment nobody has the new tokens: only a reuse grace helps then.)",
		(*stage).kill,
	},
	{
		"steady", "A client to play with",
		fmt.Sprintf("It sends a request every %v for a minute, or until you stop it. Expire, revoke and fail meanwhile.", pause),
		(*stage).steady,
	},
}

// An outcome is what came of a scene.
type outcome struct {
	Asked     int    `json:"asked"`
	Answered  int    `json:"answered"`
	Refreshes int    `json:"refreshes"`
	Lost      bool   `json:"lost"`
	Text      string `json:"text"`
}

// A stage is where a scene is played.
type stage struct {
	srv     *tokentest.Server
	options tokentest.Options
	library bool
	user    string
	key     string // of the outcome

	disk      *disk
	store     *store.Memory
	refreshes atomic.Int64

	mu      sync.Mutex // guards the rest
	asked   url.Values // of logins, by demands
	outcome outcome
}

// serveRun is POST /page/run, with the name of a scene and whether with the library. The
// scene is played until it is over, the browser hangs up, or the server is closed.
func (p *page) serveRun(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("scene")
	i := slices.IndexFunc(scenes, func(s scene) bool { return s.Name == name })
	if i < 0 {
		http.Error(w, "there is no such scene", http.StatusBadRequest)
		return
	}
	s := &stage{srv: p.srv, library: r.PostFormValue("library") == "true", key: name + "-naive"}
	who := "without the library"
	if s.library {
		s.key, who = name+"-library", "with the library"
	}
	s.user = s.key
	p.srv.Set(func(o *tokentest.Options) { s.options = *o })
	if why := s.impossible(); why != "" {
		http.Error(w, why, http.StatusConflict)
		return
	}
	if !p.begin(s.key) {
		http.Error(w, "it is running", http.StatusConflict)
		return
	}
	p.feed.note("%s, %s, begins", scenes[i].Title, who)
	err := s.run(r.Context(), scenes[i])
	out := s.result(err)
	p.feed.note("%s, %s: %s", scenes[i].Title, who, out.Text)
	p.over(s.key, out)
	b, err := json.Marshal(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// begin says whether nobody plays it.
func (p *page) begin(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[key] {
		return false
	}
	p.running[key] = true
	delete(p.outcomes, key)
	return true
}

func (p *page) over(key string, o outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, key)
	p.outcomes[key] = o
}

// run logs in, and plays c.
func (s *stage) run(ctx context.Context, c scene) error {
	ctx, cancel := context.WithTimeout(ctx, steady+playtime)
	defer cancel()
	t, err := s.logIn(ctx, nil)
	if err != nil {
		return err
	}
	s.disk = &disk{pair: pair{t.AccessToken, t.RefreshToken}}
	s.store = new(store.Memory)
	if _, _, err := s.store.Replace(ctx, s.user, t); err != nil {
		return err
	}
	return c.play(s, ctx)
}

// result words what came of it.
func (s *stage) result(err error) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.outcome
	o.Refreshes = int(s.refreshes.Load())
	o.Lost = errors.Is(err, errLost)
	refreshes := "refreshes"
	if o.Refreshes == 1 {
		refreshes = "refresh"
	}
	o.Text = fmt.Sprintf("%d of %d requests answered, %d %s", o.Answered, o.Asked, o.Refreshes, refreshes)
	switch {
	case o.Lost:
		o.Text += ", session lost"
	case err != nil && !errors.Is(err, context.Canceled):
		o.Text += ": failed: " + err.Error()
	default:
		o.Text += ", session kept"
	}
	return *o
}

// start starts a program with what is stored.
func (s *stage) start(name string, t *wire) (program, error) {
	if t == nil {
		t = new(wire)
	}
	t.name, t.base, t.refreshes = name+", naive", s.srv.Client().Transport, &s.refreshes
	header, before := headerOf(s.options)
	client := &http.Client{Transport: t}
	if !s.library {
		return &naive{url: s.srv.URL, name: http.Header{header: {before}}, client: client, disk: s.disk, pair: s.disk.load()}, nil
	}
	t.name = name + ", library"
	config := tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: s.srv.URL + refreshPath, HTTPClient: client},
		Attacher:  attacher{header, before},
		Origins:   []string{s.srv.URL},
		Store:     s.store, Key: s.user,
		StepUp: s.stepUp,
	}
	if s.options.DPoP != nil {
		proofs := new(dpop.Prover)
		config.Refresher, config.Attacher = s.prover(client, proofs), proofs
	}
	session, err := tokenclient.New(config)
	if err != nil {
		return nil, err
	}
	return &library{s.srv.URL, session.Wrap(client), session}, nil
}

// end ends programs, whatever became of the scene's context.
func (s *stage) end(ctx context.Context, programs ...program) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endtime)
	defer cancel()
	for _, p := range programs {
		_ = p.end(ctx) // what it could not save, the next request tells
	}
}

// ask sends a request and counts it.
func (s *stage) ask(ctx context.Context, p program) error {
	err := p.get(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome.Asked++
	if err == nil {
		s.outcome.Answered++
	}
	return err
}

func (s *stage) stampede(ctx context.Context) error {
	t := new(wire)
	p, err := s.start("program", t)
	if err != nil {
		return err
	}
	defer s.end(ctx, p)
	if err := s.ask(ctx, p); err != nil {
		return err
	}
	s.srv.RevokeAccess(s.user)
	t.gate.Store(newGate(crowd)) // all have left with the same token before one is refused
	errs := make([]error, crowd)
	var wg sync.WaitGroup
	for i := range crowd {
		wg.Go(func() { errs[i] = s.ask(ctx, p) })
	}
	wg.Wait()
	if err := s.ask(ctx, p); err != nil {
		return err
	}
	return errors.Join(errs...)
}

func (s *stage) two(ctx context.Context) error {
	a, err := s.start("process A", nil)
	if err != nil {
		return err
	}
	defer s.end(ctx, a)
	b, err := s.start("process B", nil)
	if err != nil {
		return err
	}
	defer s.end(ctx, b)
	for _, p := range []program{a, b} {
		if err := s.ask(ctx, p); err != nil {
			return err
		}
	}
	s.srv.RevokeAccess(s.user)
	var errs []error
	for _, p := range []program{a, b, a} {
		errs = append(errs, s.ask(ctx, p))
	}
	return errors.Join(errs...)
}

func (s *stage) kill(ctx context.Context) error {
	running, interrupt := context.WithCancel(ctx)
	defer interrupt()
	p, err := s.start("first run", &wire{late: lateAnswer, arrived: interrupt})
	if err != nil {
		return err
	}
	if err := s.ask(ctx, p); err != nil {
		s.end(ctx, p)
		return err
	}
	s.srv.RevokeAccess(s.user)
	_ = s.ask(running, p) // is interrupted
	s.end(ctx, p)
	p, err = s.start("second run", nil)
	if err != nil {
		return err
	}
	defer s.end(ctx, p)
	return s.ask(ctx, p)
}

func (s *stage) steady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, steady)
	defer cancel()
	p, err := s.start("client", nil)
	if err != nil {
		return err
	}
	defer s.end(ctx, p)
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		if err := s.ask(ctx, p); errors.Is(err, errLost) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}
