package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// note logs. It does so where hooks are called, and for the same reasons: a handler may be
// slow, or send its lines through this very session. There it is asked first whether it wants
// the line, of which nothing is made otherwise.
func (s *Session) note(level slog.Level, msg string, attributes func() []any) {
	log := s.hooks.log
	if log == nil {
		return
	}
	s.queue.Post(func() {
		if !log.Enabled(context.Background(), level) {
			return
		}
		args := append([]any{"key", s.key}, attributes()...)
		for i, arg := range args {
			if err, ok := arg.(error); ok {
				args[i] = withoutKey(err, s.key)
			}
		}
		log.Log(context.Background(), level, "tokenclient: "+msg, args...)
	})
}

// noteErr is note of a line that has no attribute but an error.
func (s *Session) noteErr(level slog.Level, msg string, err error) {
	s.note(level, msg, func() []any { return []any{"err", err} })
}

// wants reports whether the handler wants lines of that level. It is asked on the caller's
// goroutine, which holds no lock.
func (s *Session) wants(level slog.Level) bool {
	return s.hooks.log != nil && s.hooks.log.Enabled(context.Background(), level)
}

// lines are those of events.
var lines = [...]struct {
	level slog.Level
	msg   string
}{
	refreshStarted:      {slog.LevelDebug, "refresh started"},
	tokenRefreshed:      {slog.LevelDebug, "token refreshed"},
	tokenAdopted:        {slog.LevelDebug, "token adopted"},
	tokenRenewed:        {slog.LevelDebug, "token renewed by the server"},
	refreshOvertaken:    {slog.LevelDebug, "refresh overtaken"},
	refreshFailed:       {slog.LevelWarn, "refresh failed"},
	refreshStillRefused: {slog.LevelWarn, "token endpoint keeps refusing"},
	rejectedTooOften:    {slog.LevelWarn, "refreshed tokens refused too often"},
	tokenNotSaved:       {slog.LevelError, "token not saved"},
	sessionEnded:        {slog.LevelInfo, "session ended"},
}

// attributes are those of the line of e.
func (e event) attributes() []any {
	info := e.info
	generation := []any{"generation", info.Generation}
	cause := append(generation, "cause", info.Cause.String())
	course := append(cause, "duration", info.Duration, "waiters", info.Waiters)
	switch e.kind {
	case refreshStarted:
		return cause
	case tokenRefreshed, tokenAdopted:
		return append(course, "expiry", info.Expiry)
	case tokenRenewed:
		return append(generation, "expiry", info.Expiry)
	case refreshOvertaken, refreshFailed:
		return append(course, "err", e.err)
	case refreshStillRefused:
		return append(generation, "refusals", e.times, "err", e.err)
	case rejectedTooOften:
		return append(generation, "origin", e.origin, "until", e.until, "expiry", info.Expiry)
	case tokenNotSaved:
		err := e.err
		if unsaved, ok := err.(*NotSavedError); ok {
			err = unsaved.Err // the line says already that it is not saved
		}
		return append(generation, "err", err)
	}
	return []any{"err", e.err}
}

// tell tells the Logger and the Hooks of e.
func (s *Session) tell(e event) {
	if e.kind == sessionEnded && s.isPart() {
		return // the whole session ends with it, and tells
	}
	if s.hooks.log != nil {
		s.note(lines[e.kind].level, lines[e.kind].msg, e.attributes)
	}
	switch hooks := s.hooks; e.kind {
	case refreshStarted:
		post1(s, hooks.RefreshStarted, e.info)
	case tokenRefreshed:
		post1(s, hooks.Refreshed, e.info)
	case tokenAdopted:
		post1(s, hooks.Adopted, e.info)
	case refreshOvertaken:
		post2(s, hooks.RefreshOvertaken, e.info, e.err)
	case refreshFailed:
		post2(s, hooks.RefreshFailed, e.info, e.err)
	case refreshStillRefused:
		post2(s, hooks.StillRefused, e.info, e.err)
	case rejectedTooOften:
		post2(s, hooks.StormGuarded, e.info, e.until)
	case tokenNotSaved:
		post2(s, hooks.SaveFailed, e.info, e.err)
	case sessionEnded:
		post1(s, hooks.SessionEnded, e.err)
		s.postForKey(func(h *Hooks) { call1(h.SessionEnded, e.err) })
	}
}

// tellAttached tells that the token of that generation was put on a request, or handed out.
func (s *Session) tellAttached(ctx context.Context, generation uint64) {
	if s.hooks.Attached != nil {
		s.hooks.Attached(ctx, generation)
	}
}

// tellRejected tells that an answer to req, which was sent with h, refused it.
func (s *Session) tellRejected(req *http.Request, h *held) {
	logged := s.wants(slog.LevelDebug) // thousands may be refused at once
	if logged || s.hooks.Rejected != nil || s.hooks.ForKey != nil {
		method, to := req.Method, origin.Of(req.URL).String()
		if generation := h.number(); logged {
			s.note(slog.LevelDebug, "token rejected", func() []any {
				return []any{"generation", generation, "method", method, "origin", to}
			})
		}
		post2(s, s.hooks.Rejected, method, to)
		s.postForKey(func(h *Hooks) { call2(h.Rejected, method, to) })
	}
}

