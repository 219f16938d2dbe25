// Command cli is a command-line tool that stays logged in: each of its commands is
// a process of its own, and all share one login, which is sealed in a file.
//
//	go run ./examples/cli
//
// plays all commands against a server of its own. To use them by hand, run "go run
// ./examples/mockserver" in another terminal, which has the user alice with the
// password secret, and then
//
//	go build -o cli ./examples/cli
//	./cli login
//	./cli get /api/orders
//	./cli status
//	./cli logout
//
// The exit status is 0 if all went well, 1 after an error, 2 if the command line is
// wrong, and 3 if only a login helps, so that scripts can tell.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const (
	exitOK = iota
	exitError
	exitUsage
	exitLogin
)

// passwordVariable holds the password for scripts. There is no flag for it: other
// users of the machine can read the command lines of all processes.
const passwordVariable = "CLI_PASSWORD"

// patience is how long a command waits for the network.
const patience = 30 * time.Second

func main() {
	// Without SIGTERM here, a shutdown or a timeout(1) in the middle of a refresh would be
	// the end of the login.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) }) // a second Ctrl-C ends the program at once
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := &tool{stdin: stdin, stdout: stdout, stderr: stderr}
	sentence, code := explain(t.run(ctx, args))
	if sentence != "" {
		fmt.Fprintln(stderr, "cli:", sentence)
	}
	return code
}

type tool struct {
	api, user, dir string
	stdin          io.Reader
	stdout, stderr io.Writer
}

type usageError struct{ error }

func (t *tool) run(ctx context.Context, args []string) error {
	command, args, err := t.parse(args)
	if err != nil {
		return err
	}
	if command == "demo" {
		return demo(ctx, t.stdout)
	}
	var password string
	if command == "login" {
		if password, err = t.askPassword(ctx); err != nil {
			return err
		}
	}
	// A session needs no http.Client.Timeout: contexts bound what it does, and
	// leave its errors as they are.
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return t.withSession(ctx, func(session *tokenclient.Session) error {
		switch command {
		case "login":
			return t.login(ctx, session, password)
		case "get":
			return t.get(ctx, session, args[0])
		case "status":
			return t.status(ctx, session)
		default: // parse lets nothing else through
			return t.logout(ctx, session)
		}
	})
}

func (t *tool) parse(args []string) (command string, rest []string, err error) {
	flags := flag.NewFlagSet("cli", flag.ContinueOnError)
	flags.SetOutput(t.stderr)
	flags.StringVar(&t.api, "api", "http://127.0.0.1:8080", "`URL` of the API")
	flags.StringVar(&t.user, "user", "alice", "`name` to log in with")
	flags.StringVar(&t.dir, "dir", "", "`folder` for the login; default: cli-example in your configuration folder")
	flags.Usage = func() {
		fmt.Fprintf(t.stderr, "usage: cli [flags] login | get PATH | status | logout | demo\n")
		fmt.Fprintf(t.stderr, "The password is asked for, or taken from the environment variable %s.\n", passwordVariable)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return "", nil, err
	} else if err != nil {
		return "", nil, usageError{errors.New("the command line is wrong")} // flags has said how
	}
	if command = flags.Arg(0); command == "" {
		command = "demo"
	}
	want := 0
	switch command {
	case "get":
		want = 1
	case "login", "status", "logout", "demo":
	default:
		return "", nil, usageError{fmt.Errorf("there is no command %q", command)}
	}
	rest = flags.Args()[min(1, flags.NArg()):]
	if len(rest) != want {
		return "", nil, usageError{fmt.Errorf("%s takes %d arguments, and flags go before it", command, want)}
	}
	if command == "get" && !strings.HasPrefix(rest[0], "/") {
		return "", nil, usageError{errors.New("PATH begins with a slash, like /api/orders")}
	}
	t.api = strings.TrimSuffix(t.api, "/")
	if t.dir == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			return "", nil, fmt.Errorf("%w; say -dir", err)
		}
		t.dir = filepath.Join(config, "cli-example")
	}
	return command, rest, nil
}

// withSession is the same for all commands: what they share is in the folder.
func (t *tool) withSession(ctx context.Context, do func(*tokenclient.Session) error) (err error) {
	// A backup should leave the key out: whoever has both can read the tokens.
	key, err := store.LoadOrCreateKeyFile(filepath.Join(t.dir, "secret.key"))
	if err != nil {
		return err
	}
	files, err := store.NewFile(filepath.Join(t.dir, "tokens"), store.Seal(key))
	if err != nil {
		return err
	}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:      t.api + "/oauth/token",
			RevocationURL: t.api + "/oauth/revoke", // so that logout reaches the server too
			ClientAuth:    tokenclient.PublicClient("cli"),
		},
		Store:   files,
		Key:     t.user + " at " + t.api,
		Origins: []string{t.api},
	})
	if err != nil {
		return usageError{err} // what it can be wrong about is -api
	}
	// After an interrupt too it is worth waiting for a refresh under way: its new
	// token is the only good one. The session bounds how long that takes.
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx))) }()
	return do(session)
}

