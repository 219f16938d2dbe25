package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestStillRefused: a refusal that is not known to be final is tried again for ever. From the
// third in a row on that is told: once by a hook, by an error that can be recognized, and with
// what the server said.
func TestStillRefused(t *testing.T) {
	refused := func(status int, code string, err error) error {
		return &tokenclient.TokenError{Endpoint: "auth.example.com/token", StatusCode: status, Code: code, Err: err}
	}
	answers := func(n int, err error) (list []error) {
		for range n {
			list = append(list, err)
		}
		return list
	}
	unclear := refused(403, "made_up", nil)
	for _, c := range []struct {
		name    string
		answers []error // nil: a token
		still   []int   // which of them end with ErrStillRefused
		told    int
	}{
		{"twice", append(answers(2, unclear), nil, unclear), nil, 0},
		{"five times", answers(5, unclear), []int{2, 3, 4}, 1},
		{"again later", append(append(answers(3, unclear), nil), answers(3, unclear)...), []int{2, 6}, 2},
		{"an answer that cannot be read", answers(3, refused(200, "", errors.New("answer has no access_token"))), []int{2}, 1},
		{"a redirect", answers(3, refused(302, "", errors.New("redirected"))), []int{2}, 1},
		{"overload", answers(5, refused(429, "", nil)), nil, 0},
		{"broken", answers(5, refused(503, "", nil)), nil, 0},
		{"no answer", answers(5, refused(0, "", fmt.Errorf("%w: no route", tokenclient.ErrNotPresented))), nil, 0},
		{"with others between", []error{unclear, refused(503, "", nil), unclear, refused(429, "", nil), unclear}, []int{4}, 1},
		{"final", []error{unclear, unclear, refused(400, "invalid_grant", tokenclient.ErrLoginRequired)}, nil, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			refresher := tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
				asked++
				if err := c.answers[asked-1]; err != nil {
					return nil, err
				}
				return sessiontest.Pair(fmt.Sprint("a", asked), fmt.Sprint("r", asked), time.Hour), nil
			})
			told := 0
			r := sessiontest.NewFake(t, refresher, nil, func(cfg *tokenclient.Config) {
				cfg.Hooks = tokenclient.JoinHooks(&tokenclient.Hooks{StillRefused: func(info tokenclient.RefreshInfo, err error) {
					told++
					var te *tokenclient.TokenError
					if !errors.Is(err, tokenclient.ErrStillRefused) || !errors.As(err, &te) || info.Cause != tokenclient.CauseForced {
						t.Errorf("%s: told %+v, %v", c.name, info, err)
					}
				}}, new(tokenclient.Hooks))
			})
			r.Give(t, sessiontest.Pair("a", "r", time.Hour))
			var still []int
			for i := range c.answers {
				_, err := r.Session.Refresh(t.Context())
				if !errors.Is(err, tokenclient.ErrStillRefused) {
					continue
				}
				still = append(still, i)
				if _, ok := err.(*tokenclient.TokenError); !ok || errors.Is(err, tokenclient.ErrLoginRequired) || !strings.Contains(err.Error(), "times in a row") {
					t.Errorf("%s: %T %v", c.name, err, err)
				}
			}
			synctest.Wait()
			if fmt.Sprint(still) != fmt.Sprint(c.still) || told != c.told {
				t.Errorf("%s: after %v and told %d times, want %v and %d", c.name, still, told, c.still, c.told)
			}
		})
	}
}
