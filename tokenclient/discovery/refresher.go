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
// In a [tokenclient.Pool], better call [Client.Find] in PoolConfig.Config: the pool then
// knows which token endpoint a session has, and lets each have a line of its own.
//
// Its fields must not be changed after its first use, and it must not be copied. It is
// safe for concurrent use.
type Refresher struct {
	// Issuer is the server's identifier, as for [Client.Find]. It is required.
	Issuer string

	// Make returns what does the work, from metadata that is its own to keep. It is called
	// for each refresh and each revocation, and must be quick. It is required.
	Make func(*Metadata) tokenclient.Refresher

	// Client finds the metadata. Nil: one of the Refresher's own.
	Client *Client

	own Client
}

var (
	_ tokenclient.Refresher = (*Refresher)(nil)
	_ tokenclient.Revoker   = (*Refresher)(nil)
)

// Validate reports what can never work. [tokenclient.New] asks it.
func (r *Refresher) Validate() error {
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
	if err := r.Validate(); err != nil {
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
		return nil, errors.New("discovery.Refresher.Make returned nil")
	}
	return made, nil
}

func (r *Refresher) client() *Client {
	if r.Client != nil {
		return r.Client
	}
	return &r.own
}
