package behaviour_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

// An rfcRequest is what an RFC prints of a request. Two are the same if a server reads the
// same in both: the order and the escapes of a form do not matter.
type rfcRequest struct{ line, auth, kind, form string }

// printedRequest reads an example as it is printed, with line breaks in the body for
// display only.
func printedRequest(t *testing.T, text string) rfcRequest {
	t.Helper()
	head, body, _ := strings.Cut(strings.TrimSpace(text), "\n\n")
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\n\n")))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Scheme, req.URL.Host = "https", req.Host
	return readRequest(req, strings.ReplaceAll(body, "\n", ""))
}

func readRequest(req *http.Request, body string) rfcRequest {
	form, err := url.ParseQuery(body)
	if err != nil {
		form = url.Values{"no form": {body}}
	}
	return rfcRequest{
		line: req.Method + " " + req.URL.String(), auth: strings.Join(req.Header["Authorization"], "|"),
		kind: req.Header.Get("Content-Type"), form: form.Encode(),
	}
}

// An rfcWire is a network: it notes what is sent, and answers with one example after the
// other, the last of them for ever. "" is a connection that breaks.
type rfcWire struct {
	answers []string

	mu   sync.Mutex
	sent []rfcRequest
}

// RoundTrip implements http.RoundTripper.
func (w *rfcWire) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := ""
	if req.Body != nil {
		sent = bodyOf(req)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, readRequest(req, sent))
	answer := w.answers[min(len(w.sent), len(w.answers))-1]
	if answer == "" {
		return nil, errors.New("connection reset by peer")
	}
	head, body, _ := strings.Cut(strings.TrimSpace(answer), "\n\n")
	return http.ReadResponse(bufio.NewReader(strings.NewReader(head+"\n\n"+body)), req)
}

func (w *rfcWire) got() []rfcRequest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]rfcRequest(nil), w.sent...)
}

// refresher is one at the server that the RFCs have in their examples.
func (w *rfcWire) refresher(auth tokenclient.ClientAuth) *tokenclient.OAuth2Refresher {
	return &tokenclient.OAuth2Refresher{
		TokenURL:   "https://server.example.com/token",
		ClientAuth: auth,
		HTTPClient: &http.Client{Transport: w},
	}
}

// wantSent fails unless what was sent last is the example.
func (w *rfcWire) wantSent(t *testing.T, name, want string) {
	t.Helper()
	got := w.got()
	if len(got) == 0 {
		t.Errorf("%s: nothing was sent", name)
		return
	}
	if want := printedRequest(t, want); got[len(got)-1] != want {
		t.Errorf("%s: sent\n%+v, want\n%+v", name, got[len(got)-1], want)
	}
}

// wantRead fails unless the token is what an answer says, whole. A lifetime of 0 is none.
func wantRead(t *testing.T, name string, got *tokenclient.Token, lifetime time.Duration, want *tokenclient.Token) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: no token", name)
		return
	}
	if lifetime == 0 && !got.Expiry.IsZero() || lifetime != 0 && !got.Expiry.Equal(got.Issued.Add(lifetime)) {
		t.Errorf("%s: issued %v, expiry %v, want a lifetime of %v", name, got.Issued, got.Expiry, lifetime)
	}
	if is, wanted := membersOf(got), membersOf(want); is != wanted {
		t.Errorf("%s: read %.300s, want %.300s", name, is, wanted)
	}
}

// membersOf is what an answer said of a token, but for times. It is for tokens of
// examples, which are no secrets.
func membersOf(t *tokenclient.Token) string {
	return fmt.Sprintf("access token %q, refresh token %q, type %q, scope %q, refresh token until %v, %v",
		t.AccessToken, t.RefreshToken, t.TokenType, t.Scope, t.RefreshExpiry, t.Extra)
}

// wantTokenError returns err as the error of a token endpoint.
func wantTokenError(t *testing.T, name string, err error) *tokenclient.TokenError {
	t.Helper()
	var failed *tokenclient.TokenError
	if !errors.As(err, &failed) {
		t.Fatalf("%s: error %v, want a TokenError", name, err)
	}
	return failed
}

// rfcSession is a session without a store whose tokens go to server.example.com.
func rfcSession(t *testing.T, r tokenclient.Refresher) *tokenclient.Session {
	t.Helper()
	s, err := tokenclient.New(tokenclient.Config{Refresher: r, Origins: []string{"https://server.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessiontest.Close(t, s) })
	return s
}

// bodyOf reads all of a request's body.
func bodyOf(req *http.Request) string {
	body, _ := io.ReadAll(req.Body)
	_ = req.Body.Close()
	return string(body)
}

// discarded is the log of a server whose complaints a test expects.
var discarded = log.New(io.Discard, "", 0)

// browserLogin is a login at server.example.com whose person approves at once: answer makes
// the query that the browser brings back out of what the program asked for. It returns what
// that was.
func browserLogin(t *testing.T, w *rfcWire, change func(*login.Config), answer func(asked url.Values) string) (asked url.Values, err error) {
	t.Helper()
	r := w.refresher(tokenclient.PublicClient("s6BhdRkqt3"))
	c := login.Config{
		Refresher: r,
		Metadata:  &discovery.Metadata{AuthorizationEndpoint: "https://server.example.com/authorize"},
		Prompt: func(_ context.Context, p login.Prompt) error {
			base, query, _ := strings.Cut(p.URL, "?")
			if base != "https://server.example.com/authorize" {
				t.Errorf("the browser opens %s", p.URL)
			}
			var err error
			if asked, err = url.ParseQuery(query); err != nil {
				return err
			}
			browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			resp, err := browser.Get(asked.Get("redirect_uri") + "?" + answer(asked))
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		},
	}
	if change != nil {
		change(&c)
	}
	err = login.Browser(t.Context(), rfcSession(t, r), c)
	return asked, err
}

// withState is a printed answer to the browser, with line breaks for display only, whose state is
// that of the request.
func withState(printed string) func(url.Values) string {
	return func(asked url.Values) string {
		_, query, _ := strings.Cut(strings.NewReplacer("\n", "", " ", "").Replace(printed), "?")
		values, err := url.ParseQuery(query)
		if err != nil || !values.Has("state") {
			panic("no answer: " + printed)
		}
		values.Set("state", asked.Get("state"))
		return values.Encode()
	}
}
