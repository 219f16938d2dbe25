package xoauth2

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TakeOver makes a session that goes on with t, a token that a login of c gave, in the place
// of c.Client(ctx, t). more is the rest of its Config: Origins above all, and a Store with a
// Key for a token that outlives the process. Its Refresher must be nil: that is what
// [Refresher] makes of c, whose requests are made by the client that ctx has under
// [oauth2.HTTPClient], if any, as those of x/oauth2 are.
//
// With a Store, t is taken once: only if the Store has never had a token of that key. From
// then on the Store has the newer one, and t's refresh token may be spent. Nor does t come
// back after a logout. So a program may call TakeOver at each start with the token that it
// has from before; let one process do that first. A nil t is no token to begin with.
//
// Errors are those of Refresher, [tokenclient.New], the Store's Load and
// [tokenclient.Session.SetToken]. ctx bounds what is read and written here, and nothing after.
func TakeOver(ctx context.Context, c *oauth2.Config, t *oauth2.Token, more tokenclient.Config) (*tokenclient.Session, error) {
	if more.Refresher != nil {
		return nil, errors.New("xoauth2: TakeOver: Config.Refresher is set; leave it nil, TakeOver makes one of the oauth2.Config")
	}
	r, err := Refresher(c)
	if err != nil {
		return nil, err
	}
	r.HTTPClient, _ = ctx.Value(oauth2.HTTPClient).(*http.Client)
	more.Refresher = r
	s, err := tokenclient.New(more)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return s, nil
	}
	if more.Store != nil {
		switch stored, err := more.Store.Load(ctx, more.Key); {
		case err != nil && !errors.Is(err, tokenclient.ErrNoToken):
			return nil, fmt.Errorf("xoauth2: TakeOver: %w", err)
		case stored.State != tokenclient.Absent:
			return s, nil
		}
	}
	if err := s.SetToken(ctx, FromToken(t)); err != nil {
		return nil, fmt.Errorf("xoauth2: TakeOver: %w", err)
	}
	return s, nil
}
