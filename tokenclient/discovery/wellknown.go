package discovery

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// The well-known paths (RFC 8615).
const (
	oauthServer   = "/.well-known/oauth-authorization-server" // RFC 8414, section 7.3.1
	openIDServer  = "/.well-known/openid-configuration"       // OpenID Connect Discovery 1.0, section 4
	oauthResource = "/.well-known/oauth-protected-resource"   // RFC 9728, section 8.3.1
)

// serverURLs returns where the metadata of an issuer may be, in the order of the package
// documentation.
func serverURLs(issuer *url.URL) []string {
	host, path := issuer.Scheme+"://"+issuer.Host, strings.TrimSuffix(issuer.EscapedPath(), "/")
	urls := []string{host + oauthServer + path, host + path + openIDServer}
	if path != "" {
		urls = append(urls, host+openIDServer+path)
	}
	return urls
}

// resourceURL returns where the metadata of a resource is.
func resourceURL(resource *url.URL) string {
	s := resource.Scheme + "://" + resource.Host + oauthResource
	if path := resource.EscapedPath(); path != "/" {
		s += path
	}
	if resource.RawQuery != "" {
		s += "?" + resource.RawQuery
	}
	return s
}

// checkIssuer reports why nothing can be asked about an issuer.
func (c *Client) checkIssuer(issuer string) (*url.URL, error) {
	u, err := c.checkIdentifier(issuer)
	if err == nil && (u.RawQuery != "" || u.ForceQuery) { // RFC 8414, section 2
		return nil, errors.New("has a query, which no issuer has")
	}
	return u, err
}

// checkIdentifier reports why nothing can be asked about an issuer or a resource.
func (c *Client) checkIdentifier(identifier string) (*url.URL, error) {
	u, err := url.Parse(identifier)
	switch {
	case identifier == "":
		err = errors.New("is empty")
	case err != nil:
		err = errors.New("is not a URL")
	case strings.Contains(u.Path, "/.well-known/"):
		return nil, errors.New("is the URL of its metadata; leave out /.well-known/ and the name that follows")
	default:
		err = c.checkURL(identifier, origin.Of(u)) // this machine may be asked for
	}
	if err != nil {
		return nil, fmt.Errorf("%w; write it like \"https://auth.example.com\"", err)
	}
	return u, nil
}

// checkURL reports why a URL is not to be used that the metadata of from names, or a
// challenge from there.
func (c *Client) checkURL(raw string, from origin.Origin) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("is not a URL")
	}
	o := origin.Of(u)
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("does not begin with https:// or http://")
	case u.User != nil:
		return errors.New("has user information in it")
	case u.Hostname() == "" || u.Opaque != "":
		return errors.New("has no host")
	case strings.ContainsAny(u.Host, "*{}<> "):
		return errors.New("has a placeholder for its host")
	case !o.HasPort():
		return errors.New("has a port that is not one of 1 to 65535")
	case strings.Contains(raw, "#"):
		return errors.New("has a fragment")
	case o.IsLoopback() && !from.IsLoopback():
		return errors.New("leads to this machine, from elsewhere")
	case !o.Secure() && !c.InsecureHTTP:
		return errors.New("is plain http beyond this machine (InsecureHTTP allows it)")
	}
	return nil
}