// tellReplayed tells that req is sent again.
func (s *Session) tellReplayed(req *http.Request) {
	logged := s.wants(slog.LevelDebug)
	if logged || s.hooks.Replayed != nil || s.hooks.ForKey != nil {
		method, to := req.Method, origin.Of(req.URL).String()
		if logged {
			s.note(slog.LevelDebug, "request sent again", func() []any { return []any{"method", method, "origin", to} })
		}
		post2(s, s.hooks.Replayed, method, to)
		s.postForKey(func(h *Hooks) { call2(h.Replayed, method, to) })
	}
}

// tellOutside tells that a request to u goes out without a token, if that is because of its
// origin.
func (s *Session) tellOutside(u *url.URL) {
	if s.hooks.log == nil && s.hooks.NotInOrigins == nil && s.hooks.ForKey == nil || !s.rules.Outside(u) || !s.toTell(origin.Of(u), false) {
		return
	}
	o := origin.Of(u)
	near, differs := s.rules.Near(o)
	to := o.String()
	s.note(slog.LevelWarn, "sent without a token: not in Config.Origins", func() []any {
		return []any{"origin", to, "near", near, "differs", differs}
	})
	post3(s, s.hooks.NotInOrigins, to, near, differs)
	s.postForKey(func(h *Hooks) { call3(h.NotInOrigins, to, near, differs) })
}

// tellHeaderKept tells that a request to u goes out with the header that the caller set.
func (s *Session) tellHeaderKept(u *url.URL) {
	if s.hooks.log == nil && s.hooks.HeaderKept == nil && s.hooks.ForKey == nil || !s.toTell(origin.Of(u), true) {
		return
	}
	to := origin.Of(u).String()
	s.note(slog.LevelWarn, "sent without a token: the caller set the header", func() []any { return []any{"origin", to, "header", s.header} })
	post2(s, s.hooks.HeaderKept, to, s.header)
	s.postForKey(func(h *Hooks) { call2(h.HeaderKept, to, s.header) })
}

func post1[A any](s *Session, hook func(A), a A) {
	if hook != nil {
		s.queue.Post(func() { hook(a) })
	}
}

func post2[A, B any](s *Session, hook func(A, B), a A, b B) {
	if hook != nil {
		s.queue.Post(func() { hook(a, b) })
	}
}

func post3[A, B, C any](s *Session, hook func(A, B, C), a A, b B, c C) {
	if hook != nil {
		s.queue.Post(func() { hook(a, b, c) })
	}
}

// postForKey has call called with the hooks that are for the user's key alone, if there are any.
func (s *Session) postForKey(call func(*Hooks)) {
	if forKey := s.hooks.ForKey; forKey != nil {
		key := s.whole().key // without the name of an audience
		s.queue.Post(func() {
			if h := forKey(key); h != nil {
				call(h)
			}
		})
	}
}

func call1[A any](hook func(A), a A) {
	if hook != nil {
		hook(a)
	}
}

func call2[A, B any](hook func(A, B), a A, b B) {
	if hook != nil {
		hook(a, b)
	}
}

func call3[A, B, C any](hook func(A, B, C), a A, b B, c C) {
	if hook != nil {
		hook(a, b, c)
	}
}

// maxTold is how many origins a session remembers that it has told of, for each reason.
const maxTold = 32

// told are the origins that requests went to without a token, by the reason.
type told struct {
	mu   sync.Mutex // guards list
	list []bare
}

// bare is an origin that requests went to without a token.
type bare struct {
	origin origin.Origin
	header bool // because the caller had set the header; else because of the origin
}

// toTell reports whether o is to be told of, for that reason.
func (s *Session) toTell(o origin.Origin, header bool) bool {
	if s.told.Load() == nil {
		s.told.CompareAndSwap(nil, new(told))
	}
	x := s.told.Load()
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, b := range x.list {
		if b.header != header {
			continue
		}
		if n++; n == maxTold || b.origin.Equal(o) {
			return false
		}
	}
	x.list = append(x.list, bare{o.Clone(), header})
	return true
}

// keyError is an error that says whose it is.
type keyError struct {
	key string
	err error
}

func (e *keyError) Error() string {
	return fmt.Sprintf("tokenclient: key %q: %s", e.key, strings.TrimPrefix(e.err.Error(), "tokenclient: "))
}
func (e *keyError) Unwrap() error { return e.err }

// whose returns err, for a caller of s, with s's key if it says that a login is needed: of
// many users' errors somebody has to know which one is to log in.
func (s *Session) whose(err error) error {
	if s.key == "" || !errors.Is(err, ErrLoginRequired) {
		return err
	}
	return &keyError{s.key, err}
}

// keylessError is an error whose text does not say whose it is.
type keylessError struct {
	text string
	err  error
}

func (e *keylessError) Error() string { return e.text }
func (e *keylessError) Unwrap() error { return e.err }

// withoutKey leaves key out of the text of err. In a log line it is the value of "key", which
// a handler may hide, and would show all the same if the errors of stores said it again.
func withoutKey(err error, key string) error {
	named := fmt.Sprintf("key %q", key)
	if key == "" || !strings.Contains(err.Error(), named) {
		return err
	}
	return &keylessError{strings.ReplaceAll(err.Error(), named, "its key"), err}
}
