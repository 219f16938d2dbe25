package login_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestDevice: somebody takes a while, and approves, refuses, or does neither.
func TestDevice(t *testing.T) {
	for _, c := range []struct {
		name  string
		does  func(*tokentest.Server)
		after time.Duration
		is    error
		code  string
	}{
		{"approved", func(s *tokentest.Server) { s.Approve("alice") }, 31 * time.Second, nil, ""},
		{"refused", func(s *tokentest.Server) { s.Approve("") }, 31 * time.Second, login.ErrDenied, "access_denied"},
		{"expired at the server", func(s *tokentest.Server) { s.Set(func(o *tokentest.Options) { o.ClockSkew = time.Hour }) }, 31 * time.Second, login.ErrNotFinished, "expired_token"},
		{"expired here", func(*tokentest.Server) {}, 10 * time.Minute, login.ErrNotFinished, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newMemoryRig(t)
			began := time.Now()
			var prompt login.Prompt
			r.config.Prompt = func(_ context.Context, p login.Prompt) error {
				prompt = p
				time.Sleep(30*time.Second + time.Millisecond)
				c.does(r.Server)
				return nil
			}
			err := login.Device(t.Context(), r.session, r.config)
			if took := time.Since(began); !errors.Is(err, c.is) || took < c.after-time.Second || took > c.after {
				t.Errorf("%s: %v after %v", c.name, err, took)
			}
			if refused, ok := errors.AsType[*tokenclient.TokenError](err); ok != (c.code != "") || ok && refused.Code != c.code {
				t.Errorf("%s: %#v", c.name, err)
			}
			if c.is == nil {
				r.wantLogin(t)
			} else {
				r.wantNoLogin(t)
			}
			if prompt.URL != r.URL+"/device" || len(prompt.UserCode) != 9 || prompt.CompleteURL != r.URL+"/device?user_code="+prompt.UserCode || prompt.Expiry.Sub(began) != 10*time.Minute {
				t.Errorf("%s: %+v", c.name, prompt)
			}
			if text := prompt.String(); !strings.Contains(text, "    "+prompt.URL+"\n") || !strings.Contains(text, "    "+prompt.UserCode+"\n") || !strings.Contains(text, prompt.CompleteURL) {
				t.Errorf("%s: %s", c.name, text)
			}
		})
	}
}

// newMemoryRig is a rig in a bubble, of whom nobody is approved yet.
func newMemoryRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Server: tokentest.NewServer(t, &tokentest.Options{InMemory: true})}
	r.refresher = &tokenclient.OAuth2Refresher{TokenURL: r.URL + "/oauth/token", ClientAuth: tokenclient.PublicClient("app"), HTTPClient: r.Client(), InsecureHTTP: true}
	var err error
	r.session, err = tokenclient.New(tokenclient.Config{Refresher: r.refresher, Origins: []string{r.URL}, InsecureHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sessiontest.Close(t, r.session) })
	r.config = login.Config{Refresher: r.refresher, Metadata: deviceMetadata(r.URL + "/oauth/device")}
	return r
}

// A script is a server that answers to one poll after the other, the last of them for ever.
type script struct {
	device string // the answer of the device authorization endpoint
	polls  []poll
	asked  []time.Duration // when the token endpoint was asked, since the beginning
}

// A poll is an answer. Without a status the connection breaks.
type poll struct {
	status int
	body   string
	header string // of Retry-After
	takes  time.Duration
}

const good = `{"device_code":"planted-device-code","user_code":"AB-CD","verification_uri":"https://auth.example.com/device"`

var (
	pending  = poll{status: 400, body: `{"error":"authorization_pending"}`}
	slowDown = poll{status: 400, body: `{"error":"slow_down"}`}
	granted  = poll{status: 200, body: `{"access_token":"a","expires_in":60}`}
	broken   = poll{}
)

// login plays s, with changes of the config, and returns how it ended.
func (s *script) login(t *testing.T, ctx context.Context, change func(*login.Config)) error {
	t.Helper()
	began := time.Now()
	r := newEndpointRig(t, func(req *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
		p := poll{status: 200, body: s.device}
		if req.URL.Path == "/token" {
			s.asked = append(s.asked, time.Since(began))
			p = s.polls[min(len(s.asked), len(s.polls))-1]
		}
		if p.takes > 0 {
			select {
			case <-time.After(p.takes):
			case <-req.Context().Done():
				return nil, req.Context().Err()
			}
		}
		if p.status == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		return &http.Response{StatusCode: p.status, Request: req, Header: http.Header{"Retry-After": {p.header}}, Body: io.NopCloser(strings.NewReader(p.body))}, nil
	})
	if change != nil {
		change(&r.config)
	}
	return login.Device(ctx, r.session, r.config)
}

// seconds says when s was asked.
func (s *script) seconds() string {
	var list []string
	for _, at := range s.asked {
		list = append(list, fmt.Sprint(at.Seconds()))
	}
	return strings.Join(list, " ")
}

