package login_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// program is the README's: TestProgram runs it.
func program(ctx context.Context, issuer, api string, tokens tokenclient.Store) (err error) {
	refresher := &discovery.Refresher{Issuer: issuer, Make: func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint, ClientAuth: tokenclient.PublicClient("my-app")}
	}}
	session, err := tokenclient.New(tokenclient.Config{Refresher: refresher, Store: tokens, Key: "me", Origins: []string{api}})
	if err != nil {
		return err
	}
	_, err = session.Token(ctx)
	if errors.Is(err, tokenclient.ErrLoginRequired) {
		err = login.Browser(ctx, session, login.Config{Refresher: refresher, Scope: "offline_access"})
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()
	resp, err := session.Client().Get(api + "/api/things")
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// stepUp is that of docs/step-up.md: TestStepUp runs it.
func stepUp(config *tokenclient.Config, refresher tokenclient.Refresher) {
	config.StepUp = func(ctx context.Context, s *tokenclient.Session, d tokenclient.Demand) error {
		return login.Browser(ctx, s, login.Config{
			Refresher: refresher,
			Scope:     d.Scope,    // what it had before belongs in here as well
			Params:    d.Params(), // acr_values, max_age, claims
		})
	}
}

// connect is a program of an API at srv.
func connect(srv *tokentest.Server) (*tokenclient.Session, *discovery.Refresher, error) {
	refresher := &discovery.Refresher{Issuer: srv.URL, Make: func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, ClientAuth: tokenclient.PublicClient("my-app")}
	}}
	session, err := tokenclient.New(tokenclient.Config{Refresher: refresher, Origins: []string{srv.URL}})
	return session, refresher, err
}

// A program that shows the address in a window of its own, and has it opened by the system.
func ExampleBrowser() {
	srv, err := tokentest.Start(nil, nil) // stands for the server of the program
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	srv.Approve("alice") // sits at the browser
	ctx, openBrowser := context.Background(), playBrowser
	session, refresher, err := connect(srv)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = session.Close(ctx) }()

	err = login.Browser(ctx, session, login.Config{
		Refresher: refresher,
		Prompt: func(ctx context.Context, p login.Prompt) error {
			fmt.Println("A browser opens. Log in there.")
			return openBrowser(ctx, p.URL) // in a program: login.OpenBrowser
		},
	})
	switch {
	case errors.Is(err, login.ErrDenied):
		fmt.Println("You refused.")
	case errors.Is(err, login.ErrNotFinished):
		fmt.Println("Nobody logged in. Try again.")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println("Logged in.")
	}
	// Output:
	// A browser opens. Log in there.
	// Logged in.
}

// playBrowser is what a browser does whose user approves.
func playBrowser(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// A program without a browser beside it. It takes a second: the server wants to be asked no
// more often.
func ExampleDevice() {
	srv, err := tokentest.Start(nil, nil) // stands for the server of the program
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	ctx, terminal := context.Background(), person{srv}
	session, refresher, err := connect(srv)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = session.Close(ctx) }()

	err = login.Device(ctx, session, login.Config{
		Refresher: refresher,
		Prompt: func(_ context.Context, p login.Prompt) error {
			_, err := fmt.Fprintln(terminal, p) // "To log in, open this address on any device: …"
			return err
		},
	})
	fmt.Println("logged in:", err == nil)
	// Output: logged in: true
}

// A person approves when there is something to read.
type person struct{ srv *tokentest.Server }

func (p person) Write(b []byte) (int, error) {
	p.srv.Approve("alice")
	return len(b), nil
}
