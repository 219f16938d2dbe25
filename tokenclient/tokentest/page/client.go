package page

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// errLost is that a login is over.
var errLost = errors.New("the session is lost: log in again")

// Where programs refresh. The second one is for proofs, which RFC 9449 has for OAuth alone.
const (
	refreshPath = "/token/refresh"
	proofPath   = "/oauth/token"
)

// A program is what a scene starts: with a session of the library, or without.
type program interface {
	// get sends a request to the API. An error that is errLost is final.
	get(ctx context.Context) error

	// end ends the program, as a signal has it.
	end(ctx context.Context) error
}

// A disk is what programs without the library keep their pair on. It outlives them.
type disk struct {
	mu   sync.Mutex
	pair pair
}

type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (d *disk) load() pair {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pair
}

func (d *disk) save(p pair) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pair = p
}

// A naive program is the loop that everybody writes: on a 401 refresh, save, send it again.
type naive struct {
	url    string
	name   http.Header // of the header that the API wants the token in, with what goes before it
	client *http.Client
	disk   *disk

	mu   sync.Mutex
	pair pair // in memory, as read when the program began
}

func (n *naive) get(ctx context.Context) error {
	n.mu.Lock()
	p := n.pair
	n.mu.Unlock()
	id := rand.Text()
	status, err := n.call(ctx, p, id)
	if err != nil || status != http.StatusUnauthorized {
		return errors.Join(err, statusError(status, err))
	}
	p, err = n.refresh(ctx, p)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.pair = p
	n.mu.Unlock()
	n.disk.save(p)
	status, err = n.call(ctx, p, id)
	if status == http.StatusUnauthorized {
		return errLost
	}
	return errors.Join(err, statusError(status, err))
}

func (n *naive) end(context.Context) error { return nil }

func (n *naive) call(ctx context.Context, p pair, id string) (status int, err error) {
	req, err := newRequest(ctx, n.url, id)
	if err != nil {
		return 0, err
	}
	for header, before := range n.name {
		req.Header.Set(header, before[0]+p.Access)
	}
	return send(n.client, req)
}

func (n *naive) refresh(ctx context.Context, old pair) (p pair, err error) {
	body, err := json.Marshal(map[string]string{"refresh_token": old.Refresh})
	if err != nil {
		return p, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+refreshPath, bytes.NewReader(body))
	if err != nil {
		return p, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := n.client.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return p, errLost
	case resp.StatusCode != http.StatusOK:
		return p, statusError(resp.StatusCode, nil)
	}
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		return p, err
	}
	p.Refresh = cmp.Or(p.Refresh, old.Refresh)
	return p, nil
}

// A library program has a session of this library.
type library struct {
	url     string
	client  *http.Client
	session *tokenclient.Session
}

func (l *library) get(ctx context.Context) error {
	req, err := newRequest(ctx, l.url, rand.Text())
	if err != nil {
		return err
	}
	status, err := send(l.client, req)
	if errors.Is(err, tokenclient.ErrLoginRequired) {
		return errLost
	}
	return errors.Join(err, statusError(status, err))
}

func (l *library) end(ctx context.Context) error { return l.session.Close(ctx) }

// newRequest makes a request to the API whose id is that of its replay too.
func newRequest(ctx context.Context, url, id string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/api/orders", nil)
	if err == nil {
		req.Header.Set("X-Request-Id", id)
	}
	return req, err
}

func send(c *http.Client, req *http.Request) (status int, err error) {
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// statusError says what an answer is that is none of use; nil if err has said it.
func statusError(status int, err error) error {
	if err != nil || status == http.StatusOK {
		return nil
	}
	return fmt.Errorf("the server answered %d", status)
}

// A wire is the way from one program to the server. It says who calls, and counts refreshes.
type wire struct {
	name      string
	base      http.RoundTripper
	refreshes *atomic.Int64

	// late holds the answer of a refresh back for so long, after it has called arrived.
	late    time.Duration
	arrived func()

	gate atomic.Pointer[gate] // that requests to the API wait at; nil: none
}

// A gate opens when so many wait at it, or after a while if fewer come.
type gate struct {
	missing atomic.Int64
	open    chan struct{}
}

const gateTime = 2 * time.Second

func newGate(n int64) *gate {
	g := &gate{open: make(chan struct{})}
	g.missing.Store(n)
	return g
}

func (g *gate) wait(ctx context.Context) error {
	if g.missing.Add(-1) == 0 {
		close(g.open)
	}
	timer := time.NewTimer(gateTime)
	defer timer.Stop()
	select {
	case <-g.open:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (t *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", t.name)
	refresh := req.URL.Path == refreshPath || req.URL.Path == proofPath
	if refresh {
		t.refreshes.Add(1)
	} else if g := t.gate.Load(); g != nil {
		if err := g.wait(req.Context()); err != nil {
			return nil, err
		}
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil || !refresh {
		return resp, err
	}
	wanted, err := wantsNonce(resp)
	if err != nil {
		return nil, err
	}
	if wanted {
		t.refreshes.Add(-1) // nothing was presented
	}
	if wanted || t.late == 0 {
		return resp, nil
	}
	t.arrived()
	timer := time.NewTimer(t.late)
	defer timer.Stop()
	select {
	case <-timer.C:
		return resp, nil
	case <-req.Context().Done():
		_ = resp.Body.Close()
		return nil, req.Context().Err()
	}
}

// headerOf says where the server wants access tokens, and what goes before them.
func headerOf(o tokentest.Options) (name, before string) {
	if o.Header != "" {
		return o.Header, ""
	}
	return "Authorization", cmp.Or(o.Dialect.Scheme, "Bearer") + " "
}

// An attacher puts the token where the server wants it.
type attacher struct{ name, before string }

func (a attacher) HeaderName() string { return a.name }

func (a attacher) Attach(req *http.Request, t *tokenclient.Token) error {
	if strings.ContainsAny(t.AccessToken, "\r\n") {
		return errors.New("page: the token cannot be sent")
	}
	req.Header.Set(a.name, a.before+t.AccessToken)
	return nil
}

// wantsNonce reports whether resp asks for the call once more, with a nonce (RFC 9449, section 8).
// Its body can be read all the same.
func wantsNonce(resp *http.Response) (bool, error) {
	if resp.StatusCode != http.StatusBadRequest {
		return false, nil
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return bytes.Contains(b, []byte("use_dpop_nonce")), err
}