// TestDevicePolls: when the server is asked, and what ends that (RFC 8628, section 3.5).
func TestDevicePolls(t *testing.T) {
	status := func(n int, body string) poll { return poll{status: n, body: body} }
	for _, c := range []struct {
		name, more string // more of the device authorization response
		polls      []poll
		asked      string
		says       string // "": it is a login
		is         error
	}{
		{"no interval", `}`, []poll{pending, pending, granted}, "5 10 15", "", nil},
		{"an interval", `,"interval":2}`, []poll{pending, granted}, "2 4", "", nil},
		{"an interval in a string", `,"interval":"3"}`, []poll{pending, granted}, "3 6", "", nil},
		{"a fraction", `,"interval":1.5}`, []poll{pending, granted}, "1.5 3", "", nil},
		{"no time", `,"interval":0}`, []poll{pending, granted}, "5 10", "", nil},
		{"less than that", `,"interval":-1}`, []poll{granted}, "5", "", nil},
		{"a year", `,"interval":31536000}`, []poll{granted}, "5", "", nil},
		{"not a number", `,"interval":"NaN"}`, []poll{granted}, "5", "", nil},
		{"slow down", `}`, []poll{slowDown, pending, slowDown, pending, granted}, "5 15 25 40 55", "", nil},
		{"a storm of them", `,"expires_in":120}`, []poll{slowDown}, "5 15 30 50 75 105", "login: not finished in time", login.ErrNotFinished},
		{"broken connections", `}`, []poll{broken, broken, broken, pending, granted}, "5 15 35 75 80", "", nil},
		{"a server that is down", `,"expires_in":300}`, []poll{status(503, "")}, "5 15 35 75 135 195 255", "login: not finished in time; the last call failed: tokenclient: token endpoint auth.example.com/token: status 503", login.ErrNotFinished},
		{"a server that cannot be reached", `,"expires_in":19}`, []poll{broken}, "5 15", "login: not finished in time; the last call failed: tokenclient: token endpoint auth.example.com/token: unexpected EOF", login.ErrNotFinished},
		{"a server that hangs until the end", `,"expires_in":40}`, []poll{{takes: time.Hour}}, "5 35", "login: not finished in time; the last call failed: tokenclient", login.ErrNotFinished},
		{"a server that was down", `,"expires_in":19}`, []poll{broken, pending}, "5 15", "login: not finished in time", login.ErrNotFinished},
		{"a long interval, broken", `,"interval":90}`, []poll{broken, granted}, "90 180", "", nil},
		{"a server that hangs", `}`, []poll{{takes: time.Hour}, granted}, "5 35", "", nil},
		{"a server that says when", `}`, []poll{{status: 429, header: "30"}, granted}, "5 35", "", nil},
		{"errors with a 200", `}`, []poll{status(200, pending.body), status(200, slowDown.body), granted}, "5 10 20", "", nil},
		{"denied", `}`, []poll{pending, status(400, `{"error":"access_denied"}`)}, "5 10", "login: access denied: tokenclient: token endpoint auth.example.com/token: status 400: access_denied", login.ErrDenied},
		{"expired", `}`, []poll{status(400, `{"error":"expired_token"}`)}, "5", "login: not finished in time: tokenclient", login.ErrNotFinished},
		{"refused", `}`, []poll{status(400, `{"error":"invalid_grant"}`)}, "5", "invalid_grant", nil},
		{"another client", `}`, []poll{status(401, `{"error":"invalid_client"}`)}, "5", "invalid_client", nil},
		{"redirected", `}`, []poll{status(302, ``)}, "5", "refusing to follow", nil},
		{"a page", `}`, []poll{status(200, `<html>`)}, "5", "answer is HTML", nil},
		{"garbage", `}`, []poll{status(200, `garbage`)}, "5", "not a JSON object", nil},
		{"no expiry", `}`, []poll{{status: 400, body: pending.body, takes: 55 * time.Second / 11}}, "", "login: not finished in time", login.ErrNotFinished},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{device: good + c.more, polls: c.polls}
			began := time.Now()
			err := s.login(t, t.Context(), nil)
			if got := s.seconds(); c.asked != "" && got != c.asked {
				t.Errorf("%s: asked at %s, want %s", c.name, got, c.asked)
			}
			if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "planted")) || !errors.Is(err, c.is) && c.is != nil {
				t.Errorf("%s: %v, want %q", c.name, err, c.says)
			}
			if c.name == "a server that was down" && err.Error() != c.says || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", c.name, err)
			}
			if took := time.Since(began); c.name == "no expiry" && took != 15*time.Minute {
				t.Errorf("%s: it took %v", c.name, took)
			}
		})
	}
}

