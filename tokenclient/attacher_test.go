package tokenclient_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestAttacherBearer: the scheme is written as servers want it, whatever the
// token endpoint called it (RFC 6750, section 2.1).
func TestAttacherBearer(t *testing.T) {
	for tokenType, want := range map[string]string{
		"":       "Bearer access-0",
		"Bearer": "Bearer access-0",
		"bearer": "Bearer access-0",
		"BEARER": "Bearer access-0",
		"MAC":    "MAC access-0",
		"DPoP":   "DPoP access-0",
		"dpop":   "DPoP access-0",
		// What servers write that is no scheme.
		"jwt-bearer": "Bearer access-0", "N_A": "Bearer access-0", "user": "Bearer access-0", "bot": "Bearer access-0",
		"BearerToken": "Bearer access-0", "JWT": "Bearer access-0", "access_token": "Bearer access-0",
		"urn:ietf:params:oauth:token-type:access_token": "Bearer access-0", "application/jwt": "Bearer access-0", "Bearer,": "Bearer access-0",
	} {
		s := sessiontest.LoggedIn(t, nil)
		if err := s.SetToken(t.Context(), &tokenclient.Token{AccessToken: sessiontest.Access(0), TokenType: tokenType}); err != nil {
			t.Fatal(err)
		}
		base := sessiontest.NewBase(200)
		if _, err := s.Wrap(&http.Client{Transport: base}).Get(sessiontest.URL); err != nil || strings.Join(base.Sent[0].Auth, "|") != want {
			t.Errorf("type %q: error %v, Authorization %q", tokenType, err, base.Sent[0].Auth)
		}
	}
}

// TestAttacherSchemes: what the program lists is a scheme too, in its own spelling.
func TestAttacherSchemes(t *testing.T) {
	for tokenType, want := range map[string]string{
		"custom": "Custom a", "CUSTOM": "Custom a", "other": "other a", "mac": "MAC a", "": "Bearer a", "user": "Bearer a",
	} {
		req := &http.Request{Header: http.Header{}}
		err := tokenclient.Bearer{Schemes: "Custom  other"}.Attach(req, &tokenclient.Token{AccessToken: "a", TokenType: tokenType})
		if got := req.Header.Get("Authorization"); err != nil || got != want {
			t.Errorf("type %q: %q, %v; want %q", tokenType, got, err, want)
		}
	}
}

// TestAttacherHeader: the bare token in a header of the server's own, in whatever
// way its name is written, and nothing in Authorization.
func TestAttacherHeader(t *testing.T) {
	for _, name := range []string{"X-Auth-Token", "x-auth-token", "X-AUTH-TOKEN"} {
		r := sessiontest.New(t, &tokentest.Options{Header: "X-Auth-Token"}, func(c *tokenclient.Config, _ *tokentest.Server) {
			c.Attacher = tokenclient.HeaderAttacher(name)
		})
		r.Login(t)
		r.WantGet(t, 200)
		r.Server.RevokeAccess("alice")
		r.WantGet(t, 200)
		r.WantRefreshes(t, 1)
		if got := tokenclient.HeaderAttacher(name).HeaderName(); got != "X-Auth-Token" {
			t.Errorf("HeaderName is %q", got)
		}
	}
}

// TestAttacherWraps: an Attacher of the user's that wraps another is called for each request,
// replays included, and not at all for a request that the caller put a token on. Its error
// fails the request.
func TestAttacherWraps(t *testing.T) {
	for header, wrapped := range map[string]tokenclient.Attacher{
		"Authorization": tokenclient.Bearer{}, "X-Auth-Token": tokenclient.HeaderAttacher("X-Auth-Token"),
	} {
		t.Run(header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent []http.Header
				api := func(req *http.Request) (*http.Response, error) {
					sent = append(sent, req.Header)
					time.Sleep(1234 * time.Millisecond)
					return sessiontest.Reply(req, 200+len(sent)%2*201), nil // every other one is refused
				}
				refresh := func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
					return sessiontest.Pair("T1", "R1", time.Hour), nil
				}
				r := sessiontest.NewFake(t, refresh, api, func(c *tokenclient.Config) { c.Attacher = stamped{wrapped} })
				r.Give(t, sessiontest.Pair("T0", "R0", time.Hour))
				began := time.Now()
				r.WantGet(t, 200)
				for i, h := range sent {
					at := began.Add(time.Duration(i) * 1234 * time.Millisecond).UnixMilli()
					if got, want := h.Get("X-Timestamp"), strconv.FormatInt(at, 10); got != want || !strings.HasSuffix(h.Get(header), "T"+strconv.Itoa(i)) {
						t.Errorf("sending %d: time %q, want %q; %v", i, got, want, h)
					}
				}
				if len(sent) != 2 {
					t.Fatalf("sent %d times, want twice", len(sent))
				}

				req, err := http.NewRequestWithContext(t.Context(), "GET", sessiontest.FakeAPI, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set(header, "mine")
				resp, err := r.Client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if h := sent[len(sent)-1]; h.Get("X-Timestamp") != "" || h.Get(header) != "mine" {
					t.Errorf("a request with a token of its own was changed: %v", h)
				}
			})
		})
	}

	r := sessiontest.NewFake(t, sessiontest.NoRefresh, sessiontest.AlwaysOK, func(c *tokenclient.Config) { c.Attacher = stamped{failingAttacher{}} })
	r.Give(t, sessiontest.Pair("T0", "R0", time.Hour))
	_, err := r.Client.Get(sessiontest.FakeAPI)
	sessiontest.WantErr(t, "a request", err, errAttach)
}

