package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/connections"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/replay"
)

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// maxPasses is how often a request may come by the same Transport, by way of
// http.DefaultTransport, or go through Transports that wrap each other.
const maxPasses = 8

var errLeadsBack = errors.New("tokenclient: Transport.Base leads back to the Transport itself (nil means http.DefaultTransport when it is used);" +
	" write http.DefaultTransport = session.Transport(http.DefaultTransport), with what was there before in it")

// last follows Base through further Transports, and returns what comes after them; nil if
// they lead back to t.
func (t *Transport) last() http.RoundTripper {
	base := t.base()
	for range maxPasses {
		next, ok := base.(*Transport)
		if !ok || next == nil {
			return base
		}
		if next == t {
			break
		}
		base = next.base()
	}
	return nil
}

type passesKey struct{ t *Transport }

// pass hands req to Base, unless that leads back to t.
func (t *Transport) pass(req *http.Request) (*http.Response, error) {
	base, given := t.base(), req
	if _, ok := base.(*http.Transport); !ok {
		last := t.last()
		if last == nil {
			return nil, notSent(req, errLeadsBack)
		}
		// Wrappers of other people look http.DefaultTransport up when they are used, too.
		_, network := last.(*http.Transport)
		if _, ok := http.DefaultTransport.(*http.Transport); !ok && !network {
			passes, _ := req.Context().Value(passesKey{t}).(int)
			if passes == maxPasses {
				return nil, notSent(req, errLeadsBack)
			}
			req = req.WithContext(context.WithValue(req.Context(), passesKey{t}, passes+1))
		}
	}
	resp, err := base.RoundTrip(req)
	switch {
	case resp == nil && err == nil:
		err = fmt.Errorf("tokenclient: Transport.Base, a %T, returned neither a response nor an error", base)
	case resp != nil && resp.Request == req:
		resp.Request = given
	}
	return resp, err
}

// CloseIdleConnections closes those of Base, as [http.Client.CloseIdleConnections]
// asks for, and all to token endpoints for which the program gave no Transport, whichever
// session made them.
func (t *Transport) CloseIdleConnections() {
	connections.CloseIdle()
	if t.last() == nil {
		return
	}
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// notSent closes the body of a request that is not sent and returns err.
func notSent(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}

const (
	discardBytes = 64 << 10
	discardTime  = 250 * time.Millisecond
)

// drop is for an answer that nobody wants, before the body of its request is sent again.
func drop(resp *http.Response, again replay.Body) {
	if again.Busy() {
		go discard(resp.Body) // it ends with the Read, and that with the second sending
	} else {
		discard(resp.Body)
	}
}

// discard reads what is left of a refused answer, so that its connection can be
// used again, unless that is much or takes long.
func discard(body io.ReadCloser) {
	if body == nil {
		return
	}
	stop := time.AfterFunc(discardTime, func() { _ = body.Close() })
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, body, discardBytes)
	_ = body.Close()
}
