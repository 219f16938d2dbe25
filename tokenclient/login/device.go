package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const (
	// deviceGrant is the grant type of RFC 8628, section 3.4.
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

	// pollInterval is how often to ask if the server does not say (RFC 8628, section 3.2), and
	// slowDown what each slow_down adds to it (section 3.5).
	pollInterval = 5 * time.Second
	slowDown     = 5 * time.Second

	// maxBackoff is the longest wait after a call without an answer.
	maxBackoff = time.Minute

	// deviceLifetime is how long a code lives if the server does not say.
	deviceLifetime = 15 * time.Minute

	maxUserCode = 64
	maxURL      = 2048
)

// Device logs s in by a browser on any machine: it has the person open a page there and type
// a code, and asks the server until that is done (RFC 8628). It is for programs without a
// browser beside them, and opens no port.
//
// It asks as often as the server says, five seconds less often after each slow_down, and
// after each call without an answer with twice the wait, until there is one, up to a minute.
//
// Results are those of [Browser], but that no error is a [*ResponseError], and that ErrDenied
// and ErrNotFinished are a [*tokenclient.TokenError] too where the server said so. ErrNotFinished
// says how the last call failed, if the server could not be asked to the end.
func Device(ctx context.Context, s *tokenclient.Session, c Config) error {
	cl, err := c.client(ctx, s)
	if err != nil {
		return err
	}
	if err := cl.checkEndpoint("DeviceAuthorizationEndpoint", cl.metadata.DeviceAuthorizationEndpoint); err != nil {
		return err
	}
	ctx, _, err = cl.bind(ctx)
	if err != nil {
		return err
	}
	d, err := cl.deviceCode(ctx)
	if err != nil {
		return err
	}
	timeout := d.lifetime
	if c.Timeout > 0 {
		timeout = min(timeout, c.Timeout)
	}
	return c.asking(ctx, d.prompt, timeout, func(waiting context.Context) error {
		t, err := cl.poll(waiting, d)
		if err != nil {
			return err
		}
		return cl.hand(ctx, s, t)
	})
}

// A device is what the server answered (RFC 8628, section 3.2).
type device struct {
	code     string
	prompt   Prompt
	lifetime time.Duration
	interval time.Duration
}

// deviceCode begins a login. The request is one of a token endpoint in all but the names:
// the device code is as secret as a token, and lives as long as the answer says.
func (cl *client) deviceCode(ctx context.Context) (*device, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r := *cl.refresher
	r.TokenURL = cl.metadata.DeviceAuthorizationEndpoint
	r.Binder = nil // nothing is bound before there is a token
	r.Response = tokenclient.JSONFields{AccessToken: "device_code"}
	sent := maps.Clone(cl.params)
	if cl.scope != "" {
		sent.Set("scope", cl.scope)
	}
	t, err := r.Login(ctx, sent)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	d := &device{code: t.AccessToken, lifetime: deviceLifetime, interval: pollInterval}
	if !t.Expiry.IsZero() {
		d.lifetime = t.Expiry.Sub(t.Issued)
	}
	if n, err := strconv.ParseFloat(fmt.Sprint(t.Extra["interval"]), 64); err == nil && n >= 1 && n <= deviceLifetime.Seconds() {
		d.interval = time.Duration(n * float64(time.Second))
	}
	d.prompt.UserCode = text(t, "user_code")
	d.prompt.URL = cmp.Or(text(t, "verification_uri"), text(t, "verification_url")) // as Google has it
	d.prompt.CompleteURL = text(t, "verification_uri_complete")
	if err := cl.checkPrompt(&d.prompt); err != nil {
		return nil, fmt.Errorf("login: the answer of %s %w", endpoint.Name(r.TokenURL), err)
	}
	return d, nil
}

func text(t *tokenclient.Token, name string) string {
	s, _ := t.Extra[name].(string)
	return s
}

// checkPrompt reports why p is not for a person to see. A CompleteURL that is not is dropped:
// it is a convenience.
func (cl *client) checkPrompt(p *Prompt) error {
	switch {
	case p.UserCode == "" || p.URL == "":
		return errors.New("has no user_code, or no verification_uri")
	case p.UserCode != redact.Clean(p.UserCode, maxUserCode):
		return errors.New("has a user_code that is too long, or does not print")
	case !cl.canOpen(p.URL):
		return errors.New("has a verification_uri that nobody should open: it is to be https")
	case !cl.canOpen(p.CompleteURL):
		p.CompleteURL = ""
	}
	return nil
}

// canOpen reports whether rawURL is one to log in at, and safe in a terminal.
func (cl *client) canOpen(rawURL string) bool {
	call := endpoint.Call{URL: rawURL, InsecureHTTP: cl.refresher.InsecureHTTP}
	return rawURL == redact.Clean(rawURL, maxURL) && call.Check() == nil
}

// poll asks for the token until there is one, or waiting ends.
func (cl *client) poll(waiting context.Context, d *device) (*tokenclient.Token, error) {
	params := url.Values{"grant_type": {deviceGrant}, "device_code": {d.code}}
	var failed error // of the last call; nil: it had an answer
	for wait := d.interval; ; {
		if !sleep(waiting, wait) {
			return nil, ended(waiting, failed)
		}
		t, err := cl.exchange(waiting, params)
		var refused *tokenclient.TokenError
		switch {
		case err == nil:
			return t, nil
		case waiting.Err() != nil:
			return nil, ended(waiting, failed)
		case !errors.As(err, &refused):
			return nil, fmt.Errorf("login: %w", err)
		}
		switch refused.Code { // RFC 8628, section 3.5
		case "authorization_pending":
			failed, wait = nil, d.interval
		case "slow_down":
			d.interval += slowDown
			failed, wait = nil, d.interval
		case "access_denied":
			return nil, fmt.Errorf("%w: %w", ErrDenied, err)
		case "expired_token":
			return nil, fmt.Errorf("%w: %w", ErrNotFinished, err)
		default:
			if !refused.Temporary() || refused.StatusCode != 0 && refused.StatusCode < 300 { // the code is spent
				return nil, fmt.Errorf("login: %w", err)
			}
			failed, wait = err, max(min(2*wait, maxBackoff), d.interval)
		}
		wait = max(wait, refused.RetryAfter)
	}
}

// ended is why a login ends with waiting. If the server could not be asked, the person may
// have logged in all the same. That failure is shown, but is not what the error is: a call's
// deadline is not the caller's.
func ended(waiting context.Context, failed error) error {
	err := context.Cause(waiting)
	if failed != nil && errors.Is(err, ErrNotFinished) {
		err = fmt.Errorf("%w; the last call failed: %s", err, failed.Error())
	}
	return err
}

// sleep waits, and reports whether ctx has not ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
