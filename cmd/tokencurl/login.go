package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
	"github.com/spf13/cobra"
)

// A loginCall is a call of the login command.
type loginCall struct {
	*tool
	profile                     profile
	origins                     []string
	password, device, browser   bool
	user                        string
	passwordStdin, printAddress bool
	redirectURL                 string
	timeout                     time.Duration
	verbose                     bool
	story                       *story
}

func (t *tool) loginCommand() *cobra.Command {
	l := &loginCall{tool: t}
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Begin a session: by a browser, a device code, or a password",
		Long: `login begins a session, or begins it anew. Where and how is remembered:
"tokencurl login" alone logs in again as the last time.`,
		Example: `  tokencurl login --issuer https://auth.example.com --client-id my-cli --origin https://api.example.com
  tokencurl login --device --issuer https://auth.example.com --client-id my-cli --origin https://api.example.com
  tokencurl login --password --login-url https://api.example.com/login --refresh-url https://api.example.com/token/refresh`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return l.run(cmd.Context(), cmd.Flags().Changed)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&l.browser, "browser", false, "by a browser on this machine, with PKCE: the default")
	f.BoolVar(&l.device, "device", false, "by a code that is typed in a browser anywhere (RFC 8628)")
	f.BoolVar(&l.password, "password", false, "by user name and password, at --login-url")
	f.StringArrayVar(&l.origins, "origin", nil, "an `origin` that the token may go to; required but with --login-url, whose own it is then")
	f.StringVar(&l.profile.Issuer, "issuer", "", "the `URL` of the authorization server, which says where its endpoints are (RFC 8414, OpenID Connect)")
	f.StringVar(&l.profile.ClientID, "client-id", "", "the `id` of this program there")
	f.StringVar(&l.profile.SecretEnv, "client-secret-env", "", "the environment `variable` with the client's secret, if it has one; also needed later")
	f.StringVar(&l.profile.Scope, "scope", "", "`scopes` to ask for, separated by spaces, such as 'openid offline_access'")
	f.StringVar(&l.profile.TokenURL, "token-url", "", "the token endpoint's `URL`, in place of --issuer")
	f.StringVar(&l.profile.AuthURL, "auth-url", "", "the authorization endpoint's `URL`, for --browser")
	f.StringVar(&l.profile.DeviceURL, "device-url", "", "the device authorization endpoint's `URL`, for --device")
	f.StringVar(&l.profile.RevokeURL, "revoke-url", "", "the revocation endpoint's `URL`: a form as RFC 7009 has it; with --refresh-url, the refresh token as JSON")
	f.StringVar(&l.profile.LoginURL, "login-url", "", "the `URL` that takes the password as JSON")
	f.StringVar(&l.profile.RefreshURL, "refresh-url", "", "the `URL` that takes the refresh token as JSON")
	f.StringVarP(&l.user, "user", "u", "", "the user's `name`; asked for if it is missing")
	f.BoolVar(&l.passwordStdin, "password-stdin", false, "read the password from standard input")
	f.StringVar(&l.profile.Header, "token-header", "", "the `header` that carries the bare token, such as X-Auth-Token, in place of Authorization")
	f.StringVar(&l.profile.Key, "key", "", "what seals the session: file, file:PATH, env:NAME, keyring, or "+keyPlaintext)
	f.BoolVar(&l.printAddress, "no-open", false, "with --browser, print the address and open nothing")
	f.StringVar(&l.redirectURL, "redirect-url", "", "the `URL` on this machine that the server knows for --browser")
	f.DurationVar(&l.timeout, "timeout", 0, "how long the person has")
	f.DurationVar(&l.profile.RefreshTimeout, "refresh-timeout", 0, "how long one refresh may take; 20s if it is not set")
	f.BoolVarP(&l.verbose, "verbose", "v", false, "tell what happens, without secrets")
	cmd.MarkFlagsMutuallyExclusive("browser", "device", "password")
	cmd.MarkFlagsMutuallyExclusive("issuer", "token-url", "login-url")
	// What would be ignored is refused: whoever names a place to revoke at counts on it.
	for _, flag := range []string{"auth-url", "device-url", "revoke-url"} {
		cmd.MarkFlagsMutuallyExclusive("issuer", flag)
	}
	for _, flag := range []string{"client-id", "client-secret-env", "scope", "auth-url", "device-url"} {
		cmd.MarkFlagsMutuallyExclusive("login-url", flag)
	}
	_ = cmd.RegisterFlagCompletionFunc("key", cobra.FixedCompletions([]string{keyFile, keyFile + ":", keyEnv, keyKeyring, keyPlaintext}, cobra.ShellCompDirectiveNoSpace))
	return cmd
}