type failingAttacher struct{ tokenclient.Bearer }

var errAttach = errors.New("attacher")

func (failingAttacher) Attach(*http.Request, *tokenclient.Token) error { return errAttach }

// TestAttacherCallerSet: a request on which the caller set the attacher's header
// goes out untouched, even if the header has no value; any other header is the
// caller's own business.
func TestAttacherCallerSet(t *testing.T) {
	for _, tc := range []struct {
		attacher tokenclient.Attacher
		header   http.Header
		own      bool // the session's token goes out
	}{
		{nil, http.Header{"Authorization": {"Basic x"}}, false},
		{nil, http.Header{"Authorization": nil}, false},
		{nil, http.Header{"Authorization": {}}, false},
		{nil, http.Header{"X-Auth-Token": {"mine"}}, true},
		{tokenclient.HeaderAttacher("x-auth-token"), http.Header{"X-Auth-Token": {"mine"}}, false},
		{tokenclient.HeaderAttacher("X-Auth-Token"), http.Header{"Authorization": {"Basic x"}}, true},
	} {
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Attacher = tc.attacher })
		base := sessiontest.NewBase(401)
		req := sessiontest.NewRequest(t, t.Context(), sessiontest.URL, "stream", tc.header)
		resp, err := s.Transport(base).RoundTrip(req.Request)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		got := len(base.Sent) == 2
		if got != tc.own {
			t.Errorf("attacher %v, caller's header %v: sent %d times", tc.attacher, tc.header, len(base.Sent))
		}
		for name, values := range tc.header {
			if sent := base.Sent[0].Request.Header[name]; strings.Join(sent, "|") != strings.Join(values, "|") {
				t.Errorf("attacher %v: %s was sent as %q, the caller set %q", tc.attacher, name, sent, values)
			}
		}
	}
}

// stampAttacher is an Attacher as programs write them: it may change anything of
// the request, and counts.
type stampAttacher struct{ n atomic.Int32 }

func (*stampAttacher) HeaderName() string { return "x-stamp" }

func (a *stampAttacher) Attach(req *http.Request, t *tokenclient.Token) error {
	a.n.Add(1)
	req.Header.Set("X-Stamp", t.AccessToken)
	req.Header.Add("X-Twice", "three")
	req.Header.Del("Accept")
	req.Method, req.Host = "GET", "changed"
	return nil
}

// TestAttacherOwn: an Attacher of the program's is asked for each sending, gets a
// request of its own to change, and its header is the one that the caller may set.
func TestAttacherOwn(t *testing.T) {
	a := new(stampAttacher)
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Attacher = a })
	base := sessiontest.NewBase(401, 200)
	for _, header := range []http.Header{nil, {"X-Stamp": {"mine"}}} {
		req := sessiontest.NewRequest(t, t.Context(), sessiontest.URL, "GetBody", header)
		req.Header["X-Twice"] = append(make([]string, 0, 8), "one", "two")
		resp, err := s.Transport(base).RoundTrip(req.Request)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		req.WantUnchanged(t)
	}
	for i, want := range []string{sessiontest.Access(0), sessiontest.Access(1), "mine"} {
		if got := base.Sent[i].Request.Header.Get("X-Stamp"); got != want {
			t.Errorf("sending %d: stamp %q, want %q", i+1, got, want)
		}
	}
	if n := a.n.Load(); n != 2 {
		t.Errorf("Attach was called %d times", n)
	}
}

// TestAttacherNilHeader: an Attacher always has a map to write to.
func TestAttacherNilHeader(t *testing.T) {
	s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Attacher = new(stampAttacher) })
	base := sessiontest.NewBase(200)
	req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, sessiontest.URL, nil)
	req.Header = nil
	if _, err := s.Transport(base).RoundTrip(req); err != nil || req.Header != nil {
		t.Errorf("error %v, header %v", err, req.Header)
	}
}

// TestAttacherBadToken: a token that cannot be sent in a header is refused before
// it is held, so that no request can be split by it.
func TestAttacherBadToken(t *testing.T) {
	for _, bad := range []*tokenclient.Token{
		{AccessToken: "a\r\nX-Evil: 1"},
		{AccessToken: "a\x00"},
		{AccessToken: "ä"},
		{AccessToken: "a", TokenType: "Bearer x\r\nX-Evil: 1"},
		{AccessToken: "a", TokenType: "two words"},
		{AccessToken: "a", RefreshToken: "b\n"},
		{TokenType: "Bearer"},
	} {
		s := sessiontest.LoggedIn(t, nil)
		err := s.SetToken(t.Context(), bad)
		if err == nil || strings.Contains(err.Error(), "Evil") {
			t.Errorf("SetToken(%q): %v", bad.AccessToken, err)
		}
		if now, err := s.Peek(t.Context()); err != nil || now.AccessToken != sessiontest.Access(0) {
			t.Errorf("after a bad SetToken: token %v, error %v", now, err)
		}
	}
}

