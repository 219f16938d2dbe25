// Package depot is a client of a service that keeps files, as the author of an SDK writes
// one. Who uses it knows nothing of tokens: a Client is logged in once, stays so for as long
// as the service allows, and says [ErrLoginRequired] when it does not any more. Copy it, and
// its tests.
package depot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// ErrLoginRequired is what a call's error is when only [Client.Login] helps. It has the name of the
// SDK, so that its users import nothing else.
var ErrLoginRequired = tokenclient.ErrLoginRequired

// ErrName is what [Client.Put] makes of a name that no file can have.
var ErrName = errors.New("depot: not the name of a file")

// A StatusError is an answer of the service that is no success.
type StatusError struct{ Status int }

// Error says what the service answered.
func (e *StatusError) Error() string {
	return fmt.Sprintf("depot: answered %d %s", e.Status, http.StatusText(e.Status))
}

// Options are what a program may choose. The zero value works.
type Options struct {
	// Dir is a folder of this program's, in which the login outlives it, sealed, for any
	// number of processes. Empty: it ends with the Client.
	Dir string

	// Account names the login, for a program that has several in one Dir. Empty: "default".
	Account string

	// HTTPClient makes all requests. It is copied. Nil: http.DefaultClient.
	HTTPClient *http.Client

	// LoggedOut is called once when the login has ended, on a goroutine of its own. Nil: calls
	// tell, by their error.
	LoggedOut func(reason error)
}

// A Client calls the service as one user. It is safe for concurrent use.
type Client struct {
	url     string
	bare    *http.Client // for logins
	http    *http.Client
	session *tokenclient.Session
}

// New returns a client of the service at that URL, such as "https://depot.example.com". Nil options
// are the zero value. Close it.
func New(serviceURL string, options *Options) (*Client, error) {
	o := Options{}
	if options != nil {
		o = *options
	}
	if o.HTTPClient == nil {
		o.HTTPClient = http.DefaultClient
	}
	config := tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:      serviceURL + "/oauth/token",
			RevocationURL: serviceURL + "/oauth/revoke", // so that Logout reaches the service too
			ClientAuth:    tokenclient.PublicClient("depot-sdk"),
			HTTPClient:    o.HTTPClient,
		},
		Origins: []string{serviceURL},
		Hooks:   &tokenclient.Hooks{SessionEnded: o.LoggedOut},
	}
	if o.Dir != "" {
		key, err := store.LoadOrCreateKeyFile(filepath.Join(o.Dir, "secret.key"))
		if err != nil {
			return nil, err
		}
		if config.Store, err = store.NewFile(filepath.Join(o.Dir, "tokens"), store.Seal(key)); err != nil {
			return nil, err
		}
		config.Key = "default"
		if o.Account != "" {
			config.Key = o.Account
		}
	}
	session, err := tokenclient.New(config)
	if err != nil {
		return nil, err
	}
	return &Client{url: serviceURL, bare: o.HTTPClient, http: session.Wrap(o.HTTPClient), session: session}, nil
}

// Close ends the Client. The login stays in Options.Dir.
func (c *Client) Close(ctx context.Context) error { return c.session.Close(ctx) }

// Login is the only thing that is done with the password.
func (c *Client) Login(ctx context.Context, user, password string) error {
	login := &tokenclient.PasswordLogin{URL: c.url + "/login", HTTPClient: c.bare}
	token, err := login.Login(ctx, user, password)
	if err != nil {
		return err
	}
	return c.session.SetToken(ctx, token)
}

// Logout ends the login here, for all processes that share it, and at the service.
func (c *Client) Logout(ctx context.Context) error { return c.session.Logout(ctx) }

// A Receipt is what the service says of a file that it took.
type Receipt struct {
	Owner  string `json:"subject"`
	Size   int64  `json:"length"`
	SHA256 string `json:"sha256"`
}

// Put sends a file. An [io.Seeker], such as an *os.File, is sent again if the token was refused in
// the middle, whatever its size; anything else up to 1 MiB. A name has no slashes, and is not "." or
// "..": with a login of the user's they would be calls of something else. It is [ErrName] then, and
// nothing is sent.
func (c *Client) Put(ctx context.Context, name string, file io.Reader) (Receipt, error) {
	var r Receipt
	// PathEscape is not enough: it leaves dots alone, and servers decode %2F.
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
		return r, fmt.Errorf("%w: %q", ErrName, name)
	}
	err := c.call(ctx, http.MethodPut, "/api/files/"+url.PathEscape(name), file, &r)
	return r, err
}

// patience is for a context without a deadline. An http.Client.Timeout would replace errors
// by text.
const patience = time.Minute

// call is the one way to the service: one place that knows statuses and JSON.
func (c *Client) call(ctx context.Context, method, path string, body io.Reader, answer any) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err // errors.Is sees ErrLoginRequired through it
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &StatusError{Status: resp.StatusCode}
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
