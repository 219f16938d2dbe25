package clients_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// outcome is what a caller gets whose token is refused.
type outcome string

const (
	whole   outcome = "arrives whole"
	refused outcome = "the 401; sent again at once it arrives"
	either  outcome = "either: arrives whole if no more was taken than is kept, else the 401 as beside"
)

// errRefused is what the sending of a row returns if its client got the 401.
var errRefused = errors.New("the caller got the 401")

// rig is an API that revokes the token in the middle of the work, refuses it before or after
// it has read the body, and knows what arrived.
type rig struct {
	url     string
	base    http.RoundTripper // trusts the API; an *http.Transport but over HTTP/3
	session *tokenclient.Session
	tokens  *tokentest.Server
	mux     *http.ServeMux // behind the check of the token
	http    int            // the major version of the protocol
	early   bool

	// hits reports whether the token is to be revoked when r comes.
	hits func(r *http.Request) bool

	before int // refreshes when run began

	mu       sync.Mutex
	armed    bool     // the next request that hits has the token revoked
	refusals int      // since arm
	sums     []string // of the bodies that arrived since arm
}

func newRig(t *testing.T, version int, early bool) *rig {
	t.Helper()
	r := &rig{http: version, early: early, mux: http.NewServeMux(), hits: func(r *http.Request) bool { return r.ContentLength != 0 }}
	if version == 3 {
		r.listenQUIC(t)
	} else {
		r.listen(t)
	}
	session, tokens := newSession(t, nil, r.url)
	r.mu.Lock() // HTTP/3 has no other order that the race detector sees
	r.session, r.tokens = session, tokens
	r.mu.Unlock()
	r.mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	r.mux.HandleFunc("/sink", func(_ http.ResponseWriter, req *http.Request) { r.arrives(req.Body) })
	return r
}

func (r *rig) listen(t *testing.T) {
	srv := httptest.NewUnstartedServer(r)
	if r.http == 2 {
		srv.EnableHTTP2 = true
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	base := srv.Client().Transport.(*http.Transport)
	base.ExpectContinueTimeout = 10 * time.Second // as long as a busy machine takes
	countConns(t, base)
	r.url, r.base = srv.URL, base
}

// transport is the session's over the rig's own.
func (r *rig) transport() *tokenclient.Transport { return r.session.Transport(r.base) }

func (r *rig) client() *http.Client { return &http.Client{Transport: r.transport()} }

// arrives counts a body that is behind the check of the token.
func (r *rig) arrives(body io.Reader) {
	sum := sha256.New()
	if _, err := io.Copy(sum, body); err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sums = append(r.sums, hex.EncodeToString(sum.Sum(nil)))
}

func (r *rig) arm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed, r.refusals, r.sums = true, 0, nil
}

func (r *rig) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.ProtoMajor != r.http {
		w.WriteHeader(http.StatusHTTPVersionNotSupported)
		return
	}
	r.mu.Lock()
	if r.armed && r.hits(req) {
		r.armed = false
		r.tokens.RevokeAccess("alice")
	}
	r.mu.Unlock()
	if good(req.Context(), r.tokens, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")) {
		r.mux.ServeHTTP(w, req)
		return
	}
	if req.Context().Err() != nil { // the client is gone, and good could not ask
		return
	}
	r.mu.Lock()
	r.refusals++
	r.mu.Unlock()
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	w.Header().Set("Content-Type", "application/json")
	refuse := func() {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, refusal) // who leaves it unread keeps the connection
	}
	if !r.early {
		_, _ = io.Copy(io.Discard, req.Body)
		refuse()
		return
	}
	if req.ProtoMajor > 1 || req.Header.Get("Expect") != "" {
		refuse()
		return
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex()
	refuse()
	_ = control.Flush()
	_, _ = io.Copy(io.Discard, req.Body) // what is not read would reset the connection
}

// refusal is the body of the API's 401, longer than what a client's buffers take.
var refusal = `{"error":"invalid_token","error_description":"` + strings.Repeat("x", 16*kib) + `"}`

// run has send send data with a token that the API has accepted before, and returns what came
// of it. If that is the 401, the same is done again at once. It is an error if data does not
// arrive in the end, once and whole, or if there was more than one refusal or refresh.
func (r *rig) run(ctx context.Context, data []byte, send sender) (outcome, error) {
	// A login for each run: a session that has had three tokens refused waits with the next refresh.
	if err := r.session.SetToken(ctx, r.tokens.Issue("alice")); err != nil {
		return "", err
	}
	if err := r.get(ctx); err != nil {
		return "", err
	}
	r.before = r.tokens.Counters().Refreshes
	r.arm()
	err, got := send(ctx, data), whole
	if errors.Is(err, errRefused) {
		got, err = refused, send(ctx, data)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", got, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if sum := sha256.Sum256(data); strings.Join(r.sums, " ") != hex.EncodeToString(sum[:]) {
		return "", fmt.Errorf("%s, and then %v arrived, want %x", got, r.sums, sum)
	}
	if n := r.refreshes(); n != 1 || r.refusals != 1 {
		return "", fmt.Errorf("%s with %d refusals and %d refreshes, want one of each", got, r.refusals, n)
	}
	return got, nil
}

// refreshes returns how many there were since run began.
func (r *rig) refreshes() int { return r.tokens.Counters().Refreshes - r.before }

// get has the API accept the token.
func (r *rig) get(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/ok", nil)
	if err != nil {
		return err
	}
	return judge(r.client().Do(req))
}

// payload returns size bytes, which differ from run to run.
func payload(size, run int) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(run)}).Read(data)
	return data
}

// TestClients: the rows of clientRows, as docs/clients.md shows them. It prints them with what was
// counted.
func TestClients(t *testing.T) {
	runs := 20
	if testing.Short() {
		runs = 2
	}
	var table strings.Builder
	for _, row := range clientRows {
		count := new(tally)
		for _, version := range row.versions() {
			for _, early := range []bool{true, false} {
				name := strings.ReplaceAll(row.client+"/"+row.scenario, "`", "")
				before := runtime.NumGoroutine()
				t.Run(fmt.Sprintf("%s/http=%d/early=%v", name, version, early), func(t *testing.T) {
					ctx, cancel := context.WithCancel(context.Background()) // that of t ends before what it began is closed
					t.Cleanup(cancel)
					row.test(ctx, t, newRig(t, version, early), runs, count)
				})
				wantGoroutines(t, before)
			}
		}
		fmt.Fprintf(&table, "%s %s | %s | revoked %d times, %d refreshes | %s\n",
			row.client, version(t, row.module), row.scenario, count.revoked, count.refreshes, count.result())
	}
	t.Logf("client, version | scenario | refreshes | result\n%s", &table)
}

// tally is what came of the runs of a row.
type tally struct{ revoked, refreshes, whole, refused, failed int }

func (c *tally) result() string {
	return fmt.Sprintf("%d arrived at once, %d at the second try, %d failed", c.whole, c.refused, c.failed)
}

func (row *clientRow) test(ctx context.Context, t *testing.T, r *rig, runs int, count *tally) {
	send, want := row.over(t, r), row.late
	if r.early {
		want = row.early
	}
	for _, size := range row.sizes {
		for n := range runs {
			got, err := r.run(ctx, payload(size, n), send)
			count.revoked++
			count.refreshes += r.refreshes()
			switch {
			case err != nil || got != want && (want != either || got != whole && got != refused):
				count.failed++
				t.Errorf("%d bytes, run %d: %q, want %q, error %v", size, n, got, want, err)
			case got == whole:
				count.whole++
			default:
				count.refused++
			}
		}
	}
}
