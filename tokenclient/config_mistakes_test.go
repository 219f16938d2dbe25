package tokenclient_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A mistake is a Config that can never work, the field that the error must name, and what
// it must say to write there.
type mistake struct {
	name          string
	change        func(*tokenclient.Config)
	field, remedy string
}

// inOAuth2 is a mistake in an OAuth2Refresher that is full of secrets, and right otherwise.
func inOAuth2(name, field, remedy string, change func(*tokenclient.OAuth2Refresher)) mistake {
	return mistake{"OAuth2Refresher, " + name, func(c *tokenclient.Config) {
		r := &tokenclient.OAuth2Refresher{
			TokenURL:      "https://auth.example.com/token?key=planted",
			RevocationURL: "https://auth.example.com/revoke?key=planted",
			ClientAuth:    tokenclient.ClientSecretPost("app", plantedSecret),
			Params:        url.Values{"audience": {"planted"}},
		}
		change(r)
		c.Refresher = r
	}, "Config.Refresher: OAuth2Refresher." + field, remedy}
}

// inJSON is a mistake in a JSONRefresher.
func inJSON(name, field, remedy string, change func(*tokenclient.JSONRefresher)) mistake {
	return mistake{"JSONRefresher, " + name, func(c *tokenclient.Config) {
		r := &tokenclient.JSONRefresher{TokenURL: "https://api.example.com/refresh?key=planted"}
		change(r)
		c.Refresher = r
	}, "Config.Refresher: JSONRefresher." + field, remedy}
}

// withAuth is a mistake in what makes a ClientAuth.
func withAuth(name, who, remedy string, auth tokenclient.ClientAuth) mistake {
	return inOAuth2(name, "ClientAuth: ", remedy, func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = auth }).saying(who)
}

// saying is m, whose error must name who as well.
func (m mistake) saying(who string) mistake { m.field += who; return m }

// inAudience is a mistake in the second of two audiences.
func inAudience(name, field, remedy string, change func(*tokenclient.Audience)) mistake {
	return mistake{"Audience, " + name, func(c *tokenclient.Config) {
		c.Audiences = []tokenclient.Audience{
			{Name: "mail", Refresher: c.Refresher, Origins: []string{"https://mail.example.com"}},
			{Name: "files", Refresher: c.Refresher, Origins: []string{"https://files.example.com"}},
		}
		change(&c.Audiences[1])
	}, "Config.Audiences" + field, remedy}
}

// withRenewed and the like set one field.
func withRenewed(name string) func(*tokenclient.Config) {
	return func(c *tokenclient.Config) { c.Renewed = tokenclient.RenewedHeader(name) }
}

func withAttacher(a tokenclient.Attacher) func(*tokenclient.Config) {
	return func(c *tokenclient.Config) { c.Attacher = a }
}

func withRefresher(r tokenclient.Refresher) func(*tokenclient.Config) {
	return func(c *tokenclient.Config) { c.Refresher = r }
}

// badURLs are URLs of no endpoint, and how the right one is written.
var badURLs = map[string]string{
	"":                                     "is empty; write it like \"https://auth.example.com/token\"",
	"auth.example.com/token?key=planted":   "begin with https:// or http://; write it like \"https://",
	"auth.example.com:443/token":           "begin with https:// or http://; write it like \"https://",
	"http://auth.example.com/?key=planted": "(InsecureHTTP allows it); write it like \"https://",
	"ftp://auth.example.com/?key=planted":  "begin with https:// or http://; write it like \"https://",
	"https:///token?key=planted":           "has no host; write it like \"https://",
	"https://u:planted@auth.example.com":   "has user information in it; write it like \"https://",
	"https://auth.example.com/#planted":    "has a fragment; write it like \"https://",
	"https://auth.example.com/{planted}":   "has a placeholder in it, in angle brackets or braces; write it like \"https://",
	"https://<planted>.example.com/token":  "has a placeholder in it, in angle brackets or braces; write it like \"https://",
	"https://auth.example.com/planted ":    "has a space in it; write it like \"https://",
	"https://auth.example.com/planted\n":   "is not a URL; write it like \"https://",
	"https://auth.example.com:99999/x":     "has a port that is not one of 1 to 65535; write it like \"https://",
	"https://*.example.com/planted":        "has a wildcard for its host; write it like \"https://",
}

