package behaviour_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestPendingBody: a client writes part of its stream, and the rest only when the server
// has had the first part: so nothing more comes before the second sending. A server
// refuses the token at once meanwhile.
func TestPendingBody(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			for i := range 20 {
				begun := make(chan struct{})
				srv := startServer(t, protocol, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") == "Bearer "+sessiontest.Access(0) {
						_, _ = io.ReadFull(r.Body, make([]byte, 3)) // the client has nothing more to send
						_ = http.NewResponseController(w).EnableFullDuplex()
						w.WriteHeader(http.StatusUnauthorized)
						return
					}
					first := make([]byte, 3)
					_, _ = io.ReadFull(r.Body, first)
					close(begun)
					rest, err := io.ReadAll(r.Body)
					_, _ = fmt.Fprintf(w, "%s%s %v", first, rest, err)
				}))
				s := sessiontest.LoggedIn(t, func(c *tokenclient.Config) { c.Origins = []string{srv.URL} })
				r, w := io.Pipe()
				go func() {
					_, _ = io.WriteString(w, "one")
					<-begun
					_, _ = io.WriteString(w, " two")
					_, _ = io.WriteString(w, " three")
					_ = w.Close()
				}()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, r)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := s.Transport(srv.Client().Transport).RoundTrip(req)
				if err != nil {
					t.Fatalf("run %d: %v", i, err)
				}
				got, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(got) != "one two three <nil>" {
					t.Fatalf("run %d: status %d, %q, error %v", i, resp.StatusCode, got, err)
				}
				srv.Close()
			}
		})
	}
}
