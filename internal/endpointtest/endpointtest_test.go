package endpointtest_test

import (
	"io"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpointtest"
)

// inner counts how often a test within the test fails.
type inner struct {
	testing.TB
	failures int
}

func (*inner) Helper()                 {}
func (i *inner) Errorf(string, ...any) { i.failures++ }

func TestWantSilent(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "access token": 0, endpointtest.Secret: 1, "x" + endpointtest.Refresh + "x": 1, "PLANTED-ACCESS-TOKEN-0123456789": 1,
	} {
		i := &inner{}
		if endpointtest.WantSilent(i, "nothing", text); i.failures != want {
			t.Errorf("%q: %d failures, want %d", text, i.failures, want)
		}
	}
}

func TestServe(t *testing.T) {
	srv, calls := endpointtest.Serve(t, endpointtest.Answer(418, "text/x", "a body"))
	for n := range int32(3) {
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != 418 || resp.Header.Get("Content-Type") != "text/x" || string(body) != "a body" || calls.Load() != n+1 {
			t.Errorf("%s %q, %v, after %d calls", resp.Status, body, err, calls.Load())
		}
	}
}
