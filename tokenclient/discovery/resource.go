package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Resource is what an API says of itself (RFC 9728, section 2). A list that it leaves
// out is nil.
type Resource struct {
	// Resource is the API's identifier, of which it was made sure that it is the one that
	// was meant. It is the value of a "resource" parameter (RFC 8707).
	Resource string

	// AuthorizationServers are issuers for [Client.Find]. They have been checked as
	// endpoints are.
	AuthorizationServers []string

	// Scopes is scopes_supported, BearerMethods is bearer_methods_supported: "header",
	// "body", "query" (RFC 6750, section 2).
	Scopes, BearerMethods []string

	// DPoPAlgs is dpop_signing_alg_values_supported, and DPoPRequired
	// dpop_bound_access_tokens_required (RFC 9449).
	DPoPAlgs     []string
	DPoPRequired bool

	// Extra holds all other members as they came. They have not been checked. Nil if there
	// are none.
	Extra map[string]json.RawMessage
}

// FindResource returns what an API says of itself at the well-known path for its
// identifier, such as "https://api.example.com/v1". The metadata must name just that (RFC
// 9728, section 3.3). What it returns may be changed; what [Client.Find] says of errors
// and times holds here.
func (c *Client) FindResource(ctx context.Context, resource string) (*Resource, error) {
	u, err := c.checkIdentifier(resource)
	if err != nil {
		return nil, fmt.Errorf("discovery: the resource %w", err)
	}
	return c.resource(ctx, resourceURL(u), resource)
}

// FollowChallenge returns what an API says of itself where a challenge in resp leads: a
// "resource_metadata" parameter, in whatever scheme (RFC 9728, section 5). Nothing calls
// it but the program: use it on a 401 that a [tokenclient.Transport] handed back, to
// learn where to log in. Any server that a program talks to can so make it send a GET,
// without a token, to a URL over https anywhere but on this machine.
//
// The metadata must be that of the API that was asked, or any server could pass for it.
// If resource is empty, the metadata must name the URL of resp's request, with its query
// or without (RFC 9728, section 3.3, which also forbids what is shorter). The identifier
// of many an API is shorter, such as "https://api.example.com": a program that knows it
// says so by resource.
//
// It does not touch resp's body. Find takes what it returns:
//
//	api, err := client.FollowChallenge(ctx, resp, "")
//	if err != nil || len(api.AuthorizationServers) == 0 {
//		...
//	}
//	md, err := client.Find(ctx, api.AuthorizationServers[0])
//
// Whoever logs in there trusts that server with the login: mostly a program has a list of
// those that it expects.
func (c *Client) FollowChallenge(ctx context.Context, resp *http.Response, resource string) (*Resource, error) {
	at := ""
	for _, challenge := range tokenclient.Challenges(resp) {
		if at = challenge.Params["resource_metadata"]; at != "" {
			break
		}
	}
	switch {
	case at == "":
		return nil, errors.New("discovery: no challenge has a resource_metadata")
	case resp.Request == nil || resp.Request.URL == nil:
		return nil, errors.New("discovery: the response does not say what was requested")
	}
	from, wanted := resp.Request.URL, requested(resp.Request.URL)
	if resource != "" {
		u, err := c.checkIdentifier(resource)
		if err != nil {
			return nil, fmt.Errorf("discovery: the resource %w", err)
		}
		from, wanted = u, []string{resource}
	}
	if err := c.checkURL(at, origin.Of(from)); err != nil {
		return nil, fmt.Errorf("discovery: resource_metadata of a challenge from %s %w", origin.Of(from), err)
	}
	return c.resource(ctx, at, wanted...)
}

// requested are the identifiers that u is the URL of a request to. "" and "/" are the
// same path there (RFC 9110, section 4.2.3).
func requested(u *url.URL) []string {
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	full := plain
	full.RawQuery = u.RawQuery
	names := []string{plain.String(), full.String()}
	if plain.Path == "" || plain.Path == "/" {
		root := u.Scheme + "://" + u.Host
		names = append(names, root, root+"/")
	}
	return names
}

// resource returns the metadata that is at a URL, if it names one of wanted.
func (c *Client) resource(ctx context.Context, at string, wanted ...string) (*Resource, error) {
	found, err := c.resources.get(ctx, at, func(ctx context.Context) (*Resource, time.Duration, error) {
		doc, err := c.fetch(ctx, at)
		if err != nil {
			return nil, 0, err
		}
		r, err := c.readResource(doc.members)
		return r, doc.lifetime, err
	})
	if err == nil && !slices.Contains(wanted, found.Resource) { // RFC 9728, section 3.3
		err = fmt.Errorf("the resource in it is %q", redact.Clean(found.Resource, maxShown))
	}
	if err != nil {
		return nil, fmt.Errorf("discovery: no metadata of the resource %s: %w", wanted[0], tries{{at, err}})
	}
	return found.clone(), nil
}

// readResource reads the metadata of whatever resource it names.
func (c *Client) readResource(m members) (*Resource, error) {
	r := &Resource{
		Resource:             m.take("resource"),
		AuthorizationServers: m.takeList("authorization_servers"),
		Scopes:               m.takeList("scopes_supported"),
		BearerMethods:        m.takeList("bearer_methods_supported"),
		DPoPAlgs:             m.takeList("dpop_signing_alg_values_supported"),
	}
	u, err := c.checkIdentifier(r.Resource)
	if err != nil {
		return nil, fmt.Errorf("the resource in it %w", err)
	}
	for _, issuer := range r.AuthorizationServers {
		if err := c.checkURL(issuer, origin.Of(u)); err != nil {
			return nil, fmt.Errorf("a URL in authorization_servers %w", err)
		}
	}
	_ = json.Unmarshal(m["dpop_bound_access_tokens_required"], &r.DPoPRequired)
	delete(m, "dpop_bound_access_tokens_required")
	r.Extra = m.rest()
	return r, nil
}

func (r *Resource) clone() *Resource {
	c := *r
	for _, list := range []*[]string{&c.AuthorizationServers, &c.Scopes, &c.BearerMethods, &c.DPoPAlgs} {
		*list = slices.Clone(*list)
	}
	c.Extra = members(r.Extra).rest()
	return &c
}
