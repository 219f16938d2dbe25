package tokenclient

import (
	"context"
	"fmt"
	"net/http"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// mayAttach reports whether req gets the token of s. It is an error for a token to be
// wanted where somebody else could read it.
func (t *Transport) mayAttach(s *Session, req *http.Request) (bool, error) {
	if withoutToken(req.Context()) {
		return false, nil
	}
	attach, err := s.rules.Judge(req, s.header)
	if attach {
		err = s.rules.JudgeProxy(req, t.base())
	}
	if err != nil {
		return false, fmt.Errorf("tokenclient: %w", err)
	}
	return attach, nil
}

// newRules makes what c says about where the token may go.
func newRules(c *Config) (origin.Rules, error) {
	rules, err := origin.New(origin.Settings{
		Origins: c.Origins, Hosts: c.Hosts, AnyOrigin: c.AnyOrigin, InsecureHTTP: c.InsecureHTTP,
		Endpoints: endpointsOf(c.Refresher),
	})
	if err != nil {
		return origin.Rules{}, fmt.Errorf("tokenclient: %w", err)
	}
	return rules, nil
}

// endpointsOf returns what r posts to, as far as that is known.
func endpointsOf(r Refresher) []string {
	switch r := r.(type) {
	case *OAuth2Refresher:
		return []string{r.TokenURL, r.RevocationURL}
	case *JSONRefresher:
		return []string{r.URL}
	}
	return nil
}

type withoutTokenKey struct{}

// WithoutToken returns a context whose requests a [Transport] sends as they are,
// without a token and without looking at the answer: for login, public pages and
// other people's servers. It holds for the redirects of such a request too.
func WithoutToken(ctx context.Context) context.Context {
	return context.WithValue(ctx, withoutTokenKey{}, true)
}

func withoutToken(ctx context.Context) bool { return ctx.Value(withoutTokenKey{}) != nil }
