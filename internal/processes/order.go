package processes

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Settings are what an agent makes its sessions from.
type Settings struct {
	Name           string   // of the agent: the gate tells requests apart by it
	URL            string   // of the gate
	Accounts       []string // one session each
	OAuth2         bool     // else the JSON endpoint, which cannot revoke
	RefreshTimeout time.Duration
	Log            bool // all that the library logs goes to standard error

	// The store, for Program.Open.

	Engine, Address       string
	Margin                time.Duration
	DeadRequestsEndWithin time.Duration // of store.FileOptions
	KeyID                 string
	SealKey               []byte
	Notes                 string // a file to write down in what the store is asked; "": do not
	UID                   int    // who to become before anything else; 0: stay who you are
}

// An Order is what an agent is told to do. Each runs on a goroutine of its own.
type Order struct {
	ID int // what its answers have; set by Process

	// Do is "get", to make a request; "peek", "login", "logout" or "close", to call the
	// method of the session; or one of Program.Orders.
	Do string

	Account string        // whose session; "": the first one's
	Timeout time.Duration // of the context; 0: none
	Pause   time.Duration // between two requests of an account, see Process.Work
	Token   *WireToken    // to log in with
	Limit   int64         // for orders of Program
}

// A WireToken is a token on its way to an agent; Token itself marshals to nothing.
type WireToken struct {
	Access, Refresh, Type         string
	Expiry, RefreshExpiry, Issued time.Time
}

// NewWireToken returns token as it is sent.
func NewWireToken(token *tokenclient.Token) *WireToken {
	return &WireToken{
		Access: token.AccessToken, Refresh: token.RefreshToken, Type: token.TokenType,
		Expiry: token.Expiry, RefreshExpiry: token.RefreshExpiry, Issued: token.Issued,
	}
}

func (w *WireToken) token() *tokenclient.Token {
	return &tokenclient.Token{
		AccessToken: w.Access, RefreshToken: w.Refresh, TokenType: w.Type,
		Expiry: w.Expiry, RefreshExpiry: w.RefreshExpiry, Issued: w.Issued,
	}
}

// An Answer is what an agent says about an order, or by itself.
type Answer struct {
	ID      int    // of the order; 0: an event
	Event   string // "ready", "refused to start", or the name of a hook
	Account string
	Status  int    // of a request; 0: it was not answered
	Subject string // whose token the API saw
	Err     string
	Kinds   []string // the names of the errors that Err is
	Began   time.Time
	Took    time.Duration
}

// kinds are the errors that answers tell apart.
var kinds = map[string]func(error) bool{
	"ErrLoginRequired":    is(tokenclient.ErrLoginRequired),
	"ErrLoggedOut":        is(tokenclient.ErrLoggedOut),
	"ErrReplaced":         is(tokenclient.ErrReplaced),
	"ErrClosed":           is(tokenclient.ErrClosed),
	"ErrStoreUnavailable": is(tokenclient.ErrStoreUnavailable),
	"ErrStoreCorrupt":     is(tokenclient.ErrStoreCorrupt),
	"DeadlineExceeded":    is(context.DeadlineExceeded),
	"NotSavedError":       as[*tokenclient.NotSavedError],
	"TokenError":          as[*tokenclient.TokenError],
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func as[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func (a *Answer) fail(err error) {
	if err == nil {
		return
	}
	a.Err = err.Error()
	for name, match := range kinds {
		if match(err) {
			a.Kinds = append(a.Kinds, name)
		}
	}
	slices.Sort(a.Kinds)
}

// Is reports whether the order failed with an error of that kind.
func (a Answer) Is(kind string) bool { return slices.Contains(a.Kinds, kind) }

// Served reports whether a request was answered for user.
func (a Answer) Served(user string) bool { return a.Err == "" && a.Status == 200 && a.Subject == user }

// Want fails the test unless the order succeeded.
func (a Answer) Want(t testing.TB, what string) {
	t.Helper()
	if a.Err != "" {
		t.Errorf("%s: %s %q", what, a.Err, a.Kinds)
	}
}

// WantServed fails the test unless a request was answered for user.
func (a Answer) WantServed(t testing.TB, what, user string) {
	t.Helper()
	if !a.Served(user) {
		t.Errorf("%s: status %d for %q, error %q %q; want 200 for %q", what, a.Status, a.Subject, a.Err, a.Kinds, user)
	}
}

// WantKind fails the test unless the order failed with an error of that kind.
func (a Answer) WantKind(t testing.TB, what, kind string) {
	t.Helper()
	if !a.Is(kind) {
		t.Errorf("%s: status %d, error %q, which is %q; want %s", what, a.Status, a.Err, a.Kinds, kind)
	}
}
