package discovery_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

// Examples of the standards.
const (
	rfc8414 = `{
	"issuer": "https://server.example.com",
	"authorization_endpoint": "https://server.example.com/authorize",
	"token_endpoint": "https://server.example.com/token",
	"token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
	"token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
	"userinfo_endpoint": "https://server.example.com/userinfo",
	"jwks_uri": "https://server.example.com/jwks.json",
	"registration_endpoint": "https://server.example.com/register",
	"scopes_supported": ["openid", "profile", "email", "address", "phone", "offline_access"],
	"response_types_supported": ["code", "code token"],
	"service_documentation": "http://server.example.com/service_documentation.html",
	"ui_locales_supported": ["en-US", "en-GB", "en-CA", "fr-FR", "fr-CA"]
}`
	openIDDiscovery = `{
	"issuer": "https://server.example.com",
	"authorization_endpoint": "https://server.example.com/connect/authorize",
	"token_endpoint": "https://server.example.com/connect/token",
	"token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
	"token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
	"userinfo_endpoint": "https://server.example.com/connect/userinfo",
	"jwks_uri": "https://server.example.com/jwks.json",
	"registration_endpoint": "https://server.example.com/connect/register",
	"scopes_supported": ["openid", "profile", "email", "address", "phone", "offline_access"],
	"claims_parameter_supported": true
}`
)

