package behaviour_test

import (
	"errors"
	"net/http"
	"net/http/cookiejar"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestRoundTripperBase: a nil Base is the default transport, one without
// CloseIdleConnections is no harm, and one with it is asked.
func TestRoundTripperBase(t *testing.T) {
	r := sessiontest.New(t, nil, nil)
	r.Login(t)
	client := r.Session.Client()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	resp, err := client.Get(r.Server.URL + "/api/")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	client.CloseIdleConnections()

	base := sessiontest.NewBase()
	r.Session.Wrap(&http.Client{Transport: base}).CloseIdleConnections()
	if base.Idle != 1 {
		t.Errorf("CloseIdleConnections reached Base %d times", base.Idle)
	}
	(&tokenclient.Transport{Base: sessiontest.RoundTrip(nil)}).CloseIdleConnections()
}

func TestWrapKeepsTheClient(t *testing.T) {
	s := sessiontest.LoggedIn(t, nil)
	jar, _ := cookiejar.New(nil)
	base := sessiontest.NewBase()
	stop := errors.New("stop")
	given := &http.Client{Jar: jar, Timeout: time.Minute, Transport: base,
		CheckRedirect: func(*http.Request, []*http.Request) error { return stop }}
	wrapped := s.Wrap(given)
	if given.Transport != http.RoundTripper(base) || given == wrapped {
		t.Error("the client that was given has changed")
	}
	if wrapped.Jar != given.Jar || wrapped.Timeout != given.Timeout || wrapped.CheckRedirect(nil, nil) != stop {
		t.Errorf("Wrap lost something: %+v", wrapped)
	}
	transport, ok := wrapped.Transport.(*tokenclient.Transport)
	if !ok || transport.Session != s || transport.Base != http.RoundTripper(base) {
		t.Errorf("Wrap made transport %+v", wrapped.Transport)
	}
	if c := s.Wrap(nil); c == http.DefaultClient || c.Transport.(*tokenclient.Transport).Base != nil {
		t.Error("Wrap(nil) is not a new client over the default transport")
	}
}