func (t *tool) login(ctx context.Context, session *tokenclient.Session, password string) error {
	login := &tokenclient.PasswordLogin{URL: t.api + "/login"}
	token, err := login.Login(ctx, t.user, password)
	if err != nil {
		return err
	}
	if err := session.SetToken(ctx, token); err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "%s is logged in at %s.\n", t.user, t.api)
	return nil
}

func (t *tool) get(ctx context.Context, session *tokenclient.Session, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.api+path, nil)
	if err != nil {
		return usageError{err}
	}
	resp, err := session.Client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the API answered %s", resp.Status)
	}
	_, err = io.Copy(t.stdout, resp.Body)
	return err
}

// status only looks: Peek asks no server and refreshes nothing.
func (t *tool) status(ctx context.Context, session *tokenclient.Session) error {
	token, err := session.Peek(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "%s is logged in at %s.\n", t.user, t.api)
	fmt.Fprintf(t.stdout, "Access token: %s.\n", until(token.Expiry))
	fmt.Fprintf(t.stdout, "Login: %s.\n", until(token.RefreshExpiry))
	return nil
}

func until(expiry time.Time) string {
	left := time.Until(expiry).Round(time.Second)
	switch {
	case expiry.IsZero():
		return "the server did not say how long it is good for"
	case left <= 0:
		return "expired; the next get renews it if the login is still good"
	default:
		return fmt.Sprintf("good until %s (%v)", expiry.Local().Format("2 Jan 2006 15:04:05"), left)
	}
}

func (t *tool) logout(ctx context.Context, session *tokenclient.Session) error {
	err := session.Logout(ctx)
	if refused, ok := errors.AsType[*tokenclient.TokenError](err); ok {
		// Another try would not help: the token that it takes is forgotten.
		return fmt.Errorf("logged out here, but the server was not told, where the login ends by itself (%v)", refused)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(t.stdout, "%s is logged out at %s.\n", t.user, t.api)
	return nil
}

// askPassword takes the password from the environment or else from stdin. On a
// terminal it shows while it is typed; golang.org/x/term has a ReadPassword that
// prevents this.
func (t *tool) askPassword(ctx context.Context) (string, error) {
	if password := os.Getenv(passwordVariable); password != "" {
		return password, nil
	}
	fmt.Fprintf(t.stderr, "Password of %s: ", t.user)
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // a read cannot be interrupted
		line, err := bufio.NewReader(t.stdin).ReadString('\n')
		answered <- answer{line, err}
	}()
	select {
	case a := <-answered:
		password := strings.TrimRight(a.line, "\r\n")
		if password != "" {
			return password, nil // the last line may lack its end
		}
		if a.err != nil && !errors.Is(a.err, io.EOF) {
			return "", a.err
		}
		return "", errors.New("no password given")
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// explain turns an error into a sentence for a person and a status for a script.
// No error of the library holds a secret, so all of them may be shown.
func explain(err error) (sentence string, code int) {
	usage, isUsage := errors.AsType[usageError](err)
	token, isToken := errors.AsType[*tokenclient.TokenError](err)
	request, isRequest := errors.AsType[*url.Error](err)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return "", exitOK
	case isUsage:
		return fmt.Sprintf("%v; cli -h helps", usage), exitUsage
	case errors.Is(err, tokenclient.ErrLoginRequired):
		return "log in first, with cli login: you have not, or your login has ended", exitLogin
	case errors.Is(err, tokenclient.ErrStoreCorrupt):
		return fmt.Sprintf("the stored login is damaged; cli login replaces it (%v)", err), exitError
	case errors.Is(err, tokenclient.ErrStoreUnavailable):
		return fmt.Sprintf("the stored login cannot be used, and is left as it is (%v)", err), exitError
	case errors.Is(err, context.Canceled):
		return "interrupted", exitError
	case isToken && token.Temporary():
		return fmt.Sprintf("the login server cannot be reached or is in trouble; try again later (%v)", token), exitError
	case isToken && token.Code == "invalid_grant": // of a login; a refresh is ErrLoginRequired then
		return "wrong user name or password", exitError
	case isToken:
		return fmt.Sprintf("the login server does not accept this program (%v)", token), exitError
	case isRequest:
		return fmt.Sprintf("the API cannot be reached; try again later (%v)", request.Err), exitError
	default:
		return err.Error(), exitError
	}
}