// TestDeviceTimeout: the program's own time is over before the code's.
func TestDeviceTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ mine, lasts time.Duration }{{12 * time.Second, 12 * time.Second}, {time.Hour, time.Minute}, {-1, time.Minute}} {
			s := &script{device: good + `,"expires_in":60}`, polls: []poll{pending}}
			began := time.Now()
			err := s.login(t, t.Context(), func(conf *login.Config) { conf.Timeout = c.mine })
			if took := time.Since(began); !errors.Is(err, login.ErrNotFinished) || took != c.lasts {
				t.Errorf("%v: %v after %v", c.mine, err, took)
			}
		}
	})
}

// TestDeviceCancelled: the end of the context ends a login wherever it is.
func TestDeviceCancelled(t *testing.T) {
	for _, at := range []time.Duration{0, time.Second, 6 * time.Second} { // at the device endpoint, between polls, in one
		synctest.Test(t, func(t *testing.T) {
			s := &script{device: good + `}`, polls: []poll{{takes: time.Minute}}}
			ctx, cancel := context.WithTimeout(t.Context(), at)
			defer cancel()
			began := time.Now()
			err := s.login(t, ctx, nil)
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, login.ErrNotFinished) || took != at {
				t.Errorf("%v: %v after %v", at, err, took)
			}
		})
	}
}

// TestDeviceAnswers: what the device authorization endpoint may answer.
func TestDeviceAnswers(t *testing.T) {
	for _, c := range []struct{ name, answer, says, url, complete string }{
		{"the least", good + `}`, "", "https://auth.example.com/device", ""},
		{"complete", good + `,"verification_uri_complete":"https://auth.example.com/device?c=AB-CD"}`, "", "https://auth.example.com/device", "https://auth.example.com/device?c=AB-CD"},
		{"as Google has it", `{"device_code":"x","user_code":"AB-CD","verification_url":"https://www.google.com/device"}`, "", "https://www.google.com/device", ""},
		{"on this machine", `{"device_code":"x","user_code":"AB-CD","verification_uri":"http://localhost:80/device"}`, "", "http://localhost:80/device", ""},
		{"complete, of a script", good + `,"verification_uri_complete":"javascript:alert(1)"}`, "", "https://auth.example.com/device", ""},
		{"complete, plain http", good + `,"verification_uri_complete":"http://auth.example.com/"}`, "", "https://auth.example.com/device", ""},
		{"complete, for a terminal", good + `,"verification_uri_complete":"https://a/\u001b[2J"}`, "", "https://auth.example.com/device", ""},
		{"complete, no string", good + `,"verification_uri_complete":7}`, "", "https://auth.example.com/device", ""},
		{"no device code", `{"user_code":"AB-CD","verification_uri":"https://a/"}`, "no device_code", "", ""},
		{"no user code", `{"device_code":"planted","verification_uri":"https://a/"}`, "has no user_code", "", ""},
		{"no page", `{"device_code":"planted","user_code":"AB-CD"}`, "has no user_code, or no verification_uri", "", ""},
		{"plain http", `{"device_code":"planted","user_code":"x","verification_uri":"http://auth.example.com/"}`, "it is to be https", "", ""},
		{"a script", `{"device_code":"planted","user_code":"x","verification_uri":"javascript:alert(1)"}`, "it is to be https", "", ""},
		{"a page for a terminal", `{"device_code":"planted","user_code":"x","verification_uri":"https://a/\u001b[2J"}`, "it is to be https", "", ""},
		{"a long page", `{"device_code":"planted","user_code":"x","verification_uri":"https://a/` + strings.Repeat("x", 3000) + `"}`, "it is to be https", "", ""},
		{"a code for a terminal", `{"device_code":"planted","user_code":"\u001b[2J","verification_uri":"https://a/"}`, "does not print", "", ""},
		{"a long code", `{"device_code":"planted","user_code":"` + strings.Repeat("x", 65) + `","verification_uri":"https://a/"}`, "is too long", "", ""},
		{"a device code that does not print", `{"device_code":"planted\u0001","user_code":"x","verification_uri":"https://a/"}`, "device_code", "", ""},
		{"an error", `{"error":"unauthorized_client"}`, "unauthorized_client", "", ""},
		{"a page of a proxy", `<html>`, "answer is HTML", "", ""},
		{"garbage", `x`, "not a JSON object", "", ""},
		{"nothing", ``, "answer is empty", "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			var prompt login.Prompt
			s := &script{device: c.answer, polls: []poll{granted}}
			err := s.login(t, t.Context(), func(conf *login.Config) {
				conf.Prompt = func(_ context.Context, p login.Prompt) error { prompt = p; return nil }
			})
			if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "planted")) {
				t.Errorf("%s: %v, want %q", c.name, err, c.says)
			}
			if prompt.URL != c.url || prompt.CompleteURL != c.complete || err != nil && len(s.asked) > 0 {
				t.Errorf("%s: %+v, asked %d times", c.name, prompt, len(s.asked))
			}
		})
	}
}