// TestAttacherHeaderCount: however many headers a request has, all of them go out
// with the token, and none is added to the caller's.
func TestAttacherHeaderCount(t *testing.T) {
	base := sessiontest.NewBase(200)
	transport := sessiontest.LoggedIn(t, nil).Transport(base)
	for n := range 120 {
		req := allocsRequest(t, http.MethodGet, n)
		before := req.Header.Clone()
		if _, err := transport.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		sent := base.Sent[n].Request.Header.Clone()
		if !slices.Equal(sent["Authorization"], []string{"Bearer " + sessiontest.Access(0)}) {
			t.Errorf("%d headers: Authorization is %q", n, sent["Authorization"])
		}
		delete(sent, "Authorization")
		if !reflect.DeepEqual(sent, before) || !reflect.DeepEqual(req.Header, before) {
			t.Errorf("%d headers: sent %v, and the caller's are %v", n, sent, req.Header)
		}
	}
	req := allocsRequest(t, http.MethodGet, 0)
	req.Header = nil
	if _, err := transport.RoundTrip(req); err != nil || req.Header != nil {
		t.Errorf("no header map: error %v, afterwards %v", err, req.Header)
	}
}

// What embeds an Attacher of the package's, and says more than that.
type (
	overBearer        struct{ tokenclient.Bearer }
	overBearerPointer struct{ *tokenclient.Bearer }
	overHeader        struct{ tokenclient.HeaderAttacher }
	overOver          struct{ overBearer }
	overName          struct{ tokenclient.Bearer }
	overNothing       struct{ tokenclient.Bearer }
	overInterface     struct{ tokenclient.Attacher }
)

func attachOwn(req *http.Request, name string, t *tokenclient.Token) error {
	req.Header.Set(name, "own "+t.AccessToken)
	return nil
}

func (overBearer) Attach(req *http.Request, t *tokenclient.Token) error {
	return attachOwn(req, "Authorization", t)
}
func (overBearerPointer) Attach(req *http.Request, t *tokenclient.Token) error {
	return attachOwn(req, "Authorization", t)
}
func (overHeader) Attach(req *http.Request, t *tokenclient.Token) error {
	return attachOwn(req, "X-Auth-Token", t)
}
func (overName) HeaderName() string { return "X-Name" }
func (overName) Attach(req *http.Request, t *tokenclient.Token) error {
	return attachOwn(req, "X-Name", t)
}
func (overInterface) Attach(req *http.Request, t *tokenclient.Token) error {
	return attachOwn(req, "Authorization", t)
}

// TestAttacherEmbedded: an Attacher that embeds one of the package's is asked itself. Its
// Attach was never called before, because an unexported method was promoted with the rest.
func TestAttacherEmbedded(t *testing.T) {
	for _, tc := range []struct {
		attacher     tokenclient.Attacher
		header, want string
	}{
		{overBearer{}, "Authorization", "own "},
		{&overBearer{}, "Authorization", "own "},
		{overBearerPointer{new(tokenclient.Bearer)}, "Authorization", "own "},
		{overHeader{"X-Auth-Token"}, "X-Auth-Token", "own "},
		{&overHeader{"X-Auth-Token"}, "X-Auth-Token", "own "},
		{overOver{}, "Authorization", "own "},
		{overName{}, "X-Name", "own "},
		{overInterface{tokenclient.Bearer{}}, "Authorization", "own "},
		{overNothing{}, "Authorization", "Bearer "},
		{new(tokenclient.Bearer), "Authorization", "Bearer "},
		{new(tokenclient.HeaderAttacher("X-Auth-Token")), "X-Auth-Token", ""},
	} {
		s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Attacher = tc.attacher })
		base := sessiontest.NewBase(401, 200)
		resp, err := s.Transport(base).RoundTrip(sessiontest.NewRequest(t, t.Context(), sessiontest.URL, "GetBody", nil).Request)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		for i, sent := range base.Sent {
			h := sent.Request.Header
			if got := h.Get(tc.header); got != tc.want+sessiontest.Access(i) || tc.header != "Authorization" && h["Authorization"] != nil {
				t.Errorf("%T, sending %d: %v, want %s: %s", tc.attacher, i+1, h, tc.header, tc.want+sessiontest.Access(i))
			}
		}
		metadata, err := s.PerRPCCredentials().GetRequestMetadata(t.Context(), "https://api.example.com/service")
		if got := metadata[strings.ToLower(tc.header)]; err != nil || got != tc.want+sessiontest.Access(1) {
			t.Errorf("%T over gRPC: %v, error %v", tc.attacher, metadata, err)
		}
	}
}
