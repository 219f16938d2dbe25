package tokenclient

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// note logs. It does so where hooks are called, and for the same reasons: a handler may be
// slow, or send its lines through this very session.
func (s *Session) note(level slog.Level, msg string, args ...any) {
	if s.hooks.log == nil {
		return
	}
	args = append([]any{"key", s.key}, args...)
	s.told.Post(func() { s.hooks.log.Log(context.Background(), level, "tokenclient: "+msg, args...) })
}

// tell tells the Logger and the Hooks of e.
func (s *Session) tell(e event) {
	info := e.info
	info.Key, info.Waiters = s.key, int(s.waiting.Load())
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
	case refusedTooOften:
		s.note(slog.LevelWarn, "refreshed tokens refused too often", append(generation,
			"origin", e.origin, "until", e.until, "expiry", info.Expiry)...)
		post2(s, hooks.StormGuarded, info, e.until)
	case saveFailed:
		err := e.err
		if unsaved, ok := err.(*NotSavedError); ok {
			err = unsaved.Err // the line says already that it is not saved
		}
		s.note(slog.LevelError, "token not saved", append(generation, "err", err)...)
		post2(s, hooks.SaveFailed, info, e.err)
	case sessionEnded:
		s.note(slog.LevelInfo, "session ended", "err", e.err)
		post1(s, hooks.SessionEnded, e.err)
	}
}

// tellRejected tells that an answer to req, which was sent with h, refused it.
func (s *Session) tellRejected(req *http.Request, h *held) {
	if s.hooks.log != nil || s.hooks.Rejected != nil { // thousands may be refused at once
		method, to := req.Method, origin.Of(req.URL).String()
		s.note(slog.LevelDebug, "token rejected", "generation", h.generation, "method", method, "origin", to)
		post2(s, s.hooks.Rejected, method, to)
	}
}

// tellReplayed tells that req is sent again.
func (s *Session) tellReplayed(req *http.Request) {
	if s.hooks.log != nil || s.hooks.Replayed != nil {
		method, to := req.Method, origin.Of(req.URL).String()
		s.note(slog.LevelDebug, "request sent again", "method", method, "origin", to)
		post2(s, s.hooks.Replayed, method, to)
	}
}

func post1[A any](s *Session, hook func(A), a A) {
	if hook != nil {
		s.told.Post(func() { hook(a) })
	}
}

func post2[A, B any](s *Session, hook func(A, B), a A, b B) {
	if hook != nil {
		s.told.Post(func() { hook(a, b) })
	}
}
