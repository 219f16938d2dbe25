package tokenclient_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

func TestTimestampAttacher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rfc := func(now time.Time) string { return now.UTC().Format(time.RFC3339) }
		for name, tc := range map[string]struct {
			attacher      tokenclient.Attacher
			header, token string
			time          func(time.Time) string
		}{
			"Bearer": {tokenclient.TimestampAttacher{Header: "x-time"}, "Authorization", "Bearer T0",
				func(now time.Time) string { return strconv.FormatInt(now.UnixMilli(), 10) }},
			"next and value": {&tokenclient.TimestampAttacher{
				Next: tokenclient.HeaderAttacher("X-Auth-Token"), Header: "X-Time", Value: rfc,
			}, "X-Auth-Token", "T0", rfc},
		} {
			var sent http.Header
			r := sessiontest.NewFake(t, nil, func(req *http.Request) (*http.Response, error) {
				sent = req.Header
				return sessiontest.Reply(req, 200), nil
			}, func(c *tokenclient.Config) {
				c.Attacher = tc.attacher
				c.Refresher, c.Renewed = nil, tokenclient.RenewedHeader("X")
			})
			r.Give(t, sessiontest.Pair("T0", "", 0))
			for range 2 {
				r.WantGet(t, 200)
				if got, want := sent.Get("X-Time"), tc.time(time.Now()); got != want || sent.Get(tc.header) != tc.token {
					t.Errorf("%s: time %q, want %q; token in %v", name, got, want, sent)
				}
				time.Sleep(1234 * time.Millisecond)
			}
			// A request that has a token of its own goes out untouched.
			req, err := http.NewRequestWithContext(t.Context(), "GET", sessiontest.FakeAPI, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set(tc.header, "mine")
			if resp, err := r.Client.Do(req); err != nil || sent.Get("X-Time") != "" {
				t.Errorf("%s: error %v, sent %v", name, err, sent)
			} else {
				resp.Body.Close()
			}
		}
	})
}

type failingAttacher struct{ tokenclient.Attacher }

var errAttach = errors.New("attacher")

func (failingAttacher) HeaderName() string                             { return "X-A" }
func (failingAttacher) Attach(*http.Request, *tokenclient.Token) error { return errAttach }

func TestTimestampAttacherErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		attacher tokenclient.Attacher
		want     string
	}{
		"no header":      {tokenclient.TimestampAttacher{}, "TimestampAttacher.Header"},
		"by pointer":     {&tokenclient.TimestampAttacher{}, "TimestampAttacher.Header"},
		"nil pointer":    {(*tokenclient.TimestampAttacher)(nil), "nil pointer"},
		"bad header":     {tokenclient.TimestampAttacher{Header: "X Y"}, `"X Y"`},
		"token's header": {tokenclient.TimestampAttacher{Header: "authorization"}, "header of the token"},
		"nil Next":       {tokenclient.TimestampAttacher{Header: "X", Next: (*pointerAttacher)(nil)}, "Next holds a nil pointer"},
		"bad Next":       {tokenclient.TimestampAttacher{Header: "X", Next: tokenclient.HeaderAttacher("")}, "Next: HeaderAttacher"},
	} {
		_, err := tokenclient.New(tokenclient.Config{
			Refresher: sessiontest.Refresher(), Origins: []string{"https://api.example.com"}, Attacher: tc.attacher,
		})
		if err == nil || !strings.Contains(err.Error(), "Config.Attacher") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	req, err := http.NewRequest("GET", "https://api.example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	if new(tokenclient.TimestampAttacher).Attach(req, sessiontest.Pair("T0", "", 0)) == nil {
		t.Error("Attach without a header is no error")
	}
	a := tokenclient.TimestampAttacher{Next: failingAttacher{}, Header: "X-Time"}
	sessiontest.WantErr(t, "Attach", a.Attach(req, sessiontest.Pair("T0", "", 0)), errAttach)
}
