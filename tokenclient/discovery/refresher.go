package discovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Refresher is a [tokenclient.Refresher] that finds its endpoints when it is used, so
// that a program can start while the server is down:
//
//	Refresher: &discovery.Refresher{
//		Issuer: "https://auth.example.com",
//		Make: func(md *discovery.Metadata) tokenclient.Refresher {
//			return &tokenclient.OAuth2Refresher{
//				TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint,
//				ClientAuth: tokenclient.PublicClient("my-app"),
//			}
//		},
//	},
//
// As long as the metadata cannot be had, a refresh fails with an error that is
// [tokenclient.ErrNotPresented]: no refresh token is spent, and the session tries again
// after its backoff. Discovery takes at most half of the time that a refresh has
// (Config.RefreshTimeout).
//
// In a [tokenclient.Pool] a session whose token endpoint is known by its URL waits in the
// line of that endpoint; here it is the line of the issuer's host. Where they differ, call
// [Client.Find] in PoolConfig.Config instead.
//
// Its fields must not be changed after its first use, and it must not be copied. It is
// safe for concurrent use.
type Refresher struct {
	// Issuer is the server's identifier, as for [Client.Find]. It is required.
	Issuer string

	// Make returns what does the work, from metadata that is its own to keep. It is
	// called for each refresh and each revocation, and must be quick. As long as nothing
	// is known it is also called with metadata that has only the Issuer, and that for the
	// TokenEndpoint: what it returns then is not used, but asked whether it is well made
	// and what it can refresh, as with client credentials, which need no login. Its
	// HTTPClient must not be the session's own. It is required.
	Make func(*Metadata) tokenclient.Refresher

	// Client finds the metadata. Nil: one of the Refresher's own.
	Client *Client

	own Client
}

var (
	_ tokenclient.Refresher = (*Refresher)(nil)
	_ tokenclient.Revoker   = (*Refresher)(nil)
)

// Validate reports what can never work, also of what Make returns. [tokenclient.New] asks
// it.
func (r *Refresher) Validate() error {
	if err := r.check(); err != nil {
		return err
	}
	made := r.unfound()
	if made == nil {
		return errNothingMade
	}
	if v, ok := made.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("discovery.Refresher.Make: %w", err)
		}
	}
	return nil
}

// check reports what is wrong with the fields.
func (r *Refresher) check() error {
	if r == nil {
		return errors.New("the *discovery.Refresher is nil; make one with an Issuer and Make")
	}
	if _, err := r.client().checkIssuer(r.Issuer); err != nil {
		return fmt.Errorf("discovery.Refresher.Issuer %w", err)
	}
	if r.Make == nil {
		return errors.New("discovery.Refresher.Make is nil; it returns a *tokenclient.OAuth2Refresher, for example")
	}
	return nil
}

var errNothingMade = errors.New("discovery.Refresher.Make returned nil; it returns a *tokenclient.OAuth2Refresher, for example")

// unfound returns what can be asked before anything was found.
func (r *Refresher) unfound() tokenclient.Refresher {
	return r.Make(&Metadata{Issuer: r.Issuer, TokenEndpoint: r.Issuer})
}

// CanRefresh reports what that of what Make returns does.
func (r *Refresher) CanRefresh(t *tokenclient.Token) bool {
	if r.Make == nil {
		return false
	}
	if c, ok := r.unfound().(interface {
		CanRefresh(*tokenclient.Token) bool
	}); ok {
		return c.CanRefresh(t)
	}
	return t.AccessToken != "" || t.RefreshToken != ""
}

// Endpoints returns where the metadata may be. Where the token endpoint is, is not known.
func (r *Refresher) Endpoints() []string {
	u, err := r.client().checkIssuer(r.Issuer)
	if err != nil {
		return nil
	}
	return serverURLs(u)
}

// Refresh implements [tokenclient.Refresher].
func (r *Refresher) Refresh(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	made, err := r.made(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", tokenclient.ErrNotPresented, err)
	}
	return made.Refresh(ctx, old)
}

// Revoke implements [tokenclient.Revoker]. It does nothing if what Make returns is none.
func (r *Refresher) Revoke(ctx context.Context, t *tokenclient.Token) error {
	made, err := r.made(ctx)
	if err != nil {
		return err
	}
	if revoker, ok := made.(tokenclient.Revoker); ok {
		return revoker.Revoke(ctx, t)
	}
	return nil
}

// made returns what does the work.
func (r *Refresher) made(ctx context.Context) (tokenclient.Refresher, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	md, err := r.client().Find(ctx, r.Issuer)
	if err != nil {
		return nil, err
	}
	made := r.Make(md)
	if made == nil {
		return nil, errNothingMade
	}
	return made, nil
}

func (r *Refresher) client() *Client {
	if r.Client != nil {
		return r.Client
	}
	return &r.own
}
