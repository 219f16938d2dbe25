package tokenclient

import (
	"sync"
	"time"
)

// Hooks are told what happens to a session. Nil fields are skipped.
//
// They are called one at a time, in the order in which things happened, on a
// goroutine that the session starts when there is something to tell. No lock is
// held and no refresh waits for them, so they may call the session. A hook that
// does not return holds up later hooks and nothing else; Session.Close does not
// wait for it.
type Hooks struct {
	// Refreshed is called when this session exchanged the refresh token.
	Refreshed func(RefreshInfo)

	// Adopted is called when the session took over a token that another session
	// or process put into the Store, or that the server sent in an answer (see
	// Config.Renewed).
	Adopted func(RefreshInfo)

	// RefreshFailed is called when a refresh failed, whether or not a request
	// had to fail with it. The error is what such a request gets.
	RefreshFailed func(RefreshInfo, error)

	// SaveFailed is called when a refreshed or renewed token could not be
	// stored: at first with a [*NotSavedError], and after each further attempt
	// that failed. The token is in use, and is lost if the process ends.
	SaveFailed func(RefreshInfo, error)

	// SessionEnded is called once when a session that had a token has none any
	// more. The error is ErrLoginRequired; it is ErrLoggedOut too after Logout.
	SessionEnded func(error)

	// Replayed is called when a request was sent a second time, with its method
	// and the origin it went to.
	Replayed func(method, origin string)
}

// RefreshInfo tells about one refresh. It holds no secret.
type RefreshInfo struct {
	Key        string        // Config.Key
	Generation uint64        // of the token that is held now; it goes up by one with each
	Duration   time.Duration // how long the refresh took, waiting for the Store included
	Waiters    int           // requests that were waiting at its end
	Expiry     time.Time     // of the access token that is held now; zero: unknown
}

// events calls hooks one after another without making anybody wait.
type events struct {
	mu    sync.Mutex // guards queue and what it points to
	queue *[]func()  // nil: there is nothing to call, and nobody who calls
}

func (e *events) post(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.queue == nil {
		e.queue = new([]func())
		go e.run()
	}
	*e.queue = append(*e.queue, f)
}

// run ends when the queue is empty; the next post starts it again. A hook that
// calls runtime.Goexit takes its goroutine with it, not the hooks after it.
func (e *events) run() {
	ended := false
	defer func() {
		if !ended {
			go e.run()
		}
	}()
	for {
		e.mu.Lock()
		if len(*e.queue) == 0 {
			e.queue, ended = nil, true
			e.mu.Unlock()
			return
		}
		f := (*e.queue)[0]
		*e.queue = (*e.queue)[1:]
		e.mu.Unlock()
		f()
	}
}
