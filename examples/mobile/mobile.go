// Package mobile is what an app on a phone binds with gomobile: a client whose user stays
// logged in. It is to be copied and changed; docs/mobile.md says how.
//
// Only strings, byte slices, booleans and errors pass its border, and interfaces and pointers
// to structs of its own. All calls block: make them from a thread that is not the user
// interface's.
package mobile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// patience bounds a call: gomobile binds no context.
const patience = 30 * time.Second

// maxAnswer is how much of an answer is read.
const maxAnswer = 1 << 20

// Storage keeps values, such as the Android SharedPreferences or the iOS Keychain. The app
// implements it. It is store.Storage, spelled out because gomobile binds no other package's.
type Storage interface {
	// Get returns what Put last stored under key, nothing if there was no Put.
	Get(key string) ([]byte, error)
	// Put stores value for good, in one step.
	Put(key string, value []byte) error
}

// Keystore encrypts data keys by a key that never leaves the phone's keystore. The app
// implements it; store.KeyWrapper says what it has to keep to.
type Keystore interface {
	KeyID() string
	Wrap(dataKey []byte, label string) ([]byte, error)
	Unwrap(wrapped []byte, label string) ([]byte, error)
}

// A Client makes requests of the API as the user who is logged in. There must be one for a
// Storage. It is safe for concurrent use.
type Client struct {
	api     string
	session *tokenclient.Session
	client  *http.Client
}

// NewClient returns a Client of the API at this origin, such as "https://api.example.com".
func NewClient(api string, storage Storage, keys Keystore) (*Client, error) {
	if storage == nil || keys == nil {
		return nil, errors.New("mobile: a Storage and a Keystore are needed")
	}
	tokens, err := store.NewShared(store.SingleProcess(storage), store.Seal(keys), nil)
	if err != nil {
		return nil, err
	}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api + "/token/refresh"},
		Store:     tokens, Key: "user",
		Origins: []string{api},
	})
	if err != nil {
		return nil, err
	}
	return &Client{api: api, session: session, client: session.Wrap(http.DefaultClient)}, nil
}

// LoggedIn reports whether there is a user. Errors reach an app as text only, so it asks here
// and does not look at one: false says that only a login helps, an error that nobody knows.
func (c *Client) LoggedIn() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := c.session.Token(ctx)
	if errors.Is(err, tokenclient.ErrLoginRequired) {
		return false, nil
	}
	return err == nil, err
}

// Login logs a user in by a password.
func (c *Client) Login(user, password string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	token, err := (&tokenclient.PasswordLogin{URL: c.api + "/login"}).Login(ctx, user, password)
	if err != nil {
		return err
	}
	return c.session.SetToken(ctx, token)
}

// Get returns the body of what the API has at path, up to 1 MiB.
func (c *Client) Get(path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.api+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("mobile: %s: %s", path, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// Logout logs the user out, here at once.
func (c *Client) Logout() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.session.Logout(ctx)
}

// Close waits for what is under way to be saved. Call it when the app goes to the background
// for good.
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.session.Close(ctx)
}
