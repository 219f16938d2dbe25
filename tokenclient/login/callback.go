package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A callback waits at a loopback for the one answer that is for its login.
type callback struct {
	*loopback
	expected expected
	server   *http.Server
	running  sync.WaitGroup // the accept loops and every connection
	answers  chan answer    // the one answer

	mu       sync.Mutex // guards the rest
	answered bool
	strays   int // answers that were for another login

	decided chan struct{} // closed when outcome is written
	outcome error
	shown   chan struct{} // closed when the browser has the outcome
	showing sync.Once
}

// An answer is a code, or why there is none.
type answer struct {
	code string
	err  error
}

const (
	// maxHeader is room for a code of some KiB, and the cookies of all else that runs here.
	maxHeader = 64 << 10

	// headerTimeout and idleTimeout are for clients that never finish.
	headerTimeout = 10 * time.Second
	idleTimeout   = 30 * time.Second

	// showTimeout is how long the browser has to fetch the last page.
	showTimeout = 2 * time.Second
)

// serve begins to wait. The caller closes the callback.
func (l *loopback) serve(e expected) *callback {
	cb := &callback{
		loopback: l, expected: e, answers: make(chan answer, 1),
		decided: make(chan struct{}), shown: make(chan struct{}),
	}
	cb.server = &http.Server{
		Handler: cb, DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(io.Discard, "", 0), // what others on this machine send is not the program's fault
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				cb.running.Add(1)
			case http.StateClosed:
				cb.running.Done()
			}
		},
	}
	for _, listener := range l.listeners {
		cb.running.Go(func() {
			if err := cb.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				cb.take(answer{err: fmt.Errorf("login: %w", err)})
			}
		})
	}
	return cb
}

// close returns when nothing of the callback is left.
func (cb *callback) close() {
	_ = cb.server.Close() // its error is a listener's, which is of no use now
	cb.running.Wait()
}

// wait returns the code. Its error is waiting's cause if that ends before there is an answer.
func (cb *callback) wait(waiting context.Context) (code string, err error) {
	select {
	case a := <-cb.answers:
		return a.code, a.err
	case <-waiting.Done():
	}
	select {
	case a := <-cb.answers: // before the Prompt failed, for example
		return a.code, a.err
	default:
		return "", context.Cause(waiting)
	}
}

// take delivers an answer, unless there was one before.
func (cb *callback) take(a answer) bool {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	if cb.answered {
		return false
	}
	cb.answered = true
	cb.answers <- a
	return true
}

func (cb *callback) isAnswered() bool {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	return cb.answered
}

// stray notes an answer that was for another login.
func (cb *callback) stray() {
	cb.mu.Lock()
	defer cb.mu.Unlock()
	cb.strays++
}

// tell has the browser show what became of the login, and waits until it has read it.
func (cb *callback) tell(ctx context.Context, outcome error) {
	cb.outcome = outcome
	close(cb.decided)
	if !cb.isAnswered() {
		return // no browser is there
	}
	timer := time.NewTimer(showTimeout)
	defer timer.Stop()
	select {
	case <-cb.shown:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ServeHTTP answers browsers, and whatever else finds the port.
func (cb *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	named := slices.ContainsFunc(cb.hosts, func(host string) bool { return strings.EqualFold(host, r.Host) })
	switch {
	case !named, r.Method != http.MethodGet, r.URL.EscapedPath() != cb.path:
		write(w, http.StatusNotFound, nothingHere)
	case r.URL.RawQuery != "":
		cb.serveAnswer(w, r.URL.RawQuery)
	case cb.isAnswered():
		cb.serveOutcome(w, r)
	default:
		write(w, http.StatusNotFound, nothingHere)
	}
}

// serveAnswer takes an answer, and sends the browser on to where the outcome is: what it was
// redirected from, with the code in it, does not stay in its history.
func (cb *callback) serveAnswer(w http.ResponseWriter, query string) {
	values, err := url.ParseQuery(query)
	if !cb.expected.isMine(values) {
		cb.stray()
		write(w, http.StatusBadRequest, notThisLogin)
		return
	}
	var a answer
	if a.code, a.err = cb.expected.read(values, err); !cb.take(a) {
		write(w, http.StatusConflict, answeredBefore)
		return
	}
	w.Header().Set("Location", cb.redirectURL)
	w.WriteHeader(http.StatusSeeOther)
}

// serveOutcome waits until it is known what became of the login.
func (cb *callback) serveOutcome(w http.ResponseWriter, r *http.Request) {
	select {
	case <-cb.decided:
	case <-r.Context().Done():
		return
	}
	switch {
	case cb.outcome == nil:
		write(w, http.StatusOK, loggedIn)
	case errors.Is(cb.outcome, ErrDenied):
		write(w, http.StatusOK, denied)
	default:
		write(w, http.StatusOK, failed)
	}
	_ = http.NewResponseController(w).Flush() // the server is closed next
	cb.showing.Do(func() { close(cb.shown) })
}
