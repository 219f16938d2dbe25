package protocol_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// notingMedium notes which operations there were, and which of them were urgent.
type notingMedium struct {
	*faultyMedium
	seen []string
}

func (m *notingMedium) note(ctx context.Context, op string) {
	if protocol.IsUrgent(ctx) {
		op += "!"
	}
	m.seen = append(m.seen, op)
}

func (m *notingMedium) Get(ctx context.Context, key string) ([]byte, error) {
	m.note(ctx, "get")
	return m.faultyMedium.Get(ctx, key)
}

func (m *notingMedium) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	m.note(ctx, "swap")
	return m.faultyMedium.CompareAndSwap(ctx, key, old, new)
}

// TestUrgent: a medium with a line can tell what must not wait: what follows a presentation,
// logins and logouts. Reads and claims do wait.
func TestUrgent(t *testing.T) {
	refusal := errors.Join(errors.New("invalid_grant"), tokenclient.ErrRefused)
	refresh := func(fn refreshFunc) func(context.Context, *protocol.Engine, tokenclient.Record) error {
		return func(ctx context.Context, e *protocol.Engine, seen tokenclient.Record) error {
			_, err := e.Refresh(ctx, "k", seen, time.Second, fn)
			return err
		}
	}
	ignore := func(do func(context.Context, *protocol.Engine, tokenclient.Record) error) func(context.Context, *protocol.Engine, tokenclient.Record) error {
		return func(ctx context.Context, e *protocol.Engine, seen tokenclient.Record) error {
			_ = do(ctx, e, seen)
			return nil
		}
	}
	save := func(refreshToken string) func(context.Context, *protocol.Engine, tokenclient.Record) error {
		return func(ctx context.Context, e *protocol.Engine, seen tokenclient.Record) error {
			_, err := e.Save(ctx, "k", seen, &tokenclient.Token{AccessToken: "new", RefreshToken: refreshToken})
			return err
		}
	}
	for _, c := range []struct {
		name   string
		faults []fault // of writes after the login
		do     func(context.Context, *protocol.Engine, tokenclient.Record) error
		want   []string
	}{
		{"load", nil, func(ctx context.Context, e *protocol.Engine, _ tokenclient.Record) error {
			_, err := e.Load(ctx, "k")
			return err
		}, []string{"get"}},
		{"refresh", nil, refresh(next), []string{"get", "swap", "swap!"}},
		{"refresh whose save is lost", []fault{fine, dropped}, refresh(next), []string{"get", "swap", "swap!", "get!", "swap!"}},
		{"refresh whose claim is lost", []fault{dropped}, refresh(next), []string{"get", "swap", "get", "swap", "swap!"}},
		{"refresh that fails", nil, ignore(refresh(fails(errors.New("no answer")))), []string{"get", "swap", "swap!"}},
		{"refresh that is refused", nil, ignore(refresh(fails(refusal))), []string{"get", "swap", "swap!"}},
		{"login", nil, func(ctx context.Context, e *protocol.Engine, _ tokenclient.Record) error {
			_, _, err := e.Replace(ctx, "k", tok("b"))
			return err
		}, []string{"get!", "swap!"}},
		{"logout", nil, func(ctx context.Context, e *protocol.Engine, _ tokenclient.Record) error {
			_, _, err := e.Replace(ctx, "k", nil)
			return err
		}, []string{"get!", "swap!"}},
		{"save of a pair that came late", nil, save("refresh-b"), []string{"get!", "swap!"}},
		{"save of a token that the server sent by itself", nil, save("refresh-a"), []string{"get", "swap"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &notingMedium{faultyMedium: &faultyMedium{}}
				e := newEngine(m, nil, &testSealer{})
				seen := login(t, e, "k", "a")
				m.seen = nil
				m.faults(c.faults...)
				if err := c.do(t.Context(), e, seen); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(m.seen, c.want) {
					t.Errorf("operations %q, want %q; ! is urgent", m.seen, c.want)
				}
			})
		})
	}
}

// TestUrgentFn: what fn does with its context is not urgent by itself, and a claim that is
// taken back is, for it keeps others waiting.
func TestUrgentFn(t *testing.T) {
	m := &notingMedium{faultyMedium: &faultyMedium{}}
	e := newEngine(m, nil, &testSealer{})
	seen := login(t, e, "k", "a")
	ctx, cancel := context.WithCancel(t.Context())
	m.onWrite = func(n int, _, _ []byte) fault {
		if n == 2 {
			cancel() // in the claim
		}
		return fine
	}
	m.seen = nil
	_, err := e.Refresh(ctx, "k", seen, time.Second, never(t))
	wantErr(t, err, context.Canceled)
	if want := []string{"get", "swap", "get!", "swap!"}; !slices.Equal(m.seen, want) {
		t.Errorf("a claim taken back: %q, want %q", m.seen, want)
	}
	_, err = e.Refresh(t.Context(), "k", seen, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		if protocol.IsUrgent(ctx) {
			t.Error("the context of fn is urgent")
		}
		return next(ctx, cur)
	})
	wantErr(t, err, nil)
}

// TestUrgentNotSaved: the save that is tried again by whoever has the NotSavedError.
func TestUrgentNotSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &notingMedium{faultyMedium: &faultyMedium{}}
		e := newEngine(m, nil, &testSealer{})
		_, pending := notSaved(t, m.faultyMedium, e, login(t, e, "k", "a"))
		m.seen = nil
		wantErr(t, pending.Save(t.Context()), tokenclient.ErrStoreUnavailable)
		if want := []string{"swap!", "get!"}; !slices.Equal(m.seen, want) {
			t.Errorf("%q, want %q", m.seen, want)
		}
	})
}
