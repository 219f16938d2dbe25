package discovery_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

// rfc9728 is the example of RFC 9728, section 3.2.
const rfc9728 = `{
	"resource": "https://resource.example.com",
	"authorization_servers": ["https://as1.example.com", "https://as2.example.net"],
	"bearer_methods_supported": ["header", "body"],
	"scopes_supported": ["profile", "email", "phone"],
	"resource_documentation": "https://resource.example.com/resource_documentation.html"
}`

const api = "https://resource.example.com"

func TestResourceStandard(t *testing.T) {
	w := new(web)
	w.set(api+"/.well-known/oauth-protected-resource", page{body: rfc9728})
	r, err := w.client().FindResource(t.Context(), api)
	if err != nil {
		t.Fatal(err)
	}
	extra := r.Extra
	r.Extra = nil
	want := &discovery.Resource{
		Resource:             api,
		AuthorizationServers: []string{"https://as1.example.com", "https://as2.example.net"},
		BearerMethods:        []string{"header", "body"},
		Scopes:               []string{"profile", "email", "phone"},
	}
	if !reflect.DeepEqual(r, want) || len(extra) != 1 {
		t.Errorf("%+v, extra %s", r, extra)
	}
}

// TestWhereResourcesAre: RFC 9728, section 3.1.
func TestWhereResourcesAre(t *testing.T) {
	for resource, want := range map[string]string{
		api:                     api + "/.well-known/oauth-protected-resource",
		api + "/":               api + "/.well-known/oauth-protected-resource",
		api + "/resource1":      api + "/.well-known/oauth-protected-resource/resource1",
		api + "/resource1/":     api + "/.well-known/oauth-protected-resource/resource1/",
		api + "/a%2Fb?tenant=1": api + "/.well-known/oauth-protected-resource/a%2Fb?tenant=1",
		api + "?tenant=1":       api + "/.well-known/oauth-protected-resource?tenant=1",
	} {
		w := new(web)
		w.set(want, page{body: `{"resource":` + quote(resource) + `}`})
		if r, err := w.client().FindResource(t.Context(), resource); err != nil || r.Resource != resource {
			t.Errorf("%s: %v, asked %q", resource, err, w.requests())
		}
	}
	for resource, says := range map[string]string{
		"":                              "is empty",
		"api://orders":                  "does not begin with https://",
		"http://resource.example.com":   "is plain http",
		"https://resource.example.com#": "has a fragment",
	} {
		w := new(web)
		_, err := w.client().FindResource(t.Context(), resource)
		wantErr(t, err, "discovery: the resource "+says)
		if len(w.requests()) > 0 {
			t.Errorf("%q was asked for", resource)
		}
	}
}

// challenged is the answer to a request.
func challenged(t *testing.T, url string, challenges ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": challenges}, Body: http.NoBody, Request: req}
}

