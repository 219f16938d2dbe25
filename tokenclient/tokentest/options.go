package tokentest

import (
	"cmp"
	"time"
)

// Options are the knobs of a [Server]. The zero value rotates refresh tokens,
// detects reuse, wants "Authorization: Bearer", makes JWTs, and listens on a
// loopback port. [Server.Set] changes them while the server runs, except where a
// field says otherwise; tokens that were issued before keep their lifetime.
type Options struct {
	// InMemory gives the server a network of its own in place of a loopback
	// port. Only [Server.Client] reaches it. It cannot be changed later.
	InMemory bool

	// HTTP2 makes the server speak HTTP/2 beside HTTP/1.1, and [Server.Client]
	// nothing else: over TLS with a certificate that only this client trusts, or
	// in clear text over the network in memory (h2c). A [Fault] that cuts then
	// resets the stream, and the connection lives on. It cannot be changed later.
	HTTP2 bool

	// AccessLifetime is how long an access token is accepted. Zero: 15 minutes.
	// Negative: it has expired when it is issued. Fractions of a second do not
	// show in expires_in or in the token, but the server obeys them.
	AccessLifetime time.Duration

	// RefreshLifetime is how long a refresh token is accepted; each rotation
	// starts it anew. Zero: 30 days. Negative: it has expired when it is issued.
	RefreshLifetime time.Duration

	// ReuseGrace is how long after its first use a spent refresh token may be
	// presented again, for clients that lost the answer. Each such presentation
	// gets another pair of the same family, beside the first one: both refresh
	// tokens are good. Zero: no grace, every reuse revokes the family.
	ReuseGrace time.Duration

	// Latency is how long every endpoint but the API waits before a call takes
	// effect. A call whose client left in the meantime has no effect.
	Latency time.Duration

	// ClockSkew is added to the server's clock, by which it dates and judges
	// tokens. The relative expires_in does not show it.
	ClockSkew time.Duration

	// NoRotation keeps refresh tokens valid when they are used; the answer to a
	// refresh then holds no refresh token.
	NoRotation bool

	// Opaque makes tokens random strings in place of JWTs.
	Opaque bool

	// NoExpiresIn leaves expires_in and refresh_expires_in out of all answers.
	NoExpiresIn bool

	// Milliseconds writes the claims iat and exp in milliseconds, as some
	// servers do in spite of RFC 7519, section 2. expires_in stays in seconds.
	Milliseconds bool

	// MaxUses is how often a family can be refreshed. After that its refresh
	// tokens are refused, while its access tokens live on. A repetition within
	// ReuseGrace is not another use. Zero: no limit.
	MaxUses int

	// Lag is how long it takes until the API knows of a new access token, as where one
	// data center learns of what another one issued. Before, it refuses the token as one that is unknown.
	Lag time.Duration

	// Dialect is how the server reads and words what the standards say otherwise. The zero
	// one is theirs.
	Dialect Dialect

	// Header is the request header that holds the bare access token, such as
	// "X-Auth-Token". Empty: the scheme Bearer in Authorization (RFC 6750,
	// section 2.1).
	Header string

	// SlidingHeader makes the API renew the token by itself: each answer to an
	// accepted request has a new access token of the same family, bare, in the
	// response header that Header names, or in Authorization, without a scheme.
	// The old one is accepted until its own expiry; a client that sends nothing
	// for that long is locked out. Answers that a [Fault] decided have none.
	SlidingHeader bool

	// ClientSecret is what clients of /oauth/token, /oauth/revoke and /oauth/device
	// must prove to know, by HTTP Basic or in the form (RFC 6749, section 2.3.1);
	// any client_id will do. Who does not is answered 401, invalid_client. Empty:
	// clients are public and are not asked.
	ClientSecret string

	// Demands are what the API wants beyond a token that is good. The first that is not met
	// is the answer, before the request's body is read. Who holds a session needs a
	// tokenclient.Config.StepUp then.
	Demands []Demand

	// DPoP has the server bind tokens to keys, and demand proofs. Nil: it knows of none.
	DPoP *DPoP
}

func (o *Options) accessLifetime() time.Duration  { return cmp.Or(o.AccessLifetime, 15*time.Minute) }
func (o *Options) refreshLifetime() time.Duration { return cmp.Or(o.RefreshLifetime, 30*24*time.Hour) }

// now is the server's clock.
func (o *Options) now() time.Time { return time.Now().Add(o.ClockSkew) }

// Set changes the options of a running server. Calls that arrived before may
// still see the old ones. change is called once, must not keep its argument, and
// must not call the server.
func (s *Server) Set(change func(*Options)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.options)
}
