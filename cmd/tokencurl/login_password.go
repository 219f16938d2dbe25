package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/term"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// byPassword logs in with a user's name and password.
func (l *loginCall) byPassword(ctx context.Context, c *connection) error {
	user, password, err := l.credentials(ctx)
	if err != nil {
		return err
	}
	token, err := (&tokenclient.PasswordLogin{URL: c.LoginURL, HTTPClient: l.story.endpointClient()}).Login(ctx, user, password)
	var at *tokenclient.TokenError
	if errors.As(err, &at) && at.StatusCode >= 400 && at.StatusCode < 500 && !at.Temporary() {
		return &exitError{exitLogin, fmt.Errorf("not logged in: %w", err)}
	}
	if err != nil {
		return err
	}
	return c.SetToken(ctx, token)
}

// credentials asks for what was not given: on a terminal, where the password does not show.
func (l *loginCall) credentials(ctx context.Context) (user, password string, err error) {
	if l.passwordStdin {
		if l.user == "" {
			return "", "", usage(errors.New("--password-stdin needs --user"))
		}
		password, err = readAll(l.stdin)
		if err != nil {
			return "", "", &exitError{exitRead, err}
		}
		return l.user, strings.TrimRight(password, "\r\n"), nil
	}
	if !isTerminal(l.in) {
		return "", "", usage(errors.New("no terminal to ask for the password on: use --user and --password-stdin"))
	}
	if user = l.user; user == "" {
		fmt.Fprint(l.err, "User: ")
		line, err := bufio.NewReader(l.stdin).ReadString('\n')
		if err != nil {
			return "", "", &exitError{exitRead, err}
		}
		user = strings.TrimSpace(line)
	}
	fmt.Fprintf(l.err, "Password of %s: ", user)
	password, err = l.hidden(ctx)
	fmt.Fprintln(l.err)
	return user, password, err
}

// hidden reads a line that does not show. The end of ctx, by ^C, leaves the terminal as it was.
func (l *loginCall) hidden(ctx context.Context) (string, error) {
	fd := int(l.in.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", &exitError{exitRead, err}
	}
	type line struct {
		b   []byte
		err error
	}
	read := make(chan line, 1)
	go func() { // a read of a terminal cannot be ended: the process ends with it
		b, err := term.ReadPassword(fd)
		read <- line{b, err}
	}()
	select {
	case got := <-read:
		if got.err != nil {
			return "", &exitError{exitRead, got.err}
		}
		return string(got.b), nil
	case <-ctx.Done():
		_ = term.Restore(fd, state)
		return "", ctx.Err()
	}
}