// TestFollowChallenge: whose metadata may be believed (RFC 9728, section 3.3).
func TestFollowChallenge(t *testing.T) {
	const at = api + "/.well-known/oauth-protected-resource"
	challenge := `Bearer resource_metadata="` + at + `"` // RFC 9728, section 5.1
	for name, c := range map[string]struct {
		url, challenge string
		resource       string // that the program says
		names          string // in the metadata
		servers        string
		says           string // "": it is believed
	}{
		"the root":                        {url: api, names: api},
		"the root, with a slash":          {url: api + "/", names: api},
		"the root, without":               {url: api, names: api + "/"},
		"a path":                          {url: api + "/mcp", names: api + "/mcp"},
		"a query":                         {url: api + "/mcp?page=2", names: api + "/mcp"},
		"a query, named":                  {url: api + "/mcp?tenant=2", names: api + "/mcp?tenant=2"},
		"a query, another":                {url: api + "/mcp?tenant=2", names: api + "/mcp?tenant=3", says: `the resource in it is "https://resource.example.com/mcp?tenant=3"`},
		"a path's slash":                  {url: api + "/mcp", names: api + "/mcp/", says: "the resource in it is"},
		"a prefix":                        {url: api + "/v1/orders", names: api, says: `the resource in it is "https://resource.example.com"`},
		"a prefix that is known":          {url: api + "/v1/orders", resource: api, names: api},
		"another that is known":           {url: api + "/v1/orders", resource: "https://gateway.example.com", names: "https://gateway.example.com"},
		"not the one that is known":       {url: api + "/v1/orders", resource: api, names: api + "/v1/orders", says: "the resource in it is"},
		"another host":                    {url: api, names: "https://other.example.com", says: "the resource in it is"},
		"another port":                    {url: api, names: api + ":8443", says: "the resource in it is"},
		"another scheme":                  {url: api, names: "http://resource.example.com", says: "plain http"},
		"capitals":                        {url: api, names: "https://RESOURCE.example.com", says: "the resource in it is"},
		"none":                            {url: api, names: "", says: "the resource in it is empty"},
		"what is known is none":           {url: api, resource: "orders", names: "orders", says: "the resource does not begin"},
		"DPoP":                            {url: api, names: api, challenge: `DPoP algs="ES256", resource_metadata="` + at + `"`},
		"no quotes":                       {url: api, names: api, challenge: `Bearer resource_metadata=` + at},
		"an error beside":                 {url: api, names: api, challenge: `Bearer error="invalid_token", resource_metadata="` + at + `"`},
		"the second challenge":            {url: api, names: api, challenge: `Basic realm="x", Bearer resource_metadata="` + at + `"`},
		"no such parameter":               {url: api, names: api, challenge: `Bearer realm="x"`, says: "no challenge has a resource_metadata"},
		"a path for a URL":                {url: api, names: api, challenge: `Bearer resource_metadata="/.well-known/oauth-protected-resource"`, says: "resource_metadata of a challenge from https://resource.example.com:443 does not begin with https://"},
		"over http":                       {url: api, names: api, challenge: `Bearer resource_metadata="http://resource.example.com/x"`, says: "is plain http"},
		"on this machine":                 {url: api, names: api, challenge: `Bearer resource_metadata="http://127.0.0.1:6379/x"`, says: "leads to this machine"},
		"a user":                          {url: api, names: api, challenge: `Bearer resource_metadata="https://a:b@resource.example.com/x"`, says: "has user information"},
		"a file":                          {url: api, names: api, challenge: `Bearer resource_metadata="file:///etc/passwd"`, says: "does not begin"},
		"nothing there":                   {url: api, names: api, challenge: `Bearer resource_metadata="` + api + `/other"`, says: "status 404"},
		"servers over http":               {url: api, names: api, servers: `["https://as.example.com","http://as.example.com"]`, says: "a URL in authorization_servers is plain http"},
		"servers on this machine":         {url: api, names: api, servers: `["http://localhost:1"]`, says: "leads to this machine"},
		"servers that are no URLs":        {url: api, names: api, servers: `["as.example.com"]`, says: "a URL in authorization_servers"},
		"servers that are one string":     {url: api, names: api, servers: `"https://as.example.com"`},
		"a machine of its own, and so on": {url: "http://localhost:80/", names: "http://localhost:80", servers: `["http://localhost:1"]`, challenge: `Bearer resource_metadata="` + at + `"`},
	} {
		w := new(web)
		if c.servers == "" {
			c.servers = `["https://as.example.com"]`
		}
		w.set(at, page{body: fmt.Sprintf(`{"resource":%s,"authorization_servers":%s,"dpop_bound_access_tokens_required":true}`, quote(c.names), c.servers)})
		if c.challenge == "" {
			c.challenge = challenge
		}
		client := w.client()
		for range 2 { // the second time from memory, if it is there
			r, err := client.FollowChallenge(t.Context(), challenged(t, c.url, c.challenge), c.resource)
			if c.says != "" {
				wantErr(t, err, "discovery: ", c.says)
				if r != nil {
					t.Errorf("%s: %+v beside an error", name, r)
				}
				continue
			}
			if err != nil || r.Resource != c.names || len(r.AuthorizationServers) != 1 || !r.DPoPRequired || r.Extra != nil {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
		if asked := w.requests(); len(asked) > 2 || c.says == "" && len(asked) != 1 {
			t.Errorf("%s: asked %q", name, asked)
		}
	}
}

// TestFollowNothing: what is no answer to a request has no challenge to follow.
func TestFollowNothing(t *testing.T) {
	w := new(web)
	for _, resp := range []*http.Response{nil, {}, {Header: http.Header{"Www-Authenticate": {`Bearer resource_metadata="` + api + `"`}}}} {
		_, err := w.client().FollowChallenge(t.Context(), resp, "")
		wantErr(t, err, "discovery: ")
	}
	if len(w.requests()) > 0 {
		t.Error("something was asked for")
	}
}

// TestFollowShowsNoQuery: a query may hold what nobody is to read.
func TestFollowShowsNoQuery(t *testing.T) {
	w := new(web)
	_, err := w.client().FollowChallenge(t.Context(), challenged(t, api+"/x?token=secret", `Bearer resource_metadata="`+api+`/y?key=secret"`), "")
	wantErr(t, err, api+"/x: "+api+"/y: status 404")
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// TestResourceIsTheCallers: what one caller changes another does not see.
func TestResourceIsTheCallers(t *testing.T) {
	w := new(web)
	w.set(api+"/.well-known/oauth-protected-resource", page{body: rfc9728})
	client := w.client()
	for range 2 {
		r, err := client.FindResource(t.Context(), api)
		if err != nil || r.Scopes[0] != "profile" || r.AuthorizationServers[0] != "https://as1.example.com" || len(r.Extra) != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		r.Scopes[0], r.AuthorizationServers[0] = "changed", "https://evil.example.com"
		delete(r.Extra, "resource_documentation")
	}
}
