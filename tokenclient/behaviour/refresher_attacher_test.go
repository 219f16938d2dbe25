package behaviour_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestJSONRefresherAttacherErrors: no error shows the access token, and all say
// whether it may have been sent.
func TestJSONRefresherAttacherErrors(t *testing.T) {
	watch := newSecretWatch(t)
	old := &tokenclient.Token{AccessToken: secretAccess}
	new := func(base sessiontest.RoundTrip, a tokenclient.Attacher) *tokenclient.JSONRefresher {
		return &tokenclient.JSONRefresher{TokenURL: sessiontest.FakeAPI + "/heartbeat", Attacher: a, HTTPClient: &http.Client{Transport: base}}
	}
	header := tokenclient.HeaderAttacher("X-Auth-Token")
	never := func(*http.Request) (*http.Response, error) { t.Error("sent"); return nil, io.EOF }
	for name, tc := range map[string]struct {
		r       *tokenclient.JSONRefresher
		old     *tokenclient.Token
		notSent bool
	}{
		"nothing to send": {new(never, header), &tokenclient.Token{}, true},
		"no token":        {new(never, header), nil, true},
		"no header":       {new(never, tokenclient.HeaderAttacher("")), old, true},
		"nil pointer":     {new(never, (*tokenclient.HeaderAttacher)(nil)), old, true},
		"attacher fails":  {new(never, leakyAttacher{}), old, true},
		"transport fails": {new(func(req *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("cannot send %v", req.Header)
		}, header), old, true},
		"connection breaks": {new(func(req *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(req.Context()).GotConn(httptrace.GotConnInfo{})
			return nil, io.ErrUnexpectedEOF // the header is out, the body was not read
		}, header), old, false},
		"server echoes": {new(func(req *http.Request) (*http.Response, error) {
			_, _ = io.Copy(io.Discard, req.Body)
			resp := sessiontest.Reply(req, 400)
			resp.Body = io.NopCloser(strings.NewReader(`{"error":"x","error_description":"bad token ` + req.Header.Get("X-Auth-Token") + `"}`))
			return resp, nil
		}, header), old, false},
	} {
		_, err := tc.r.Refresh(t.Context(), tc.old)
		var te *tokenclient.TokenError
		if !errors.As(err, &te) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := errors.Is(err, tokenclient.ErrNotPresented); got != tc.notSent {
			t.Errorf("%s: ErrNotPresented is %t: %v", name, got, err)
		}
		watch.value(name, err)
		watch.value(name+", the refresher", tc.r)
	}
}

// leakyAttacher puts the token into its error.
type leakyAttacher struct{}

func (leakyAttacher) HeaderName() string { return "X-A" }
func (leakyAttacher) Attach(_ *http.Request, t *tokenclient.Token) error {
	return errors.New("cannot attach " + t.AccessToken)
}
