package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// wordyMedium is a medium that has words of its own for everything.
type wordyMedium struct {
	faultyMedium
	err error
}

func (m *wordyMedium) Get(context.Context, string) ([]byte, error) { return nil, m.err }

// TestErrorOfAnEndedContext: whoever gave up finds that in the error, once, whatever words the
// medium has for it; and nowhere else: a corrupt record is not corrupt because somebody left.
func TestErrorOfAnEndedContext(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name string
		ctx  context.Context
		err  error
		want bool // it is of a context that has ended
	}{
		{"words of its own", ended, errors.New("statement was aborted"), true},
		{"the context's", ended, fmt.Errorf("query: %w", context.Canceled), true},
		{"while nobody has left", t.Context(), errors.New("statement was aborted"), false},
		{"corrupt", ended, protocol.Corruptf("half of it"), false},
	} {
		e := newEngine(&wordyMedium{err: tc.err}, nil, &testSealer{})
		_, err := e.Load(tc.ctx, "k")
		if !errors.Is(err, tc.err) || errors.Is(err, context.Canceled) != tc.want {
			t.Errorf("%s: %v", tc.name, err)
		}
		if got := strings.Count(err.Error(), context.Canceled.Error()); tc.want != (got == 1) || got > 1 {
			t.Errorf("%s: says %d times that the context has ended: %v", tc.name, got, err)
		}
		if corrupt := errors.Is(tc.err, tokenclient.ErrStoreCorrupt); errors.Is(err, tokenclient.ErrStoreCorrupt) != corrupt ||
			errors.Is(err, tokenclient.ErrStoreUnavailable) == corrupt {
			t.Errorf("%s: of another kind: %v", tc.name, err)
		}
	}
}

// TestErrorsNameTheRecord: an error says whose record it is and where that is, neither twice.
func TestErrorsNameTheRecord(t *testing.T) {
	for _, tc := range []struct{ key, says, want string }{
		{"k", "reset", `store: read key "k" (the fake record): reset`},
		{"k", "reset of the fake record", `store: read key "k": reset of the fake record`},
		{"", "reset", `store: read the fake record: reset`},
		{"", "reset of the fake record", `store: read the fake record: reset of the fake record`},
	} {
		e := newEngine(&wordyMedium{err: errors.New(tc.says)}, nil, &testSealer{})
		if _, err := e.Load(t.Context(), tc.key); err == nil || err.Error() != tc.want {
			t.Errorf("%q, %q: %v", tc.key, tc.says, err)
		}
	}
	for _, tc := range []struct{ key, where, want string }{
		{"k", "here", `key "k" (here)`}, {"k", "", `key "k"`}, {"", "here", "here"}, {"", "", ""},
	} {
		if got := protocol.Place(tc.key, tc.where); got != tc.want {
			t.Errorf("%q, %q: %q", tc.key, tc.where, got)
		}
	}
}

// TestUnavailable: an error gets its kind once, and keeps its text.
func TestUnavailable(t *testing.T) {
	plain := errors.New("the server is gone")
	once := protocol.Unavailable(plain)
	if !errors.Is(once, tokenclient.ErrStoreUnavailable) || !errors.Is(once, plain) || once.Error() != plain.Error() {
		t.Errorf("%v", once)
	}
	if twice := protocol.Unavailable(once); twice != once { //nolint:errorlint // the same, and not one that wraps it
		t.Errorf("%v, and then %v", once, twice)
	}
}
