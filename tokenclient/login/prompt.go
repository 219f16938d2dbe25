package login

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/contain"
)

// A Prompt is what a person has to do to log in. It prints as a text for that one, of
// characters that are safe in a terminal.
type Prompt struct {
	// URL is the page to open: in a browser on this machine for [Browser], on any machine for
	// [Device].
	URL string

	// UserCode is what to type there. It is empty in Browser.
	UserCode string

	// CompleteURL is URL with the UserCode in it, for a link or a QR code (RFC 8628, section
	// 3.3.1). The UserCode has to be shown all the same, for the person to compare. It is
	// empty in Browser, and if the server has none.
	CompleteURL string

	// Expiry is when the login ends by itself.
	Expiry time.Time
}

// String says what there is to do, in some lines.
func (p Prompt) String() string {
	if p.UserCode == "" {
		return "To log in, open this address in a browser on this machine:\n\n    " + p.URL + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "To log in, open this address on any device:\n\n    %s\n\nand type the code\n\n    %s\n", p.URL, p.UserCode)
	if p.CompleteURL != "" {
		fmt.Fprintf(&b, "\nThis address has the code in it; compare the two:\n\n    %s\n", p.CompleteURL)
	}
	return b.String()
}

// prompt is Config.Prompt if that is nil.
func prompt(ctx context.Context, p Prompt) error {
	text := p.String()
	if p.UserCode == "" && OpenBrowser(ctx, p.URL) == nil {
		text = "A browser has opened the page to log in. If it has not, open this address in a browser on this machine:\n\n    " + p.URL + "\n"
	}
	if ctx.Err() != nil {
		return nil // the login is over: nobody has to open anything
	}
	if _, err := fmt.Fprintln(os.Stderr, text); err != nil && p.UserCode != "" {
		return fmt.Errorf("cannot write the code: %w", err)
	}
	return nil
}

// promptGrace is how long a Prompt may take to return after its context has ended.
const promptGrace = time.Second

// errOver ends the context of a Prompt.
var errOver = errors.New("the login is over")

// asking calls login while the person is asked by p. The context of both ends with ctx, with
// the timeout, or if Prompt fails. Its cause is the error for login to return then.
func (c *Config) asking(ctx context.Context, p Prompt, timeout time.Duration, login func(waiting context.Context) error) error {
	ask := c.Prompt
	if ask == nil {
		ask = prompt
	}
	ended, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, func() { cancel(fmt.Errorf("login: %w", ctx.Err())) })()
	waiting, stop := context.WithTimeoutCause(ended, timeout, ErrNotFinished)
	defer stop()
	p.Expiry = time.Now().Add(timeout).Round(0)
	broken := func(err *contain.Error) error {
		cancel(fmt.Errorf("login: %w", err))
		return err
	}
	asked := contain.Go("Config.Prompt", broken, func() (struct{}, error) {
		err := ask(waiting, p)
		if err != nil {
			cancel(fmt.Errorf("login: Config.Prompt: %w", err))
		}
		return struct{}{}, err
	})
	err := login(waiting)
	cancel(errOver)
	asked.Wait(waiting, promptGrace)
	return err
}
