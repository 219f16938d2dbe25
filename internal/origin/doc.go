// Package origin decides where a token may go.
//
// An origin is a scheme, a host and a port (RFC 6454). [Rules] are what a program
// allows: some origins, or all of them; plain http, or not; further values of the Host
// header. [Rules.Judge] answers for one request whether it gets the token, and its
// answers are three:
//
//   - no: the request goes to an origin that is not allowed, or was redirected from
//     one, or its caller chose the credentials. It is sent as it is.
//   - an error: the request goes to an allowed origin, but would show the token to
//     somebody else. Nothing is sent.
//   - yes.
//
// # What is compared
//
// An origin is what net/http dials and what it tells the server, and not what a URL
// looks like. So ASCII letters of a host are compared without their case, and nothing
// else is: a host that is not ASCII is only ever the same as itself, byte for byte.
// net/http dials what IDNA makes of such a host ("STRAẞE" and "strasse" are one,
// "straße" is another), and writes something else again into the Host header. Equal
// bytes give equal results of both; about other spellings nothing is claimed. Trailing
// dots, leading zeros of ports, brackets, zones, escapes and the many ways to write an
// address all make another origin. A request too many without a token is seen at once,
// one too many with a token is not.
//
// # What the server is told
//
// Behind one address there may be many hosts, of which one is allowed. The server
// chooses among them by the Host header (RFC 9110, section 7.2), or by the target of
// the request line if that is a whole URL (RFC 9112, section 3.2.2). net/http lets
// callers choose both: Request.Host; URL.Opaque; a URL.Path that does not begin with a
// slash; a key of the header map such as "host", which goes out beside the true one. All
// of them have to name the URL's own host. Whoever sends another Host header knowingly
// lists it. It is an error otherwise, and not silence: programs that get there are
// gateways that pass on a stranger's Host without knowing it, and whoever runs one has to
// learn of it.
//
// # What a redirect may do
//
// Whoever can make an allowed server redirect must not learn what a token opens
// elsewhere. All hops that led to a request are judged by the same rules: once a chain
// has left the allowed origins, it never gets the token back, and a hop that cannot be
// seen counts as outside. Without a list of origins, a chain must stay where it began.
//
// # What this package does not know
//
// It does not know tokens, sessions, or how a token is put on a request. It does not
// see what a dialer of the caller's connects to, which address a name resolves to, or
// whether TLS certificates are checked: that is the base transport's. Of a proxy it sees
// what an [http.Transport] says about it. Errors name fields of tokenclient.Config,
// where they are mended.
//
// Judge allocates nothing unless it returns an error, and takes no lock.
package origin
