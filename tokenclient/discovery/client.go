package discovery

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// A Client finds metadata and remembers it. The zero value is ready for use. Its fields
// must not be changed after its first use, and it must not be copied. It is safe for
// concurrent use.
type Client struct {
	// HTTPClient makes the requests. It is copied: the copy follows redirects only within
	// an origin. Nil: http.DefaultClient. Its connections are those of an
	// OAuth2Refresher. It may be a session's own client: the requests carry no token.
	HTTPClient *http.Client

	// InsecureHTTP allows issuers, endpoints and resources over plain http beyond this
	// machine, where whoever is on the way can lead the refresh tokens to himself.
	InsecureHTTP bool

	servers   cache[Metadata]
	resources cache[Resource]
}

// Find returns the metadata of an authorization server. It asks each time; a [Client]
// remembers.
func Find(ctx context.Context, issuer string) (*Metadata, error) {
	return new(Client).Find(ctx, issuer)
}

// Find returns the metadata of an authorization server, which may be changed. issuer is
// its identifier, such as "https://auth.example.com" (RFC 8414, section 2), and not the
// URL of its metadata; the package documentation says what is asked, and what is
// believed.
//
// There is no timeout but ctx's, the HTTPClient's, and 10 seconds for each of the at most
// three requests. An error is the context's if that ended, and otherwise says what was
// wrong with each answer. Find may be called again: failures are not remembered.
func (c *Client) Find(ctx context.Context, issuer string) (*Metadata, error) {
	u, err := c.checkIssuer(issuer)
	if err != nil {
		return nil, fmt.Errorf("discovery: the issuer %w", err)
	}
	md, err := c.servers.get(ctx, issuer, func(ctx context.Context) (*Metadata, time.Duration, error) {
		var tried tries
		for _, at := range serverURLs(u) {
			doc, err := c.fetch(ctx, at)
			if doc == nil {
				return nil, 0, append(tried, try{at, err})
			}
			if err == nil {
				var md *Metadata
				if md, err = c.metadata(doc.members, issuer, origin.Of(u)); err == nil {
					return md, doc.lifetime, nil
				}
			}
			tried = append(tried, try{at, err})
		}
		return nil, 0, tried
	})
	if err != nil {
		return nil, fmt.Errorf("discovery: no metadata of the issuer %s: %w", issuer, err)
	}
	return md.clone(), nil
}
