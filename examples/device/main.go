// Command device logs in on a machine that has no browser: a television, a printer, a
// server at the other end of SSH. It shows a code, and a person types that on a telephone
// (RFC 8628).
//
//	go run ./examples/device
//
// It brings its own server, and plays the person. It takes some two seconds, as a device
// asks once in a second whether the person is done. What you need in a program of yours is
// connect and logIn; the rest is the story.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// A device is what the program has from its start on.
type device struct {
	session   *tokenclient.Session
	refresher *discovery.Refresher
}

// connect is what the program does when it is switched on. tokens keeps the login until
// then: a store.File in a program of yours.
func connect(issuer, api string, tokens tokenclient.Store) (*device, error) {
	d := &device{refresher: &discovery.Refresher{Issuer: issuer, Make: func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint, ClientAuth: tokenclient.PublicClient("tv")}
	}}}
	var err error
	d.session, err = tokenclient.New(tokenclient.Config{
		Refresher: d.refresher,
		Store:     tokens, Key: "tv",
		Origins: []string{api},
	})
	return d, err
}

// logIn shows a code unless there is a login already, and waits for the person.
func (d *device) logIn(ctx context.Context, show func(login.Prompt) error) error {
	if _, err := d.session.Token(ctx); !errors.Is(err, tokenclient.ErrLoginRequired) {
		return err
	}
	return login.Device(ctx, d.session, login.Config{
		Refresher: d.refresher,
		Prompt:    func(_ context.Context, p login.Prompt) error { return show(p) },
	})
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "device:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer) error {
	server, err := tokentest.Start(nil, nil)
	if err != nil {
		return err
	}
	defer server.Close()
	s := &story{stdout: stdout, server: server, tokens: new(store.Memory)}
	for _, part := range []func(context.Context) error{s.refused, s.approved, s.switchedOnAgain} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A story is the server, the person with a telephone, and what the device keeps.
type story struct {
	stdout io.Writer
	server *tokentest.Server
	tokens *store.Memory
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.stdout, format+"\n", args...) }

// switchedOn has a device do something until it is switched off.
func (s *story) switchedOn(ctx context.Context, do func(*device) error) error {
	d, err := connect(s.server.URL, s.server.URL, s.tokens)
	if err != nil {
		return err
	}
	return errors.Join(do(d), d.session.Close(ctx))
}

func (s *story) refused(ctx context.Context) error {
	return s.switchedOn(ctx, func(d *device) error {
		s.say("The device is switched on, and nobody has logged in.")
		err := d.logIn(ctx, func(p login.Prompt) error {
			s.say("It shows the code %s, which a stranger refuses.", p.UserCode)
			return enter(ctx, p.URL, url.Values{"user_code": {p.UserCode}, "decision": {"refuse"}})
		})
		if !errors.Is(err, login.ErrDenied) {
			return fmt.Errorf("not as told: want an error that is ErrDenied, got %w", err)
		}
		s.say("The device is told, and may show another code: %v.", err)
		return nil
	})
}

func (s *story) approved(ctx context.Context) error {
	return s.switchedOn(ctx, func(d *device) error {
		err := d.logIn(ctx, func(p login.Prompt) error {
			s.say("\nAnother try:\n\n%s", p)
			typed := strings.ToLower(strings.ReplaceAll(p.UserCode, "-", "")) // as people type
			return enter(ctx, p.URL, url.Values{"user_code": {typed}, "decision": {"approve"}, "user": {"alice"}})
		})
		if err != nil {
			return err
		}
		s.say("The person typed the code into a telephone. The device asked, and was told that it is logged in.")
		return s.call(ctx, d)
	})
}

func (s *story) switchedOnAgain(ctx context.Context) error {
	return s.switchedOn(ctx, func(d *device) error {
		s.say("\nThe device is switched off, and on again. Meanwhile the access token was revoked.")
		s.server.RevokeAccess("alice")
		err := d.logIn(ctx, func(login.Prompt) error { return errors.New("not as told: a person was asked again") })
		if err != nil {
			return err
		}
		s.say("Nobody is asked: the login was kept, and its access token is refreshed.")
		if err := s.call(ctx, d); err != nil {
			return err
		}
		if c := s.server.Counters(); c.Refreshes != 1 {
			return fmt.Errorf("not as told: want 1 refresh, the server counted %+v", c)
		}
		return nil
	})
}

// call is what the device is for.
func (s *story) call(ctx context.Context, d *device) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+"/api/films", nil)
	if err != nil {
		return err
	}
	resp, err := d.session.Client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("the API answered " + resp.Status)
	}
	s.say("It calls the API: %s.", resp.Status)
	return nil
}

// enter is what the person does with the page: fill in its form, and press a button.
func enter(ctx context.Context, page string, form url.Values) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, page, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("the page answered " + resp.Status)
	}
	return nil
}
