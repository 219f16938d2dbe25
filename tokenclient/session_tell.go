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
// slow, or send its lines through this very session.
func (s *Session) note(level slog.Level, msg string, args ...any) {
	if s.hooks.log == nil {
		return
	}
	args = append([]any{"key", s.key}, args...)
	for i, arg := range args {
		if err, ok := arg.(error); ok {
			args[i] = withoutKey(err, s.key)
		}
	}
	s.queue.Post(func() { s.hooks.log.Log(context.Background(), level, "tokenclient: "+msg, args...) })
}

// tell tells the Logger and the Hooks of e.
func (s *Session) tell(e event) {
	info := e.info
	generation := []any{"generation", info.Generation}
	cause := append(generation, "cause", info.Cause.String())
	course := append(cause, "duration", info.Duration, "waiters", info.Waiters)
	switch hooks := s.hooks; e.kind {
	case refreshStarted:
		s.note(slog.LevelDebug, "refresh started", cause...)
		post1(s, hooks.RefreshStarted, info)
	case tokenRefreshed:
		s.note(slog.LevelDebug, "token refreshed", append(course, "expiry", info.Expiry)...)
		post1(s, hooks.Refreshed, info)
	case tokenAdopted:
		s.note(slog.LevelDebug, "token adopted", append(course, "expiry", info.Expiry)...)
		post1(s, hooks.Adopted, info)
	case tokenRenewed:
		s.note(slog.LevelDebug, "token renewed by the server", append(generation, "expiry", info.Expiry)...)
	case refreshOvertaken:
		s.note(slog.LevelDebug, "refresh overtaken", append(course, "err", e.err)...)
		post2(s, hooks.RefreshOvertaken, info, e.err)
	case refreshFailed:
		s.note(slog.LevelWarn, "refresh failed", append(course, "err", e.err)...)
		post2(s, hooks.RefreshFailed, info, e.err)
	case refreshStillRefused:
		s.note(slog.LevelWarn, "token endpoint keeps refusing", append(generation,
			"refusals", e.times, "err", e.err)...)
		post2(s, hooks.StillRefused, info, e.err)
	case rejectedTooOften:
		s.note(slog.LevelWarn, "refreshed tokens refused too often", append(generation,
			"origin", e.origin, "until", e.until, "expiry", info.Expiry)...)
		post2(s, hooks.StormGuarded, info, e.until)
	case tokenNotSaved:
		err := e.err
		if unsaved, ok := err.(*NotSavedError); ok {
			err = unsaved.Err // the line says already that it is not saved
		}
		s.note(slog.LevelError, "token not saved", append(generation, "err", err)...)
		post2(s, hooks.SaveFailed, info, e.err)
	case sessionEnded:
		if s.isPart() {
			return // the whole session ends with it, and tells
		}
		s.note(slog.LevelInfo, "session ended", "err", e.err)
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
	if s.hooks.log != nil || s.hooks.Rejected != nil || s.hooks.ForKey != nil { // thousands may be refused at once
		method, to := req.Method, origin.Of(req.URL).String()
		s.note(slog.LevelDebug, "token rejected", "generation", h.number(), "method", method, "origin", to)
		post2(s, s.hooks.Rejected, method, to)
		s.postForKey(func(h *Hooks) { call2(h.Rejected, method, to) })
	}
}

// tellReplayed tells that req is sent again.
func (s *Session) tellReplayed(req *http.Request) {
	if s.hooks.log != nil || s.hooks.Replayed != nil || s.hooks.ForKey != nil {
		method, to := req.Method, origin.Of(req.URL).String()
		s.note(slog.LevelDebug, "request sent again", "method", method, "origin", to)
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
	s.note(slog.LevelWarn, "sent without a token: not in Config.Origins", "origin", to, "near", near, "differs", differs)
	post3(s, s.hooks.NotInOrigins, to, near, differs)
	s.postForKey(func(h *Hooks) { call3(h.NotInOrigins, to, near, differs) })
}

// tellHeaderKept tells that a request to u goes out with the header that the caller set.
func (s *Session) tellHeaderKept(u *url.URL) {
	if s.hooks.log == nil && s.hooks.HeaderKept == nil && s.hooks.ForKey == nil || !s.toTell(origin.Of(u), true) {
		return
	}
	to := origin.Of(u).String()
	s.note(slog.LevelWarn, "sent without a token: the caller set the header", "origin", to, "header", s.header)
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

// postForKey has call called with the hooks that are for s's key alone, if there are any.
func (s *Session) postForKey(call func(*Hooks)) {
	if forKey := s.hooks.ForKey; forKey != nil {
		s.queue.Post(func() {
			if h := forKey(s.key); h != nil {
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