func mistakes() []mistake {
	list := []mistake{
		{"RenewedHeader without a name", withRenewed(""), "Config.Renewed", `RenewedHeader("X-Auth-Token")`},
		{"RenewedHeader of no name", withRenewed("X planted"), "Config.Renewed", `RenewedHeader("X-Auth-Token")`},
		{"RenewedHeader, no Refresher", func(c *tokenclient.Config) { withRenewed("X:")(c); c.Refresher = nil }, "Config.Renewed", `RenewedHeader("X-Auth-Token")`},
		{"timeout without a unit", func(c *tokenclient.Config) { c.RefreshTimeout = 20 }, "Config.RefreshTimeout is 20ns", "20*time.Second"},
		{"window without a unit", func(c *tokenclient.Config) { c.RefreshBefore = 300 }, "Config.RefreshBefore is 300ns", "20*time.Second"},
		{"heartbeat without a unit", func(c *tokenclient.Config) { c.Heartbeat = 60_000 }, "Config.Heartbeat is 60µs", "20*time.Second"},
		{"Logger without a Handler", func(c *tokenclient.Config) { c.Logger = new(slog.Logger) }, "Config.Logger", "slog.New"},
		{"origin without a port", func(c *tokenclient.Config) { c.Origins = []string{"https://a:0"} }, "Config.Origins", "https://api.example.com"},
		{"origin of a placeholder", func(c *tokenclient.Config) { c.Origins = []string{"https://<tenant>"} }, "Config.Origins", "https://api.example.com"},
		{"token as a header", withAttacher(tokenclient.HeaderAttacher("Bearer planted")), "Config.Attacher", `HeaderAttacher("X-Auth-Token")`},
		{"Host", withAttacher(tokenclient.HeaderAttacher("host")), `Config.Attacher: HeaderAttacher("Host")`, "X-Auth-Token"},
		{"Content-Length", withAttacher(tokenclient.HeaderAttacher("Content-Length")), "Config.Attacher", "X-Auth-Token"},
		{"Attacher says so", withAttacher(sayingAttacher{}), "Config.Attacher: Key is empty", "set it"},
		{"Refresher says so", withRefresher(sayingRefresher{errors.New("Vault is nil; set it")}), "Config.Refresher: Vault is nil", "set it"},
		{"Refresher shows a URL", withRefresher(sayingRefresher{&url.Error{Op: "parse", URL: "https://v/?key=planted", Err: io.EOF}}), "Config.Refresher: ", `"https://v/"`},
		{"embedded, empty", withRefresher(&wrapsOAuth2{&tokenclient.OAuth2Refresher{}}), "Config.Refresher: OAuth2Refresher.TokenURL is empty; write it like", "if a *tokenclient_test.wrapsOAuth2 can do without, have its own method Validate say so"},
		{"embedded, nil", withRefresher(&wrapsOAuth2{}), "Config.Refresher: the *OAuth2Refresher is nil", "make one with a TokenURL and a ClientAuth"},
		{"embedded, nil JSON", withRefresher(&wrapsJSON{}), "Config.Refresher: the *JSONRefresher is nil", "make one with a TokenURL"},
		{"asks the one inside", withRefresher(asksInside{&tokenclient.JSONRefresher{}}), "Config.Refresher: JSONRefresher.TokenURL", "write it like"},

		inOAuth2("nil ClientAuth", "ClientAuth is nil", "PublicClient(id)", func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = nil }),
		inOAuth2("typed nil ClientAuth", "ClientAuth holds a nil pointer", "assign one", func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = (*sayingAuth)(nil) }),
		inOAuth2("ClientAuth says so", "ClientAuth: no key", "set it", func(r *tokenclient.OAuth2Refresher) { r.ClientAuth = new(sayingAuth) }),
		withAuth("no id", "PublicClient has an empty client id", "client_id under which the server knows", tokenclient.PublicClient("")),
		withAuth("basic, no id", "ClientSecretBasic has an empty client id", "client_id under which the server knows", tokenclient.ClientSecretBasic("", plantedSecret)),
		withAuth("post, no id", "ClientSecretPost has an empty client id", "client_id under which the server knows", tokenclient.ClientSecretPost("", plantedSecret)),
		withAuth("basic, no secret", "ClientSecretBasic has an empty client secret", "PublicClient(id)", tokenclient.ClientSecretBasic("app", "")),
		withAuth("post, no secret", "ClientSecretPost has an empty client secret", "PublicClient(id)", tokenclient.ClientSecretPost("app", "")),
		withAuth("line after the id", "the client id of PublicClient", "strings.TrimSpace", tokenclient.PublicClient("planted\n")),
		withAuth("line after the secret", "the client secret of ClientSecretBasic", "strings.TrimSpace", tokenclient.ClientSecretBasic("app", plantedSecret+"\r\n")),
		withAuth("line after the secret, post", "the client secret of ClientSecretPost", "strings.TrimSpace", tokenclient.ClientSecretPost("app", plantedSecret+"\n")),
		inOAuth2("blank scope", "Scope is blank", "leave it empty", func(r *tokenclient.OAuth2Refresher) { r.Scope = " " }),
		inOAuth2("two lines of scope", "Scope has a control character", `"read write"`, func(r *tokenclient.OAuth2Refresher) { r.Scope = "read\nwrite" }),
		inOAuth2("no encoding", "Encoding is 7, which is none", "JSONEncoding", func(r *tokenclient.OAuth2Refresher) { r.Encoding = 7 }),
		inOAuth2("nil Grant", "Grant holds a nil pointer", "assign one", func(r *tokenclient.OAuth2Refresher) { r.Grant = (*pointerGrant)(nil) }),
		inOAuth2("Grant says so", "Grant: Assertion is nil", "set it", func(r *tokenclient.OAuth2Refresher) { r.Grant = new(pointerGrant) }),
		inOAuth2("clash in the request", `Request.AccessToken and RefreshToken clash at "token"`, "a member of its own", func(r *tokenclient.OAuth2Refresher) {
			r.Request = tokenclient.RequestFields{AccessToken: "token", RefreshToken: "token"}
		}),
		inOAuth2("own name of the refresh token", "Params must not hold token", "each refresh sends the session's own", func(r *tokenclient.OAuth2Refresher) {
			r.Request.RefreshToken, r.Params = "token", url.Values{"token": {"x"}}
		}),
		inJSON("grant_type twice", "Params must not hold grant_type", "the Grant sends it", func(r *tokenclient.JSONRefresher) {
			r.Grant, r.Params = madeUpGrant{}, url.Values{"grant_type": {"x"}}
		}),
		inJSON("client_id twice", "Params must not hold client_id", "set JSONRefresher.ClientAuth", func(r *tokenclient.JSONRefresher) {
			r.ClientAuth, r.Params = tokenclient.PublicClient("app"), url.Values{"client_id": {"x"}}
		}),
		inOAuth2("nil Transport", "HTTPClient.Transport holds a nil pointer", "leave it nil", func(r *tokenclient.OAuth2Refresher) {
			r.HTTPClient = &http.Client{Transport: (*http.Transport)(nil)}
		}),
		inOAuth2("nil Jar", "HTTPClient.Jar holds a nil pointer", "leave it nil", func(r *tokenclient.OAuth2Refresher) {
			r.HTTPClient = &http.Client{Jar: (*cookiejar.Jar)(nil)}
		}),

		{"no scheme", withAttacher(tokenclient.Bearer{Schemes: "Custom a,b"}), "Config.Attacher: Bearer.Schemes has \"a,b\"", "write it like"},
		inAudience("no name", "[1].Name is empty", "stored under that", func(a *tokenclient.Audience) { a.Name = "" }),
		inAudience("same name", `[1].Name is "mail"`, "give each its own", func(a *tokenclient.Audience) { a.Name = "mail" }),
		inAudience("no Refresher", "[1].Refresher is nil", "copy of Config.Refresher", func(a *tokenclient.Audience) { a.Refresher = nil }),
		inAudience("Refresher says so", "[1].Refresher: JSONRefresher.TokenURL is empty", "write it like", func(a *tokenclient.Audience) { a.Refresher = new(tokenclient.JSONRefresher) }),
		inAudience("no origin", "[1].Origins is empty", "list where", func(a *tokenclient.Audience) { a.Origins = nil }),
		inAudience("same origin", "[1].Origins has https://mail.example.com", "two tokens", func(a *tokenclient.Audience) { a.Origins = []string{"https://mail.example.com"} }),
		inAudience("same origin in another spelling", "[1].Origins has https://MAIL.example.com:443", "two tokens", func(a *tokenclient.Audience) { a.Origins = []string{"https://MAIL.example.com:443"} }),
		inAudience("origin of the login in another spelling", "[1].Origins has https://API.example.com:443", "two tokens", func(a *tokenclient.Audience) { a.Origins = []string{"https://API.example.com:443"} }),
		inAudience("same origin with a password and a key", "[1].Origins has a.example.com/?…, which", "two tokens", func(a *tokenclient.Audience) {
			a.Origins = []string{"https://u:" + plantedSecret + "@a.example.com/?key=" + plantedSecret}
			a.Origins = append(a.Origins, a.Origins...)
		}),
		inAudience("nil Attacher", "[1].Attacher holds a nil pointer", "assign one", func(a *tokenclient.Audience) { a.Attacher = (*pointerAttacher)(nil) }),
		{"Audience, Renewed", func(c *tokenclient.Config) {
			c.Renewed = tokenclient.RenewedHeader("X-Auth-Token")
			c.Audiences = []tokenclient.Audience{{Name: "mail", Refresher: c.Refresher, Origins: []string{"https://mail.example.com"}}}
		}, "Config.Audiences needs a Refresher", "no Renewed"},
		inJSON("nil Attacher", "Attacher holds a nil pointer", "assign one", func(r *tokenclient.JSONRefresher) { r.Attacher = (*pointerAttacher)(nil) }),
		inJSON("no header", "Attacher: HeaderAttacher(\"\")", "X-Auth-Token", func(r *tokenclient.JSONRefresher) { r.Attacher = tokenclient.HeaderAttacher("") }),
		inJSON("Host", "Attacher: HeaderAttacher(\"Host\")", "X-Auth-Token", func(r *tokenclient.JSONRefresher) { r.Attacher = tokenclient.HeaderAttacher("Host") }),
		inJSON("Idempotency-Key", "Attacher: HeaderAttacher(\"Idempotency-Key\")", "name another header", func(r *tokenclient.JSONRefresher) { r.Attacher = tokenclient.HeaderAttacher("idempotency-key") }),
		inJSON("Attacher says so", "Attacher: Key is empty", "set it", func(r *tokenclient.JSONRefresher) { r.Attacher = sayingAttacher{} }),
		inJSON("clash in the request", `Request.AccessToken and RefreshToken clash at "token"`, "a member of its own", func(r *tokenclient.JSONRefresher) {
			r.Request = tokenclient.RequestFields{AccessToken: "token", RefreshToken: "token.refresh"}
		}),
		inJSON("dot in the request", `Request.RefreshToken is "data."`, `"data.token"`, func(r *tokenclient.JSONRefresher) { r.Request.RefreshToken = "data." }),
		inJSON("clash in the answer", `Response.AccessToken and RefreshToken clash at "token"`, "a member of its own", func(r *tokenclient.JSONRefresher) {
			r.Response = tokenclient.JSONFields{AccessToken: "token", RefreshToken: "token"}
		}),
		inJSON("clash with what is not set", `Response.ExpiresIn and RefreshExpiresIn clash at "expires_in"`, "a member of its own", func(r *tokenclient.JSONRefresher) { r.Response.RefreshExpiresIn = "expires_in" }),
		inJSON("clash of times", `Response.AbsoluteExpiry and RefreshAbsoluteExpiry clash at "till"`, "a member of its own", func(r *tokenclient.JSONRefresher) {
			r.Response.AbsoluteExpiry, r.Response.RefreshAbsoluteExpiry = "till", "till"
		}),
		inJSON("clash of a time and a lifetime", `Response.ExpiresIn and AbsoluteExpiry clash at "expires_in"`, "a member of its own", func(r *tokenclient.JSONRefresher) {
			r.Response.AbsoluteExpiry = "expires_in"
		}),
		inJSON("clash of an object", `Response.AccessToken and TokenType clash at "data"`, "a member of its own", func(r *tokenclient.JSONRefresher) {
			r.Response = tokenclient.JSONFields{AccessToken: "data", TokenType: "data.type"}
		}),
		inJSON("dot in the answer", `Response.ExpiresIn is "a..b"`, `"data.token"`, func(r *tokenclient.JSONRefresher) { r.Response.ExpiresIn = "a..b" }),
		inJSON("nil Transport", "HTTPClient.Transport holds a nil pointer", "leave it nil", func(r *tokenclient.JSONRefresher) {
			r.HTTPClient = &http.Client{Transport: sessiontest.RoundTrip(nil)}
		}),
	}
	for bad, remedy := range badURLs {
		list = append(list,
			inOAuth2("TokenURL "+bad, "TokenURL ", remedy, func(r *tokenclient.OAuth2Refresher) { r.TokenURL = bad }),
			inJSON("URL "+bad, "TokenURL ", remedy, func(r *tokenclient.JSONRefresher) { r.TokenURL = bad }))
		if bad != "" {
			list = append(list, inOAuth2("RevocationURL "+bad, "RevocationURL ", remedy, func(r *tokenclient.OAuth2Refresher) { r.RevocationURL = bad }))
		}
	}
	for name, remedy := range map[string]string{
		"grant_type": "each refresh sends it", "refresh_token": "each refresh sends the session's own", "client_id": "PublicClient(id)",
		"client_secret": "ClientSecretPost(id, secret)", "scope": "OAuth2Refresher.Scope sends it", "": "delete it",
	} {
		list = append(list, inOAuth2("Params "+name, "Params must not hold "+name, remedy, func(r *tokenclient.OAuth2Refresher) {
			r.Scope = "read"
			r.Params.Set(name, plantedSecret)
		}))
	}
	return list
}

