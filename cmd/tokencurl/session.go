package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"path/filepath"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A connection is an open session with what it was made of.
type connection struct {
	home, name string
	*profile
	files     *store.File
	refresher tokenclient.Refresher
	*tokenclient.Session
}

// tokensIn is the folder of the store.
func tokensIn(home string) string { return filepath.Join(home, "tokens") }

// open opens the session named t.name, which was logged in once.
func (t *tool) open(s *story) (*connection, error) {
	home, err := t.home()
	if err != nil {
		return nil, err
	}
	p, err := readProfile(home, t.name)
	if err != nil {
		return nil, err
	}
	return p.connect(home, t.name, s, false)
}

// connect makes a session of p. A login may make the key that is missing.
func (p *profile) connect(home, name string, s *story, loggingIn bool) (*connection, error) {
	c := &connection{home: home, name: name, profile: p}
	sealer, err := p.sealer(home, loggingIn)
	if err != nil {
		return nil, err
	}
	if c.files, err = store.NewFile(tokensIn(home), sealer); err != nil {
		return nil, err
	}
	if c.refresher, err = p.refresher(s); err != nil {
		return nil, usage(err)
	}
	config := tokenclient.Config{
		Refresher: c.refresher, Store: c.files, Key: p.record(name), Origins: p.Origins,
		RefreshTimeout: p.RefreshTimeout, Hooks: s.hooks(),
	}
	if p.Header != "" {
		config.Attacher = tokenclient.HeaderAttacher(p.Header)
	}
	if c.Session, err = tokenclient.New(config); err != nil {
		return nil, usage(err)
	}
	return c, nil
}

// close waits for a refresh and a save under way, and joins its error with err: a token that
// could not be saved costs the login.
func (c *connection) close(ctx context.Context, err *error) {
	failed := c.Close(ctx)
	if failed != nil && !errors.Is(failed, ctx.Err()) {
		*err = errors.Join(*err, failed)
	}
}

// newTransport makes the connections of this program.
func newTransport(compressed bool) *http.Transport {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.DisableCompression = !compressed // as curl: what is written is what was sent
	tr.HTTP2 = &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second}
	tr.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return tr
}
