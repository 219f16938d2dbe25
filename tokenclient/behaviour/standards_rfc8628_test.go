package behaviour_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

// The answer of RFC 8628, section 3.2.
const rfc8628Answer = `
HTTP/1.1 200 OK
Content-Type: application/json
Cache-Control: no-store

{
  "device_code": "GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS",
  "user_code": "WDJB-MJHT",
  "verification_uri": "https://example.com/device",
  "verification_uri_complete":
      "https://example.com/device?user_code=WDJB-MJHT",
  "expires_in": 1800,
  "interval": 5
}`

// The requests of sections 3.1 and 3.4.
const (
	rfc8628Begin = `
POST /device_authorization HTTP/1.1
Host: server.example.com
Content-Type: application/x-www-form-urlencoded

client_id=1406020730&scope=example_scope`

	rfc8628Poll = `
POST /token HTTP/1.1
Host: server.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code
&device_code=GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS
&client_id=1406020730`
)

// deviceLogin plays the server by answers, after that of section 3.2. It returns what the
// person was shown, and how long it took.
func deviceLogin(t *testing.T, answers ...string) (w *rfcWire, p login.Prompt, took time.Duration, err error) {
	t.Helper()
	w = &rfcWire{answers: append([]string{rfc8628Answer}, answers...)}
	r := w.refresher(tokenclient.PublicClient("1406020730"))
	began := time.Now()
	err = login.Device(t.Context(), rfcSession(t, r), login.Config{
		Refresher: r, Scope: "example_scope",
		Metadata: &discovery.Metadata{DeviceAuthorizationEndpoint: "https://server.example.com/device_authorization"},
		Prompt:   func(_ context.Context, asked login.Prompt) error { p = asked; return nil },
	})
	return w, p, time.Since(began), err
}

func rfc8628Error(code string) string {
	return "HTTP/1.1 400 Bad Request\nContent-Type: application/json\n\n{\"error\":\"" + code + "\"}"
}

// TestRFC8628Requests: what is sent is what the RFC prints, and what the person is shown is
// what the server answered (sections 3.1 to 3.4).
func TestRFC8628Requests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, took, err := deviceLogin(t, rfc8628Error("authorization_pending"), rfc6749Answer)
		if err != nil || took != 10*time.Second {
			t.Fatalf("%v after %v", err, took)
		}
		sent := w.got()
		if len(sent) != 3 || sent[0] != printedRequest(t, rfc8628Begin) || sent[1] != printedRequest(t, rfc8628Poll) || sent[2] != sent[1] {
			t.Errorf("sent %+v", sent)
		}
		if p.URL != "https://example.com/device" || p.UserCode != "WDJB-MJHT" || p.CompleteURL != "https://example.com/device?user_code=WDJB-MJHT" || time.Until(p.Expiry) != 30*time.Minute-took {
			t.Errorf("%+v", p)
		}
		for _, part := range []string{"https://example.com/device\n", "WDJB-MJHT\n", "https://example.com/device?user_code=WDJB-MJHT\n"} {
			if !strings.Contains(p.String(), part) {
				t.Errorf("%s does not say %s", p, part)
			}
		}
	})
}

// TestRFC8628Errors: what section 3.5 has the client do.
func TestRFC8628Errors(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []string
		took    time.Duration
		is      error
	}{
		{"authorization_pending", []string{rfc8628Error("authorization_pending"), rfc8628Error("authorization_pending"), rfc6749Answer}, 15 * time.Second, nil},
		{"slow_down, for this and all subsequent requests", []string{rfc8628Error("slow_down"), rfc8628Error("authorization_pending"), rfc6749Answer}, 25 * time.Second, nil},
		{"access_denied", []string{rfc8628Error("access_denied")}, 5 * time.Second, login.ErrDenied},
		{"expired_token", []string{rfc8628Error("expired_token")}, 5 * time.Second, login.ErrNotFinished},
		{"a connection timeout: twice the interval", []string{"", "", rfc6749Answer}, 35 * time.Second, nil},
		{"expires_in is over", []string{rfc8628Error("authorization_pending")}, 30 * time.Minute, login.ErrNotFinished},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, _, took, err := deviceLogin(t, c.answers...)
			if !errors.Is(err, c.is) || took != c.took {
				t.Errorf("%s: %v after %v, want %v after %v", c.name, err, took, c.is, c.took)
			}
		})
	}
}
