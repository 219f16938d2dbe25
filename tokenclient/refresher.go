package tokenclient

import "context"

// A Refresher exchanges an old token for a new one, over the network.
// [OAuth2Refresher] and [JSONRefresher] are the ones most programs need.
//
// Refresh is called by one goroutine at a time per Session. old is never nil and
// must not be changed. Refresh must return soon after ctx ends; one that does not
// may be called again beside itself.
//
// A new token without a RefreshToken keeps the old one (RFC 6749, section 6). Its
// Expiry, if zero, may be read from the access token if that is a JWT; its
// Issued, if zero, is when Refresh was called.
//
// What an error means:
//
//   - One that is [ErrLoginRequired]: the refresh token is dead; only a login helps.
//   - One that is [ErrNotPresented], or a [*TokenError] with a StatusCode of 4xx
//     other than 408: the refresh token was not spent; try again later.
//   - Any other: the refresh token may have been spent, and the answer was lost.
//
// What an error says of old's tokens, as they are or encoded, and of the queries of
// URLs in a [*url.Error], is left out where a Session shows it.
//
// A Refresher that makes its requests through the session's own client must pass
// ctx on; a call that only its own return could answer fails with ErrReentrant.
type Refresher interface {
	Refresh(ctx context.Context, old *Token) (*Token, error)
}

// A RefresherFunc is a function as a [Refresher].
type RefresherFunc func(ctx context.Context, old *Token) (*Token, error)

// Refresh calls f.
func (f RefresherFunc) Refresh(ctx context.Context, old *Token) (*Token, error) { return f(ctx, old) }

// A Revoker is a [Refresher] that can also tell the server to forget a token.
// [Session.Logout] uses it, as does a refresh that finished after a logout.
type Revoker interface {
	// Revoke ends t's refresh token, or its access token if there is no other
	// (RFC 7009).
	Revoke(ctx context.Context, t *Token) error
}