// run logs in, and replaces what the session was before once that has gone well.
func (l *loginCall) run(ctx context.Context, given func(flag string) bool) (err error) {
	if err := checkName(l.name); err != nil {
		return err
	}
	home, err := l.home()
	if err != nil {
		return err
	}
	before, err := readProfile(home, l.name)
	switch {
	case errors.Is(err, errProfile) && saysWhere(given):
		fmt.Fprintf(l.err, "tokencurl: the login before this one is not ended: %s cannot be understood\n", profilePath(home, l.name))
	case err != nil && !errors.Is(err, errNoSession):
		return err
	}
	p, err := l.settle(before, given)
	if err != nil {
		return err
	}
	if l.verbose {
		l.story = newStory(l.err)
	}
	c, err := p.connect(home, l.name, l.story, true)
	if err != nil {
		return err
	}
	defer c.close(ctx, &err)
	if err := l.logIn(ctx, c); err != nil {
		return err
	}
	other := before == nil || before.record(l.name) != p.record(l.name)
	// The profile is what makes this login the session. Until it is written the one before
	// is, so that is ended only then, whatever ends this process in between.
	if err := p.write(home, l.name); err != nil {
		if other {
			err = errors.Join(err, c.Logout(ctx)) // nobody would find it again
		}
		return err
	}
	if before != nil && other {
		l.endBefore(ctx, home, before)
	}
	token, err := c.Peek(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(l.err, "Logged in: session %q, whose token goes to %s. The access token expires %s.\nIt is %s.\n",
		l.name, strings.Join(p.Origins, ", "), until(&token.Expiry), describeKey(p.Key, home))
	return nil
}

// saysWhere reports whether the flags say where to log in.
func saysWhere(given func(flag string) bool) bool {
	return slices.ContainsFunc([]string{"issuer", "token-url", "login-url", "origin"}, given)
}

// settle is the profile to log in with: the one before, or what the flags say.
func (l *loginCall) settle(before *profile, given func(string) bool) (*profile, error) {
	p := l.profile
	where := saysWhere(given)
	if !where {
		if before == nil {
			return nil, usage(errors.New("say where to log in: --issuer, --token-url or --login-url, as tokencurl login --help shows"))
		}
		for _, flag := range []string{"client-id", "client-secret-env", "scope", "auth-url", "device-url", "revoke-url", "refresh-url", "token-header"} {
			if given(flag) {
				return nil, usage(fmt.Errorf("--%s goes with --issuer, --token-url or --login-url: say all of it anew", flag))
			}
		}
		p = *before
		if given("key") {
			p.Key = l.profile.Key
		}
		if given("refresh-timeout") {
			p.RefreshTimeout = l.profile.RefreshTimeout
		}
	}
	for flag, method := range map[string]string{"browser": byBrowser, "device": byDevice, "password": byPassword} {
		if given(flag) {
			p.Method = method
		}
	}
	if where {
		if err := l.settleWhere(&p); err != nil {
			return nil, err
		}
	}
	if p.Key == "" {
		p.Key = keyFile
	}
	var err error
	p.Key, err = parseKey(p.Key)
	if err == nil && (p.Method == byPassword) != (p.LoginURL != "") {
		err = usage(errors.New("--password and --login-url go together"))
	}
	return &p, err
}

// settleWhere completes a profile that is made of flags.
func (l *loginCall) settleWhere(p *profile) error {
	if p.Method == "" {
		p.Method = byBrowser
		if p.LoginURL != "" {
			p.Method = byPassword
		}
	}
	switch {
	case p.LoginURL != "" && p.RefreshURL == "":
		return usage(errors.New("--login-url needs --refresh-url"))
	case p.LoginURL == "" && p.RefreshURL != "":
		return usage(errors.New("--refresh-url needs --login-url"))
	case p.LoginURL == "" && p.ClientID == "":
		return usage(errors.New("--client-id is missing"))
	case p.Method == byBrowser && p.Issuer == "" && p.AuthURL == "":
		return usage(errors.New("a login by browser needs --auth-url beside --token-url"))
	case p.Method == byDevice && p.Issuer == "" && p.DeviceURL == "":
		return usage(errors.New("a login by device code needs --device-url beside --token-url"))
	}
	origins := l.origins
	if len(origins) == 0 && p.LoginURL != "" {
		u, err := url.Parse(p.LoginURL)
		if err != nil {
			return usage(err)
		}
		origins = []string{u.Scheme + "://" + u.Host}
	}
	if len(origins) == 0 {
		return usage(errors.New("--origin is missing: where may the token go?"))
	}
	for _, o := range origins {
		origin, err := parseOrigin(o)
		if err != nil {
			return usage(err)
		}
		if !slices.Contains(p.Origins, origin) {
			p.Origins = append(p.Origins, origin)
		}
	}
	return nil
}

// logIn gets the session a token.
func (l *loginCall) logIn(ctx context.Context, c *connection) error {
	if c.Method == byPassword {
		return l.byPassword(ctx, c)
	}
	config := login.Config{Refresher: c.refresher, Scope: c.Scope, Timeout: l.timeout, RedirectURL: l.redirectURL}
	if _, asks := c.refresher.(*discovery.Refresher); !asks {
		config.Metadata = c.metadata()
	}
	if c.Method == byDevice {
		return login.Device(ctx, c.Session, config)
	}
	if l.printAddress {
		config.Prompt = func(_ context.Context, p login.Prompt) error {
			_, err := fmt.Fprint(l.err, p.String())
			return err
		}
	}
	return login.Browser(ctx, c.Session, config)
}

// endBefore ends the login that another one takes the place of.
func (l *loginCall) endBefore(ctx context.Context, home string, before *profile) {
	c, err := before.connect(home, l.name, nil, false)
	if err == nil {
		err = c.Logout(ctx)
		c.close(ctx, &err)
	}
	if err != nil {
		fmt.Fprintf(l.err, "tokencurl: the login before this one may not be over at its server: %s\n", said(err))
	}
}
