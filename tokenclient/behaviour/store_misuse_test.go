package behaviour_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A Store that calls back gets an answer or ErrReentrant, whatever it calls and
// wherever, and at once.
func TestStoreCallsBack(t *testing.T) {
	calls := map[string]func(*tokenclient.Session, context.Context) error{
		"Token":     func(s *tokenclient.Session, ctx context.Context) error { _, err := s.Token(ctx); return err },
		"Peek":      func(s *tokenclient.Session, ctx context.Context) error { _, err := s.Peek(ctx); return err },
		"Refresh":   func(s *tokenclient.Session, ctx context.Context) error { _, err := s.Refresh(ctx); return err },
		"KeepFresh": func(s *tokenclient.Session, ctx context.Context) error { return s.KeepFresh(ctx) },
		"Logout":    func(s *tokenclient.Session, ctx context.Context) error { return s.Logout(ctx) },
		"SetToken": func(s *tokenclient.Session, ctx context.Context) error {
			return s.SetToken(ctx, sessiontest.Pair("other", "other", time.Hour))
		},
	}
	for _, from := range []string{"Load", "Replace", "Refresh"} {
		for name, call := range calls {
			sessiontest.Bubble(t, name+" from "+from, func(t *testing.T) {
				var r *sessiontest.Rig
				var depth int
				var inner []error
				back := func(ctx context.Context) error {
					if depth++; depth > 1 {
						return nil
					}
					ctx, cancel := context.WithTimeout(ctx, time.Hour) // in the place of a deadlock
					defer cancel()
					inner = append(inner, call(r.Session, ctx))
					return nil
				}
				st := &callingStore{Store: new(store.Memory)}
				r = sessiontest.New(t, &tokentest.Options{InMemory: true}, sessiontest.Kept(st))
				began := time.Now()
				switch from {
				case "Load":
					st.load = back
					_, _ = r.Session.Token(t.Context())
				case "Replace":
					st.replace = back
					_ = r.Session.SetToken(t.Context(), r.Server.Issue("alice"))
				case "Refresh":
					r.Login(t)
					st.refresh = back
					_, _ = r.Session.Refresh(t.Context())
				}
				took := time.Since(began)
				synctest.Wait()
				if took != 0 || len(inner) == 0 {
					t.Fatalf("%v after %v: a deadlock, but for the deadline", inner, took)
				}
				for _, err := range inner {
					if err != nil && !errors.Is(err, tokenclient.ErrReentrant) && !errors.Is(err, tokenclient.ErrLoginRequired) {
						t.Errorf("the call from inside: %v", err)
					}
				}
				st.load, st.replace, st.refresh = nil, nil, nil
				r.Login(t)
				r.WantGet(t, 200)
			})
		}
	}
}

// A Store that panics or ends its goroutine is unavailable, and no more than that.
func TestStoreMisuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &callingStore{Store: new(store.Memory)}
		r := sessiontest.New(t, &tokentest.Options{InMemory: true}, sessiontest.Kept(st))
		explode := func(context.Context) error { panic("planted") }
		st.load = explode
		_, err := r.Session.Token(t.Context())
		sessiontest.WantErr(t, "Token", err, tokenclient.ErrStoreUnavailable)
		time.Sleep(2 * time.Second)
		st.load, st.replace = nil, explode
		sessiontest.WantErr(t, "SetToken", r.Session.SetToken(t.Context(), r.Server.Issue("alice")), tokenclient.ErrStoreUnavailable)
		st.replace = nil
		r.Login(t)
		st.refresh = explode
		_, err = r.Session.Refresh(t.Context())
		sessiontest.WantErr(t, "Refresh", err, tokenclient.ErrStoreUnavailable)
		st.refresh = nil
		time.Sleep(2 * time.Second)
		r.WantGet(t, 200)
		st.replace = explode
		sessiontest.WantErr(t, "Logout", r.Session.Logout(t.Context()), tokenclient.ErrStoreUnavailable)
		_, err = r.Get(t.Context())
		sessiontest.WantErr(t, "GET", err, tokenclient.ErrLoggedOut)
		r.WantRefreshes(t, 0)
	})
}

// TestStoreLeadsNowhere: a Store that answers a refresh so that another one would come to the
// same is an error, after which the next refresh waits. It is not asked for ever, and nothing
// is presented for ever.
func TestStoreLeadsNowhere(t *testing.T) {
	type exchange = func(ctx context.Context, seen tokenclient.Record, fn sessiontest.Exchange) (tokenclient.Record, error)
	saying := func(err error) exchange {
		return func(_ context.Context, seen tokenclient.Record, _ sessiontest.Exchange) (tokenclient.Record, error) {
			return seen, err
		}
	}
	presenting := func(err error) exchange {
		return func(ctx context.Context, seen tokenclient.Record, fn sessiontest.Exchange) (tokenclient.Record, error) {
			_, _ = fn(ctx, seen)
			return seen, err
		}
	}
	for name, answer := range map[string]exchange{
		"announced":              saying(tokenclient.ErrAnnounced),
		"nothing new":            saying(nil),
		"overtaken by itself":    saying(tokenclient.ErrOvertaken),
		"replaced by itself":     saying(tokenclient.ErrReplaced),
		"presented, announced":   presenting(tokenclient.ErrAnnounced),
		"presented, nothing new": presenting(nil),
		"presented, overtaken":   presenting(tokenclient.ErrOvertaken),
		"presented, an older one": func(ctx context.Context, seen tokenclient.Record, fn sessiontest.Exchange) (tokenclient.Record, error) {
			_, _ = fn(ctx, seen)
			seen.Number--
			return seen, nil
		},
	} {
		sessiontest.Bubble(t, name, func(t *testing.T) {
			st := &answeringStore{Store: new(store.Memory), answer: answer}
			presented := 0
			s, err := tokenclient.New(tokenclient.Config{
				Origins: []string{sessiontest.FakeAPI}, Store: st, Key: "alice",
				Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
					presented++
					return sessiontest.Pair("access-2", "refresh-2", time.Hour), nil
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.SetToken(t.Context(), sessiontest.Pair("access-1", "refresh-1", -time.Hour)); err != nil {
				t.Fatal(err)
			}
			_, err = s.Token(t.Context())
			sessiontest.WantErr(t, "Token", err, tokenclient.ErrStoreUnavailable)
			if errors.Is(err, tokenclient.ErrLoginRequired) {
				t.Errorf("%v: nobody has to log in for that", err)
			}
			if st.calls != 1 || presented > 1 {
				t.Errorf("asked %d times, presented %d times; want 1", st.calls, presented)
			}
			time.Sleep(10 * time.Second) // the longest wait after one failure
			st.answer = nil
			if now, err := s.Token(t.Context()); err != nil || now.AccessToken != "access-2" {
				t.Errorf("when the Store works again: %v, %v", now, err)
			}
			sessiontest.Close(t, s)
		})
	}
}

// answeringStore is a Store whose Refresh answers what it is told to, fifty times at most.
type answeringStore struct {
	tokenclient.Store
	answer func(ctx context.Context, seen tokenclient.Record, fn sessiontest.Exchange) (tokenclient.Record, error)
	calls  int
}

func (s *answeringStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn sessiontest.Exchange) (tokenclient.Record, error) {
	switch s.calls++; {
	case s.answer == nil:
		return s.Store.Refresh(ctx, key, seen, timeout, fn)
	case s.calls > 50:
		return seen, tokenclient.ErrStoreUnavailable
	}
	return s.answer(ctx, seen, fn)
}