// wrapsOAuth2 and wrapsJSON have a Refresh of their own, and the Validate of what they embed.
type wrapsOAuth2 struct{ *tokenclient.OAuth2Refresher }

func (w *wrapsOAuth2) Refresh(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	return w.OAuth2Refresher.Refresh(ctx, old)
}

type wrapsJSON struct{ *tokenclient.JSONRefresher }

// needsNoURL refreshes by other means than what it embeds, and says so.
type needsNoURL struct{ tokenclient.OAuth2Refresher }

func (*needsNoURL) Refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	return nil, tokenclient.ErrNotPresented
}

func (*needsNoURL) Validate() error { return nil }

// asksInside passes the question on.
type asksInside struct{ tokenclient.Refresher }

func (a asksInside) Validate() error {
	if v, ok := a.Refresher.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// sayingRefresher, sayingAttacher and sayingAuth say themselves what is wrong.
type sayingRefresher struct{ err error }

func (r sayingRefresher) Validate() error { return r.err }

func (sayingRefresher) Refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	return nil, tokenclient.ErrNotPresented
}

type sayingAttacher struct{ tokenclient.Bearer }

func (sayingAttacher) Validate() error { return errors.New("Key is empty; set it") }

type sayingAuth struct{ endpointAuth }

func (*sayingAuth) Validate() error { return errors.New("no key; set it") }

// pointerGrant is a Grant that says what it lacks.
type pointerGrant struct{}

func (*pointerGrant) Params(context.Context, *tokenclient.Token) (url.Values, error) { return nil, nil }
func (*pointerGrant) Validate() error                                                { return errors.New("Assertion is nil; set it") }
