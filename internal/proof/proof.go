// Package proof has what the ways have in common by which a client proves to a token
// endpoint who it is: they hold a secret, print none, and know before they are used
// whether they can work.
//
// A [Method] is such a way. What it does is a function, and a function is where its
// secret is: printers that walk through fields by reflection, as package fmt does with
// those that are not exported, and whatever the verb, find nothing in a closure but its
// address.
//
// # What is promised
//
//   - A Method prints as its name and the client's id, by every verb and as JSON.
//   - Validate says what is wrong with the id or with what the maker of the Method checked, and
//     never changes its mind. Its text shows no secret.
//
// # What it does not know
//
// It knows no ways: those are in packages tokenclient and clientauth. It does not know the
// interface either that a Method implements, tokenclient.ClientAuth.
package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// A Method authenticates one client. It is used by pointer.
type Method struct {
	text  string // what it prints as
	id    string // the client's; "": it has none
	wrong error  // with the id or the secret; nil: nothing
	apply Apply
}

// An Apply adds to form or header what identifies the client at the endpoint.
type Apply func(ctx context.Context, endpoint string, form url.Values, header http.Header) error

// New returns a Method of that name, such as that of the function that a user calls.
// wrong is what is wrong beside the id; nil: nothing. Without an id it is never applied.
func New(name, id string, wrong error, apply Apply) *Method {
	switch {
	case id == "":
		wrong = fmt.Errorf("%s has an empty client id; it is the client_id under which the server knows the program", name)
		apply = func(context.Context, string, url.Values, http.Header) error { return errNoClientID }
	case endpoint.HasControl(id):
		wrong = fmt.Errorf("the client id of %s %s", name, withControl)
	}
	return &Method{fmt.Sprintf("%s(%q)", name, id), id, wrong, apply}
}

var errNoClientID = errors.New("the client id is empty")

// Nobody returns a Method of that name that adds nothing.
func Nobody(name string) *Method {
	return &Method{name + "()", "", nil, func(context.Context, string, url.Values, http.Header) error { return nil }}
}

// CheckSecret reports what is wrong with a client's secret, for New.
func CheckSecret(name, secret string) error {
	switch {
	case secret == "":
		return fmt.Errorf("%s has an empty client secret; use PublicClient(id) for a client that has none", name)
	case endpoint.HasControl(secret):
		return fmt.Errorf("the client secret of %s %s", name, withControl)
	}
	return nil
}

const withControl = "has a control character in it, such as the line break at the end of a file; use strings.TrimSpace"

// Validate reports what is wrong.
func (m *Method) Validate() error { return m.wrong }

// Authenticate applies the method.
func (m *Method) Authenticate(ctx context.Context, endpoint string, form url.Values, header http.Header) error {
	return m.apply(ctx, endpoint, form, header)
}

// ClientID returns the client's id, which is no secret. It is empty if the method adds nothing.
func (m *Method) ClientID() string { return m.id }

// String returns the name and the client's id.
func (m *Method) String() string { return m.text }

// Format writes String, whatever the verb.
func (m *Method) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.text) }

// MarshalJSON marshals String.
func (m *Method) MarshalJSON() ([]byte, error) { return json.Marshal(m.text) }
