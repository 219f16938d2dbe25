package page

import (
	"context"
	"maps"
	"net/http"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
)

// logIn is a person who logs in, as params ask for it.
func (s *stage) logIn(ctx context.Context, params url.Values) (*tokenclient.Token, error) {
	t := s.srv.IssueFor(s.user, params)
	if s.options.DPoP == nil {
		return t, nil
	}
	// The first exchange binds it to a key. It is none of the refreshes that a scene counts.
	proofs := new(dpop.Prover)
	binding, _, err := proofs.NewBinding()
	if err != nil {
		return nil, err
	}
	return s.prover(s.srv.Client(), proofs).Login(tokenclient.WithBinding(ctx, binding), url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {t.RefreshToken},
	})
}

// prover refreshes with proofs.
func (s *stage) prover(client *http.Client, proofs *dpop.Prover) *tokenclient.OAuth2Refresher {
	auth := tokenclient.PublicClient("page")
	if s.options.ClientSecret != "" {
		auth = tokenclient.ClientSecretBasic("page", s.options.ClientSecret)
	}
	return &tokenclient.OAuth2Refresher{TokenURL: s.srv.URL + proofPath, ClientAuth: auth, Binder: proofs, HTTPClient: client}
}

// stepUp is asked when the API wants more than the login is good for (Demands): the person
// logs in for that, and for all that was asked for before.
func (s *stage) stepUp(ctx context.Context, session *tokenclient.Session, d tokenclient.Demand) error {
	params := d.Params()
	if d.Scope != "" {
		params.Set("scope", d.Scope)
	}
	s.mu.Lock()
	if s.asked == nil {
		s.asked = url.Values{}
	}
	maps.Copy(s.asked, params)
	params = maps.Clone(s.asked)
	s.mu.Unlock()
	t, err := s.logIn(ctx, params)
	if err != nil {
		return err
	}
	return session.SetToken(ctx, t)
}

// impossible says why no program can do what the knobs want; "": it can.
func (s *stage) impossible() string {
	switch {
	case s.options.DPoP == nil:
		return ""
	case !s.library:
		return "the clients without the library make no proofs (DPoP)"
	case s.options.Header != "":
		return "proofs (DPoP) go with Authorization: empty the knob Header"
	}
	return ""
}
