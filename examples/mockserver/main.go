// Command mockserver is the server of package tokentest as a program: an
// authorization server and an API to try clients against, in any language.
//
//	go run ./examples/mockserver
//	go run ./examples/mockserver -header X-Auth-Token -milliseconds
//	go run ./examples/mockserver -ask # you approve logins in a browser
//	go run ./examples/mockserver -demand 'path=/api/payments&acr_values=mfa'
//	go run ./examples/mockserver -dpop -dpop-api-nonce
//
// It runs until it is interrupted (Ctrl-C, or SIGTERM). At its URL is a page to open in a
// browser, which shows each request as it comes, starts clients, and has a control for most
// knobs (package page). It prints curl lines to try, and at the end what it saw. There is a flag for every knob of
// tokentest.Options that is no function, and for failures; -h lists them.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest/page"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "mockserver:", err)
		os.Exit(1)
	}
}

const defaultAddress = "127.0.0.1:8080"

// A settings value is what the flags say.
type settings struct {
	address        string
	lasts          time.Duration
	user, password string
	ask            bool
	options        tokentest.Options
	failRefresh    int
	failAPI        int
	fault          tokentest.Fault
}

func parse(args []string) (*settings, error) {
	s := &settings{user: "alice", password: "secret"}
	s.fault.Header = http.Header{}
	f := flag.NewFlagSet("mockserver", flag.ContinueOnError)
	f.StringVar(&s.address, "addr", defaultAddress, "listen on `host:port`; port 0 takes a free one, as does the default if it is taken")
	f.DurationVar(&s.lasts, "for", 0, "stop after this time; 0: when interrupted")
	f.Func("user", "who may log in, as `name:password` (default alice:secret)", func(v string) (err error) {
		var ok bool
		if s.user, s.password, ok = strings.Cut(v, ":"); !ok {
			err = errors.New("want name:password")
		}
		return err
	})
	f.BoolVar(&s.ask, "ask", false, "logins wait for you: a page asks at /oauth/authorize, and one at the verification_uri of a device code; default: the user approves all")

	optionFlags(f, &s.options)
	dpop := dpopFlags(f)
	faultFlags(f, s)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	s.options.DPoP = dpop()
	return s, nil
}

func optionFlags(f *flag.FlagSet, o *tokentest.Options) {
	f.BoolVar(&o.HTTP2, "http2", false, "speak HTTP/2 over TLS, with a certificate that nobody trusts")
	f.DurationVar(&o.AccessLifetime, "access-lifetime", 15*time.Minute, "how long access tokens are accepted")
	f.DurationVar(&o.RefreshLifetime, "refresh-lifetime", 30*24*time.Hour, "how long refresh tokens are accepted")
	f.DurationVar(&o.ReuseGrace, "reuse-grace", 0, "how long a spent refresh token may be presented again")
	f.DurationVar(&o.Latency, "latency", 0, "what every call but the API's waits before it takes effect")
	f.DurationVar(&o.ClockSkew, "clock-skew", 0, "added to the server's clock")
	f.BoolVar(&o.NoRotation, "no-rotation", false, "refresh tokens stay valid when they are used")
	f.BoolVar(&o.Opaque, "opaque", false, "tokens are random strings, not JWTs")
	f.BoolVar(&o.NoExpiresIn, "no-expires-in", false, "answers do not say how long tokens live")
	f.BoolVar(&o.Milliseconds, "milliseconds", false, "iat and exp in JWTs are milliseconds")
	f.IntVar(&o.MaxUses, "max-uses", 0, "how often a login can be refreshed; 0: no limit")
	f.StringVar(&o.Header, "header", "", "the header of the bare access token, such as X-Auth-Token; default: Authorization: Bearer")
	f.BoolVar(&o.SlidingHeader, "sliding-header", false, "API answers carry a renewed access token in that header")
	f.StringVar(&o.ClientSecret, "client-secret", "", "what OAuth clients must know; default: they are public")
	f.DurationVar(&o.Lag, "lag", 0, "how long it takes until the API knows of a new access token")
	f.StringVar(&o.Dialect.Scheme, "scheme", "", "the scheme in Authorization that the API wants; default: Bearer")
	f.Func("demand", "what the API wants beyond a good token, a `query` such as path=/api/payments&scope=a+b&acr_values=mfa&max_age=5m&claims={}, of which any part may be left out; may be given more than once", func(v string) error {
		d, err := parseDemand(v)
		o.Demands = append(o.Demands, d)
		return err
	})
}

