package behaviour_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// hookLog writes down what the hooks of a session are told. Nothing guards it but
// the promise that hooks are called one at a time: run it with -race.
type hookLog struct {
	events []string
	infos  []tokenclient.RefreshInfo
	inside bool
	do     func(event string) // is called in each hook
}

func (l *hookLog) add(event string, info *tokenclient.RefreshInfo) {
	if l.inside {
		panic("two hooks at the same time")
	}
	l.inside = true
	defer func() { l.inside = false }()
	l.events = append(l.events, event)
	if info != nil {
		l.infos = append(l.infos, *info)
	}
	if l.do != nil {
		l.do(event)
	}
}

func (l *hookLog) hooks() *tokenclient.Hooks {
	return &tokenclient.Hooks{
		Refreshed:     func(i tokenclient.RefreshInfo) { l.add("refreshed", &i) },
		Adopted:       func(i tokenclient.RefreshInfo) { l.add("adopted", &i) },
		RefreshFailed: func(i tokenclient.RefreshInfo, err error) { l.add("failed: "+hookKind(err), &i) },
		SaveFailed:    func(i tokenclient.RefreshInfo, err error) { l.add("save failed: "+hookKind(err), &i) },
		SessionEnded:  func(err error) { l.add("ended: "+hookKind(err), nil) },
		Replayed:      func(method, origin string) { l.add("replayed "+method+" "+origin, nil) },
	}
}

func hookKind(err error) string {
	var te *tokenclient.TokenError
	switch {
	case errors.Is(err, tokenclient.ErrLoggedOut):
		return "logged out"
	case errors.Is(err, tokenclient.ErrLoginRequired):
		return "login required"
	case errors.As(err, &te):
		return fmt.Sprint("status ", te.StatusCode)
	}
	return fmt.Sprint(err)
}

func (l *hookLog) want(t *testing.T, events ...string) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(l.events, events) {
		t.Errorf("hooks %q, want %q", l.events, events)
	}
	l.events = nil
}

func newHookRig(t *testing.T, o tokentest.Options, change func(*tokenclient.Config)) (*sessiontest.Rig, *hookLog) {
	l := new(hookLog)
	o.InMemory = true
	return sessiontest.New(t, &o, func(c *tokenclient.Config, _ *tokentest.Server) {
		c.Hooks = l.hooks()
		if change != nil {
			change(c)
		}
	}), l
}

// flightLog writes down how refreshes begin and end.
type flightLog struct {
	t      *testing.T
	mu     sync.Mutex // guards the rest
	events []string
	open   []tokenclient.RefreshInfo // started and not ended
}

func (l *flightLog) start(i tokenclient.RefreshInfo) {
	if i.Cause == tokenclient.CauseNone || i.Began.IsZero() || i.Duration != 0 {
		l.t.Errorf("started: %+v", i)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, i)
}

func (l *flightLog) end(what string, i tokenclient.RefreshInfo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i.Cause == tokenclient.CauseNone {
		if !i.Began.IsZero() || i.Duration != 0 {
			l.t.Errorf("%s without a refresh: %+v", what, i)
		}
		l.events = append(l.events, what)
		return
	}
	l.events = append(l.events, fmt.Sprintf("%v %s", i.Cause, what))
	n := slices.IndexFunc(l.open, func(o tokenclient.RefreshInfo) bool { return o.Cause == i.Cause && o.Began.Equal(i.Began) })
	if n < 0 {
		l.t.Errorf("%s: %+v was not started, or has ended before", what, i)
		return
	}
	l.open = slices.Delete(l.open, n, n+1)
}

func (l *flightLog) hooks() *tokenclient.Hooks {
	return &tokenclient.Hooks{
		RefreshStarted: l.start,
		Refreshed:      func(i tokenclient.RefreshInfo) { l.end("refreshed", i) },
		Adopted:        func(i tokenclient.RefreshInfo) { l.end("adopted", i) },
		RefreshFailed:  func(i tokenclient.RefreshInfo, err error) { l.end("failed", i) },
		RefreshOvertaken: func(i tokenclient.RefreshInfo, err error) {
			for name, target := range map[string]error{
				"replaced": tokenclient.ErrReplaced, "closed": tokenclient.ErrClosed, "ended": tokenclient.ErrLoginRequired,
				"not presented": tokenclient.ErrNotPresented, "overtaken": tokenclient.ErrOvertaken,
			} {
				if errors.Is(err, target) {
					l.end("overtaken: "+name, i)
					return
				}
			}
			l.t.Errorf("overtaken: %+v, error %v", i, err)
		},
	}
}

// want checks what has ended since the last call, and that nothing else runs.
func (l *flightLog) want(events ...string) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.events, events) {
		l.t.Errorf("refreshes %q, want %q", l.events, events)
	}
	if len(l.open) > 0 {
		l.t.Errorf("started and never ended: %+v", l.open)
	}
	l.events, l.open = nil, nil
}

// newFlightRig is a rig with a log of the refreshes.
func newFlightRig(t *testing.T, o *tokentest.Options, change sessiontest.Change) (*sessiontest.Rig, *flightLog) {
	l := &flightLog{t: t}
	o.InMemory = true
	return sessiontest.New(t, o, func(c *tokenclient.Config, srv *tokentest.Server) {
		c.Hooks = l.hooks()
		if change != nil {
			change(c, srv)
		}
	}), l
}
