package tokenclient

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A pickyHandler wants lines from level on.
type pickyHandler struct {
	level   slog.Level
	asked   *atomic.Int64
	handled *atomic.Int64
}

func (h pickyHandler) Enabled(_ context.Context, level slog.Level) bool {
	h.asked.Add(1)
	return level >= h.level
}
func (h pickyHandler) Handle(context.Context, slog.Record) error { h.handled.Add(1); return nil }
func (h pickyHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h pickyHandler) WithGroup(string) slog.Handler             { return h }

// A readError counts how often its text is made.
type readError struct{ texts *atomic.Int64 }

func (e readError) Error() string { e.texts.Add(1); return "why" }

// TestDroppedLines: of a line that the handler does not want nothing is made, and a request that
// is refused, or sent again, allocates nothing for it.
func TestDroppedLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, handled, texts atomic.Int64
		handler := pickyHandler{slog.LevelError, &asked, &handled}
		session := func(h slog.Handler) *Session {
			s, err := New(Config{Logger: slog.New(h), Origins: []string{"https://api.example.com"},
				Refresher: RefresherFunc(func(context.Context, *Token) (*Token, error) { return nil, nil })})
			if err != nil {
				t.Fatal(err)
			}
			s.key = "alice" // which is looked for in errors
			t.Cleanup(func() { _ = s.Close(context.Background()) })
			return s
		}
		s := session(handler)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		h := s.holds()
		if n := testing.AllocsPerRun(100, func() { s.tellRejected(req, h); s.tellReplayed(req) }); n != 0 {
			t.Errorf("a refused request allocates %v times for lines that nobody wants", n)
		}
		tellAll := func(s *Session) {
			for kind := range lines {
				s.tell(event{kind: eventKind(kind), info: RefreshInfo{Expiry: time.Now()}, err: readError{&texts}})
			}
			synctest.Wait()
		}
		tellAll(s)
		wanted := int64(0)
		for _, line := range lines {
			if line.level >= slog.LevelError {
				wanted++
			}
		}
		if texts.Load() != wanted || handled.Load() != wanted || asked.Load() < int64(len(lines)) {
			t.Errorf("%d texts of errors were made and %d lines handled, want %d; the handler was asked %d times",
				texts.Load(), handled.Load(), wanted, asked.Load())
		}
		handled.Store(0)
		handler.level = slog.LevelDebug
		if tellAll(session(handler)); handled.Load() != int64(len(lines)) {
			t.Errorf("%d lines of %d", handled.Load(), len(lines))
		}
	})
}