// parseDemand reads a demand that is written as the query of a URL.
func parseDemand(v string) (d tokentest.Demand, err error) {
	values, err := url.ParseQuery(v)
	for name := range values {
		switch value := values.Get(name); name {
		case "path":
			d.Path = value
		case "scope":
			d.Scope = value
		case "acr_values":
			d.ACRValues = value
		case "max_age":
			if d.MaxAge, err = time.ParseDuration(value); err != nil {
				return d, err
			}
		case "claims":
			d.Claims = value
		default:
			return d, fmt.Errorf("no demand has a %q", name)
		}
	}
	return d, err
}

// dpopFlags returns what the flags about DPoP say once they are parsed, nil if none is given.
func dpopFlags(f *flag.FlagSet) func() *tokentest.DPoP {
	d := new(tokentest.DPoP)
	on := f.Bool("dpop", false, "bind tokens to keys, and demand proofs (RFC 9449), which curl cannot make; so does each of the next five")
	f.BoolVar(&d.TokenNonce, "dpop-token-nonce", false, "proofs for the token endpoints must have a nonce of the server's")
	f.BoolVar(&d.APINonce, "dpop-api-nonce", false, "proofs for the API must")
	f.IntVar(&d.NonceUses, "dpop-nonce-uses", 0, "how often a nonce is taken; 0: as often as one likes")
	f.DurationVar(&d.NonceLifetime, "dpop-nonce-lifetime", 0, "how long a nonce is taken; 0: as long as the server runs")
	f.DurationVar(&d.Window, "dpop-window", 0, "how much a proof's iat may differ from the server's clock; 0: 30s")
	return func() *tokentest.DPoP {
		if !*on && *d == (tokentest.DPoP{}) {
			return nil
		}
		return d
	}
}

func faultFlags(f *flag.FlagSet, s *settings) {
	f.IntVar(&s.failRefresh, "fail-refresh", 0, "how many calls that refresh fail, of which a session makes two if an answer got lost; negative: all")
	f.IntVar(&s.failAPI, "fail-api", 0, "how many API requests fail; negative: all")
	f.IntVar(&s.fault.Status, "fail-status", 0, "the status they get; 0: 500")
	f.StringVar(&s.fault.Body, "fail-body", "", "the body they get")
	f.Func("fail-header", "a header they get, as `name:value`; may be given more than once", func(v string) error {
		name, value, ok := strings.Cut(v, ":")
		if !ok {
			return errors.New("want name:value")
		}
		s.fault.Header.Add(name, strings.TrimSpace(value))
		return nil
	})
	f.BoolVar(&s.fault.Cut, "fail-cut", false, "their connection is cut; with -fail-body after it")
	f.BoolVar(&s.fault.AfterCommit, "fail-after-commit", false, "they take effect first")
}

// run serves until ctx or the time in args ends.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.address)
	if err != nil && s.address == defaultAddress {
		l, err = net.Listen("tcp", "127.0.0.1:0") // somebody has the port
	}
	if err != nil {
		return err
	}
	srv, err := tokentest.Start(l, &s.options)
	if err != nil {
		return err
	}
	defer srv.Close()
	page.Mount(srv)
	srv.AddUser(s.user, s.password)
	if !s.ask {
		srv.Approve(s.user) // logins in a browser and by device code
	}
	srv.FailRefresh(s.failRefresh, s.fault)
	srv.FailAPI(s.failAPI, s.fault)

	until := "until you press Ctrl-C"
	if s.lasts > 0 {
		until = fmt.Sprintf("for %v", s.lasts)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.lasts)
		defer cancel()
	}
	fmt.Fprintf(stdout, "Serving at %s, %s. Open that in a browser to see what happens.\n", srv.URL, until)
	fmt.Fprintf(stdout, "User %s, password %s. Access tokens live %v, refresh tokens %v.\n",
		s.user, s.password, s.options.AccessLifetime, s.options.RefreshLifetime)
	story(stdout, srv, s)
	<-ctx.Done()
	fmt.Fprintf(stdout, "\nStopped. Seen: %+v\n", srv.Counters())
	return nil
}

