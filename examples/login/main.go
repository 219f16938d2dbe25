// Command login shows how a program gets its first token with the help of a person: by a
// browser on this machine, and by a code that is typed in a browser elsewhere.
//
//	go run ./examples/login
//	go run ./examples/login -browser # you are the person, in your own browser
//
// It brings its own server, whose page asks for no password, and plays the person, so that it
// needs no browser. It takes some two seconds. What you need in a program of yours is connect and
// logIn; the rest is the story.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// connect returns a session that may not be logged in yet. Where the server's endpoints are,
// the server says.
func connect(issuer, api string) (*tokenclient.Session, *discovery.Refresher, error) {
	refresher := &discovery.Refresher{Issuer: issuer, Make: func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint, ClientAuth: tokenclient.PublicClient("example")}
	}}
	session, err := tokenclient.New(tokenclient.Config{Refresher: refresher, Origins: []string{api}})
	return session, refresher, err
}

// logIn asks the person, unless there is a token. A program that keeps it in a Store asks at
// its first start alone.
func logIn(ctx context.Context, session *tokenclient.Session, c login.Config, device bool) error {
	_, err := session.Token(ctx)
	switch {
	case !errors.Is(err, tokenclient.ErrLoginRequired):
		return err
	case device:
		return login.Device(ctx, session, c)
	default:
		return login.Browser(ctx, session, c)
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	yours := flag.Bool("browser", false, "open your own browser, and wait for you to log in")
	flag.Parse()
	tell := run
	if *yours {
		tell = runWithYou
	}
	if err := tell(ctx, os.Stdout); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}

// runWithYou waits for a person at a real browser.
func runWithYou(ctx context.Context, stdout io.Writer) error {
	s, err := newStory(stdout)
	if err != nil {
		return err
	}
	defer s.end()
	if err := logIn(ctx, s.session, login.Config{Refresher: s.refresher, Timeout: 3 * time.Minute}, false); err != nil {
		return err
	}
	who, err := s.who(ctx)
	if err != nil {
		return err
	}
	s.say("The program is logged in, and the API says as whom: %s.", who)
	return nil
}

func run(ctx context.Context, stdout io.Writer) error {
	s, err := newStory(stdout)
	if err != nil {
		return err
	}
	defer s.end()
	for _, part := range []func(context.Context) error{s.refused, s.byBrowser, s.revoked, s.byDevice} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// A story is the server, the program, and the person, who is played.
type story struct {
	stdout    io.Writer
	server    *tokentest.Server
	session   *tokenclient.Session
	refresher *discovery.Refresher
}

func newStory(stdout io.Writer) (*story, error) {
	server, err := tokentest.Start(nil, nil)
	if err != nil {
		return nil, err
	}
	s := &story{stdout: stdout, server: server}
	if s.session, s.refresher, err = connect(server.URL, server.URL); err != nil {
		server.Close()
		return nil, err
	}
	return s, nil
}

func (s *story) end() {
	_ = s.session.Close(context.Background()) // there is no Store that it could fail to write to
	s.server.Close()
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.stdout, format+"\n", args...) }

// config is a login whose person does that with the page.
func (s *story) config(does func(p login.Prompt) error) login.Config {
	return login.Config{Refresher: s.refresher, Scope: "read", Prompt: func(_ context.Context, p login.Prompt) error { return does(p) }}
}

func (s *story) refused(ctx context.Context) error {
	err := logIn(ctx, s.session, s.config(func(p login.Prompt) error {
		s.say("A browser opens %s …", strings.SplitN(p.URL, "?", 2)[0])
		_, err := press(ctx, p.URL, url.Values{"decision": {"refuse"}})
		return err
	}), false)
	if !errors.Is(err, login.ErrDenied) {
		return fmt.Errorf("not as told: want an error that is ErrDenied, got %w", err)
	}
	s.say("The person presses Refuse. The program is told: %v.", err)
	return nil
}

func (s *story) byBrowser(ctx context.Context) error {
	var page string
	err := logIn(ctx, s.session, s.config(func(p login.Prompt) (err error) {
		page, err = press(ctx, p.URL, url.Values{"decision": {"approve"}, "user": {"alice"}})
		return err
	}), false)
	if err != nil {
		return err
	}
	s.say("Another try: the person presses Approve. The browser shows: %s", page)
	who, err := s.who(ctx)
	if err != nil {
		return err
	}
	s.say("The API says who the program is now: %s.", who)
	return nil
}

func (s *story) revoked(ctx context.Context) error {
	s.server.RevokeAccess("alice")
	if _, err := s.who(ctx); err != nil {
		return err
	}
	s.say("The server revoked the access token. The next call was answered 200, and nobody was asked.")
	return nil
}

func (s *story) byDevice(ctx context.Context) error {
	s.server.RevokeAll("alice")
	if _, err := s.who(ctx); !errors.Is(err, tokenclient.ErrLoginRequired) {
		return fmt.Errorf("not as told: want an error that is ErrLoginRequired, got %w", err)
	}
	s.say("The server revoked the refresh token too: somebody has to log in again, by code this time.")
	err := logIn(ctx, s.session, s.config(func(p login.Prompt) error {
		s.say("%s", strings.TrimSuffix(p.String(), "\n"))
		_, err := press(ctx, p.URL, url.Values{"user_code": {p.UserCode}, "decision": {"approve"}, "user": {"bob"}})
		return err
	}), true)
	if err != nil {
		return err
	}
	who, err := s.who(ctx)
	if err != nil {
		return err
	}
	s.say("The person typed it. The API says who the program is now: %s.", who)
	return nil
}

// press is what the person does with a page: it fills in its form and sends it. It returns
// what the last page says.
func press(ctx context.Context, page string, form url.Values) (says string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, page, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	_, says, _ = strings.Cut(string(text), `<p role="status">`)
	says, _, found := strings.Cut(says, "</p>")
	if !found {
		return "", fmt.Errorf("the page says nothing: %s", resp.Status)
	}
	return says, nil
}

// who asks the API.
func (s *story) who(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.server.URL+"/api/me", nil)
	if err != nil {
		return "", err
	}
	resp, err := s.session.Client().Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	_, name, _ := strings.Cut(string(text), `"subject":"`)
	name, _, found := strings.Cut(name, `"`)
	if !found {
		return "", errors.New("the API answered " + resp.Status)
	}
	return name, nil
}