// TestStandards: the examples of RFC 8414, section 3.2, and of OpenID Connect Discovery
// 1.0, section 4.2.
func TestStandards(t *testing.T) {
	const at = "https://server.example.com"
	w := new(web)
	w.set(at+"/.well-known/oauth-authorization-server", page{body: rfc8414})
	md, err := w.client().Find(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	extra := md.Extra
	md.Extra = nil
	want := &discovery.Metadata{
		Issuer: at, AuthorizationEndpoint: at + "/authorize", TokenEndpoint: at + "/token", RegistrationEndpoint: at + "/register",
		TokenAuthMethods:     []string{"client_secret_basic", "private_key_jwt"},
		TokenAuthSigningAlgs: []string{"RS256", "ES256"},
		Scopes:               []string{"openid", "profile", "email", "address", "phone", "offline_access"},
	}
	if !reflect.DeepEqual(md, want) {
		t.Errorf("%+v, want %+v", md, want)
	}
	if len(extra) != 5 || string(extra["jwks_uri"]) != `"https://server.example.com/jwks.json"` {
		t.Errorf("extra: %s", extra)
	}

	w = new(web)
	w.set(at+"/.well-known/openid-configuration", page{body: openIDDiscovery})
	md, err = w.client().Find(t.Context(), at)
	if err != nil || md.TokenEndpoint != at+"/connect/token" || md.AuthorizationEndpoint != at+"/connect/authorize" {
		t.Errorf("%+v, %v", md, err)
	}
}

// TestLists: RFC 7009, 7636, 8628 and 9449 have members of their own.
func TestLists(t *testing.T) {
	md, err := oneServer("", `{"issuer":"https://auth.example.com","token_endpoint":"https://auth.example.com/token",
		"revocation_endpoint":"https://auth.example.com/revoke","device_authorization_endpoint":"https://auth.example.com/device",
		"grant_types_supported":["refresh_token"],"revocation_endpoint_auth_methods_supported":["none"],
		"code_challenge_methods_supported":["S256"],"dpop_signing_alg_values_supported":["ES256","EdDSA"]}`).client().Find(t.Context(), issuer)
	want := &discovery.Metadata{
		Issuer: issuer, TokenEndpoint: issuer + "/token", RevocationEndpoint: issuer + "/revoke", DeviceAuthorizationEndpoint: issuer + "/device",
		GrantTypes: []string{"refresh_token"}, RevocationAuthMethods: []string{"none"},
		CodeChallengeMethods: []string{"S256"}, DPoPAlgs: []string{"ES256", "EdDSA"},
	}
	if err != nil || !reflect.DeepEqual(md, want) {
		t.Errorf("%+v, %v", md, err)
	}
}

const good = `{"issuer":"https://auth.example.com","token_endpoint":"https://auth.example.com/token"}`

// with is good with more members, or with others.
func with(members string) string {
	return strings.TrimSuffix(good, "}") + "," + members + "}"
}

// TestSloppy: metadata that is not quite what the standards say, and says what is needed.
func TestSloppy(t *testing.T) {
	for name, p := range map[string]page{
		"as text":                      {header: "Content-Type: text/plain", body: good},
		"as HTML":                      {header: "Content-Type: text/html; charset=utf-8", body: good},
		"as a form":                    {header: "Content-Type: application/x-www-form-urlencoded", body: good},
		"as a type of its own":         {header: "Content-Type: application/jwk-set+json", body: good},
		"without a type":               {body: good},
		"with a type that is none":     {header: "Content-Type: ;;", body: good},
		"byte order mark":              {body: "\xef\xbb\xbf" + good},
		"space around":                 {body: "\r\n\t " + good + "\n\n"},
		"numbers too large":            {body: with(`"x":1e999999`)},
		"endpoint null":                {body: with(`"revocation_endpoint":null`)},
		"endpoint empty":               {body: with(`"revocation_endpoint":""`)},
		"endpoint false":               {body: with(`"registration_endpoint":false`)},
		"endpoint an object":           {body: with(`"device_authorization_endpoint":{"url":"x"}`)},
		"list null":                    {body: with(`"scopes_supported":null`)},
		"list a number":                {body: with(`"grant_types_supported":7`)},
		"list an object":               {body: with(`"token_endpoint_auth_methods_supported":{"none":true}`)},
		"a name in capitals":           {body: with(`"Token_Endpoint":"http://evil.example.com"`)},
		"deep":                         {body: with(`"x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500))},
		"the rest over http":           {body: with(`"jwks_uri":"http://auth.example.com/jwks","service_documentation":"ftp://x"`)},
		"signed too":                   {body: with(`"signed_metadata":"eyJ.e30.x"`)},
		"endpoints elsewhere":          {body: with(`"revocation_endpoint":"https://revoke.example.net:8443/r?tenant=1"`)},
		"a megabyte but for the space": {body: good + strings.Repeat(" ", 200<<10)},
	} {
		w := new(web)
		w.set(issuer+"/.well-known/oauth-authorization-server", p)
		md, err := w.client().Find(t.Context(), issuer)
		if err != nil || md.TokenEndpoint != issuer+"/token" || md.RegistrationEndpoint != "" || md.GrantTypes != nil {
			t.Errorf("%s: %+v, %v", name, md, err)
		}
	}
	for list, want := range map[string][]string{
		`"openid  profile"`:           {"openid", "profile"},
		`["a",1,null,{"b":2},"","c"]`: {"a", "c"},
		`[]`:                          nil,
		`""`:                          nil,
	} {
		md, err := oneServer("", with(`"scopes_supported":`+list)).client().Find(t.Context(), issuer)
		if err != nil || strings.Join(md.Scopes, "|") != strings.Join(want, "|") {
			t.Errorf("%s: %q, %v", list, md, err)
		}
	}
}

// TestHostile: metadata that would lead the tokens elsewhere, or is none.
func TestHostile(t *testing.T) {
	endpoint := func(name, url string) string { return with(`"` + name + `":` + quote(url)) }
	token := func(url string) string {
		return `{"issuer":"https://auth.example.com","token_endpoint":` + quote(url) + `}`
	}
	for name, c := range map[string]struct {
		page page
		says string
	}{
		"another issuer":            {page{body: strings.Replace(good, "auth.", "evil.", 1)}, `the issuer in it is "https://evil.example.com"`},
		"issuer with a slash":       {page{body: strings.Replace(good, `.com"`, `.com/"`, 1)}, `"https://auth.example.com/"`},
		"issuer in capitals":        {page{body: strings.Replace(good, "auth.", "AUTH.", 1)}, `"https://AUTH.example.com"`},
		"issuer with its port":      {page{body: strings.Replace(good, `.com"`, `.com:443"`, 1)}, `:443"`},
		"issuer over http":          {page{body: strings.Replace(good, "https", "http", 1)}, `"http://auth.example.com"`},
		"issuer with a path":        {page{body: strings.Replace(good, `.com"`, `.com/b"`, 1)}, `.com/b"`},
		"issuer a template":         {page{body: strings.Replace(good, `.com"`, `.com/{tenantid}/v2.0"`, 1)}, `{tenantid}`},
		"issuer with a space":       {page{body: strings.Replace(good, `.com"`, `.com "`, 1)}, `the issuer in it is`},
		"issuer a list":             {page{body: `{"issuer":["https://auth.example.com"],"token_endpoint":"https://auth.example.com/token"}`}, `the issuer in it is ""`},
		"issuer null":               {page{body: `{"issuer":null,"token_endpoint":"https://auth.example.com/token"}`}, `the issuer in it is ""`},
		"no issuer":                 {page{body: `{"token_endpoint":"https://auth.example.com/token"}`}, `the issuer in it is ""`},
		"Issuer":                    {page{body: strings.Replace(good, "issuer", "Issuer", 1)}, `the issuer in it is ""`},
		"issuer twice":              {page{body: with(`"issuer":"https://evil.example.com"`)}, `evil`},
		"issuer with controls":      {page{body: strings.Replace(good, `.com"`, `.com\n\u001b[31m"`, 1)}, `the issuer in it is`},
		"no token endpoint":         {page{body: `{"issuer":"https://auth.example.com"}`}, "no token_endpoint"},
		"token endpoint a number":   {page{body: `{"issuer":"https://auth.example.com","token_endpoint":1}`}, "no token_endpoint"},
		"plain http":                {page{body: token("http://auth.example.com/token")}, "token_endpoint is plain http"},
		"this machine":              {page{body: token("http://localhost:8080/token")}, "token_endpoint leads to this machine"},
		"this machine, by address":  {page{body: token("https://127.0.0.2/token")}, "this machine"},
		"this machine, by IPv6":     {page{body: token("http://[::1]/token")}, "this machine"},
		"this machine, mapped":      {page{body: token("https://[::ffff:127.0.0.1]/token")}, "this machine"},
		"a file":                    {page{body: token("file:///etc/passwd")}, "does not begin with https://"},
		"javascript":                {page{body: endpoint("authorization_endpoint", "javascript:alert(1)")}, "authorization_endpoint does not begin with"},
		"a path":                    {page{body: token("/oauth/token")}, "does not begin with"},
		"no scheme":                 {page{body: token("//auth.example.com/token")}, "does not begin with"},
		"no host":                   {page{body: token("https:///token")}, "has no host"},
		"opaque":                    {page{body: token("https:auth.example.com/token")}, "has no host"},
		"a user":                    {page{body: token("https://auth.example.com@evil.example.com/token")}, "has user information"},
		"a fragment":                {page{body: endpoint("revocation_endpoint", "https://auth.example.com/r#x")}, "revocation_endpoint has a fragment"},
		"an empty fragment":         {page{body: endpoint("registration_endpoint", "https://auth.example.com/r#")}, "registration_endpoint has a fragment"},
		"a placeholder":             {page{body: token("https://{tenant}.example.com/token")}, "token_endpoint"},
		"port 0":                    {page{body: token("https://auth.example.com:0/token")}, "has a port"},
		"a port too high":           {page{body: token("https://auth.example.com:65536/token")}, "has a port"},
		"a backslash":               {page{body: token(`https://evil.example.com\@auth.example.com/token`)}, "is not a URL"},
		"a line break":              {page{body: token("https://auth.example.com/token\nHost: x")}, "is not a URL"},
		"device endpoint over http": {page{body: endpoint("device_authorization_endpoint", "http://auth.example.com/d")}, "device_authorization_endpoint is plain http"},
		"HTML":                      {page{body: "<!DOCTYPE html><p>Sign in"}, "is HTML"},
		"empty":                     {page{}, "is empty"},
		"a list":                    {page{body: "[" + good + "]"}, "not a JSON object"},
		"a string":                  {page{body: quote(good)}, "not a JSON object"},
		"null":                      {page{body: "null"}, "not a JSON object"},
		"cut off":                   {page{body: good[:len(good)-3]}, "not valid JSON"},
		"two objects":               {page{body: good + good}, "not valid JSON"},
		"UTF-16":                    {page{body: "\xff\xfe{\x00}\x00"}, "not a JSON object"},
		"too long":                  {page{body: good + strings.Repeat(" ", 256<<10)}, "longer than 262144 bytes"},
		"a JWT":                     {page{header: "Content-Type: application/jwt", body: "eyJhbGciOiJub25lIn0.e30."}, "not a JSON object"},
		"an error":                  {page{status: 500, body: good}, "status 500"},
		"no content":                {page{status: 204}, "status 204"},
		"not modified":              {page{status: 304}, "status 304"},
		"unauthorized":              {page{status: 401, body: good}, "status 401"},
	} {
		w := new(web)
		w.set(issuer+"/.well-known/oauth-authorization-server", c.page)
		client := w.client()
		md, err := client.Find(t.Context(), issuer)
		if md != nil {
			t.Errorf("%s: %+v", name, md)
		}
		wantErr(t, err, "discovery: no metadata of the issuer "+issuer, "/.well-known/oauth-authorization-server: ", c.says,
			"; https://auth.example.com/.well-known/openid-configuration: status 404")
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: control characters in %q", name, err)
		}
		// It costs nothing but a try: the next place has what is good.
		w.set(issuer+"/.well-known/openid-configuration", page{body: good})
		if md, err := client.Find(t.Context(), issuer); err != nil || md.TokenEndpoint != issuer+"/token" {
			t.Errorf("%s, and then good: %+v, %v", name, md, err)
		}
	}
}

// quote is s as JSON.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestInsecureHTTP: who allows it gets it, also from where it leads to this machine not.
func TestInsecureHTTP(t *testing.T) {
	const plain = "http://auth.internal"
	w := new(web)
	w.set(plain+"/.well-known/oauth-authorization-server", page{body: `{"issuer":"http://auth.internal","token_endpoint":"http://auth.internal/token"}`})
	_, err := w.client().Find(t.Context(), plain)
	wantErr(t, err, "the issuer is plain http beyond this machine (InsecureHTTP allows it)")
	client := w.client()
	client.InsecureHTTP = true
	if md, err := client.Find(t.Context(), plain); err != nil || md.TokenEndpoint != plain+"/token" {
		t.Errorf("%+v, %v", md, err)
	}
	w = oneServer("", `{"issuer":"https://auth.example.com","token_endpoint":"http://127.0.0.1/token"}`)
	client = w.client()
	client.InsecureHTTP = true
	_, err = client.Find(t.Context(), issuer)
	wantErr(t, err, "leads to this machine")
}

// TestIssuers: what cannot be an issuer is not asked for.
func TestIssuers(t *testing.T) {
	for issuer, says := range map[string]string{
		"":                                           "is empty",
		"auth.example.com":                           "does not begin with https://",
		"http://auth.example.com":                    "is plain http",
		"https://auth.example.com?tenant=1":          "has a query",
		"https://auth.example.com?":                  "has a query",
		"https://auth.example.com#x":                 "has a fragment",
		"https://app:secret@auth.example.com":        "has user information",
		"https://auth.example.com:port":              "is not a URL",
		"https://":                                   "has no host",
		"https://*.example.com":                      "has a placeholder",
		"urn:ietf:params:oauth":                      "does not begin with",
		"https://auth.example.com/\n":                "is not a URL",
		issuer + "/.well-known/openid-configuration": "is the URL of its metadata; leave out /.well-known/",
	} {
		w := new(web)
		_, err := w.client().Find(t.Context(), issuer)
		wantErr(t, err, "discovery: the issuer "+says)
		if asked := w.requests(); len(asked) > 0 {
			t.Errorf("%q: asked %q", issuer, asked)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}

// TestResultIsTheCallers: what one caller changes another does not see.
func TestResultIsTheCallers(t *testing.T) {
	client := oneServer("", with(`"scopes_supported":["a"],"x":"y"`)).client()
	for range 2 {
		md, err := client.Find(t.Context(), issuer)
		if err != nil || md.TokenEndpoint != issuer+"/token" || md.Scopes[0] != "a" || string(md.Extra["x"]) != `"y"` {
			t.Fatalf("%+v, %v", md, err)
		}
		md.TokenEndpoint, md.Scopes[0], md.Extra["x"][1] = "changed", "changed", 'z'
		md.Extra["more"] = nil
	}
}

// TestErrorsUnwrap: what a transport said is found.
func TestErrorsUnwrap(t *testing.T) {
	down := errors.New("down")
	w := new(web)
	w.set(issuer+"/.well-known/oauth-authorization-server", page{err: down})
	_, err := w.client().Find(t.Context(), issuer)
	if !errors.Is(err, down) || len(w.requests()) != 1 {
		t.Errorf("%v", err)
	}
	wantErr(t, err, issuer+"/.well-known/oauth-authorization-server: down")
}

func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{good, rfc8414, openIDDiscovery, with(`"scopes_supported":"a b"`), with(`"revocation_endpoint":"http://x"`), "", "{", "null", "\xef\xbb\xbf{}"} {
		f.Add(seed, "max-age=60")
	}
	f.Fuzz(func(t *testing.T, body, cacheControl string) {
		w := oneServer("Cache-Control: "+strings.ReplaceAll(cacheControl, "\n", " "), body)
		md, err := w.client().Find(t.Context(), issuer)
		if (md == nil) == (err == nil) {
			t.Fatalf("%v, %v", md, err)
		}
		if err != nil {
			return
		}
		if md.Issuer != issuer || md.TokenEndpoint == "" {
			t.Errorf("%+v", md)
		}
		for _, e := range []string{md.TokenEndpoint, md.AuthorizationEndpoint, md.RevocationEndpoint, md.DeviceAuthorizationEndpoint, md.RegistrationEndpoint} {
			if e != "" && !strings.HasPrefix(strings.ToLower(e), "https://") {
				t.Errorf("endpoint %q", e)
			}
		}
	})
}