// story prints lines to paste into a shell, in the order in which they make
// sense.
func story(w io.Writer, srv *tokentest.Server, s *settings) {
	tokens(w, srv, s)
	flags := "-i"
	if s.options.HTTP2 {
		flags = "-ik" // any certificate will do
	}
	line := func(what, arguments, path string) {
		target := srv.URL + path
		if strings.Contains(path, "?") { // a pattern to some shells
			target = quote(target)
		}
		fmt.Fprintf(w, "\n# %s\ncurl %s %s %s\n", what, flags, arguments, target)
	}
	bearer := func(variable string) string {
		if s.options.Header != "" {
			return fmt.Sprintf(`-H %s": $%s"`, quote(s.options.Header), variable)
		}
		return fmt.Sprintf(`-H "Authorization: %s $%s"`, cmp.Or(s.options.Dialect.Scheme, "Bearer"), variable)
	}
	const isJSON = "-H 'Content-Type: application/json' "
	client := "-d client_id=mock"
	if s.options.ClientSecret != "" {
		client = "-u " + quote("mock:"+url.QueryEscape(s.options.ClientSecret)) // RFC 6749, section 2.3.1
	}
	login, err := json.Marshal(map[string]string{"username": s.user, "password": s.password})
	if err != nil {
		panic(err) // strings always marshal
	}

	line("Log in with a password.", isJSON+"-d "+quote(string(login)), "/login")
	if s.ask {
		line("Begin a login by device code; then open the verification_uri, enter the user_code, and approve.",
			client+" -d scope=orders", "/oauth/device")
	}
	line("Call the API; it describes the request.", bearer("ACCESS"), "/api/orders")
	for _, d := range s.options.Demands {
		line("The API may want more here: a refusal says what in its WWW-Authenticate.", bearer("PLAIN"), cmp.Or(d.Path, "/api/orders"))
	}
	line("Send it a body and get that back.", bearer("ACCESS")+" -d hello", "/api/orders?echo=1")
	if s.options.SlidingHeader {
		line("Exchange the access token itself for a new one.", bearer("ACCESS")+" -d ''", "/heartbeat")
	}
	refresh := isJSON + `-d '{"refresh_token":"'$REFRESH'"}'`
	line("Exchange the refresh token.", refresh, "/token/refresh")
	if !s.options.NoRotation && s.options.ReuseGrace == 0 {
		line("Once more: it was spent, so the server revokes all tokens of this login (401).", refresh, "/token/refresh")
		line("The access token went with it (401).", bearer("ACCESS"), "/api/orders")
	}
	line("Exchange the other login's refresh token as OAuth 2.0 has it.",
		client+" -d grant_type=refresh_token -d refresh_token=$REFRESH2", "/oauth/token")
	line("Log it out: end the refresh token and all that came of it.",
		client+" -d token=$REFRESH2", "/oauth/revoke")
	line("Now it is refused (401).", bearer("ACCESS2"), "/api/orders")
}

// tokens prints those that the lines need.
func tokens(w io.Writer, srv *tokentest.Server, s *settings) {
	wanted := wanted(s.options.Demands)
	one, two := srv.IssueFor(s.user, wanted), srv.IssueFor(s.user, wanted)
	if s.options.DPoP != nil {
		fmt.Fprintf(w, "\n# Tokens need a proof by a key (DPoP), which curl cannot make: the API and the token endpoints\n# refuse the lines below for that (400, 401).\n")
	}
	fmt.Fprintf(w, "\n# Two logins' tokens, to paste into a shell along with any line below:\n")
	fmt.Fprintf(w, "ACCESS=%s\nREFRESH=%s\n", one.AccessToken, one.RefreshToken)
	fmt.Fprintf(w, "ACCESS2=%s\nREFRESH2=%s\n", two.AccessToken, two.RefreshToken)
	if len(s.options.Demands) > 0 {
		fmt.Fprintf(w, "\n# A login that was asked for nothing; those two have what is demanded.\nPLAIN=%s\n", srv.Issue(s.user).AccessToken)
	}
}

// wanted is what an authorization request asks for that meets all demands, if one can.
func wanted(demands []tokentest.Demand) url.Values {
	var scopes, claims, acr []string
	for _, d := range demands {
		scopes = append(scopes, strings.Fields(d.Scope)...)
		acr = append(acr, strings.Fields(d.ACRValues)...)
		if d.Claims != "" {
			claims = append(claims, d.Claims)
		}
	}
	params := url.Values{"scope": {strings.Join(scopes, " ")}, "acr_values": {strings.Join(acr, " ")}}
	if len(claims) > 0 {
		params.Set("claims", claims[0])
	}
	return params
}

// quote makes s one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
