package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const (
	keep  = 1000 // events
	batch = 250  // events at most in one message, so that a browser draws in between

	// interval is how often a browser is told what is new.
	interval = 100 * time.Millisecond

	// quiet is how long nothing is said before a comment is, by which a connection that has
	// ended is noticed; patience is how long a browser may take to read what is.
	quiet    = 15 * time.Second
	patience = 10 * time.Second
)

// A feed keeps the last events, each as JSON. The zero feed is empty.
type feed struct {
	mu   sync.Mutex
	ring [keep][]byte
	next uint64 // the number of events so far, which is where the next one goes
}

// A tokenName is tokentest.TokenName as the script reads it.
type tokenName struct {
	Fingerprint string `json:"name"`
	Login       string `json:"login,omitempty"`
	Generation  int    `json:"generation,omitempty"`
}

// An event is tokentest.Event as the script reads it, or a note.
type event struct {
	Number    uint64     `json:"number,omitempty"`
	Kind      string     `json:"kind"`
	At        float64    `json:"at"`             // milliseconds since 1970
	Took      float64    `json:"took,omitempty"` // milliseconds
	Client    string     `json:"client,omitempty"`
	Method    string     `json:"method,omitempty"`
	Path      string     `json:"path,omitempty"`
	Status    int        `json:"status,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Repeats   uint64     `json:"repeats,omitempty"`
	User      string     `json:"user,omitempty"`
	Presented *tokenName `json:"presented,omitempty"`
	Access    *tokenName `json:"access,omitempty"`
	Refresh   *tokenName `json:"refresh,omitempty"`
	Reuse     bool       `json:"reuse,omitempty"`
	Fault     bool       `json:"fault,omitempty"`
}

func named(n tokentest.TokenName) *tokenName {
	if n == (tokentest.TokenName{}) {
		return nil
	}
	return &tokenName{n.Fingerprint, n.Login, n.Generation}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// observe is for Server.Observe.
func (f *feed) observe(e tokentest.Event) {
	f.add(event{
		Number: e.Number, Kind: e.Kind, At: float64(e.Began.UnixMicro()) / 1000, Took: milliseconds(e.Ended.Sub(e.Began)),
		Client: e.Client, Method: e.Method, Path: e.Path, Status: e.Status, Reason: e.Reason, Repeats: e.Repeats, User: e.User,
		Presented: named(e.Presented), Access: named(e.Access), Refresh: named(e.Refresh), Reuse: e.Reuse, Fault: e.Fault,
	})
}

// note adds something that was done here.
func (f *feed) note(format string, args ...any) {
	f.add(event{Kind: "note", At: float64(time.Now().UnixMicro()) / 1000, Reason: fmt.Sprintf(format, args...)})
}

func (f *feed) add(e event) {
	b, err := json.Marshal(e)
	if err != nil {
		panic("page: " + err.Error()) // numbers and strings always marshal
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring[f.next%keep] = b
	f.next++
}

// since returns events from the one with the number from on, as a JSON array, at most a batch
// of them; how many there were before these that are gone; and where the next ones begin.
func (f *feed) since(from uint64) (events []byte, gone, next uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if from > f.next { // of another server, which had the port before
		from = 0
	}
	first := from
	if f.next > keep {
		first = max(from, f.next-keep)
	}
	next = min(f.next, first+batch)
	if first == next {
		return nil, first - from, next
	}
	var b bytes.Buffer
	separator := byte('[')
	for i := first; i < next; i++ {
		b.WriteByte(separator)
		separator = ','
		b.Write(f.ring[i%keep])
	}
	b.WriteByte(']')
	return b.Bytes(), first - from, next
}

// serveEvents tells a browser by server-sent events what has happened and what happens, until
// it leaves or the server is closed: "state" is a state, and "events" are some of the feed,
// whose id says where it is to go on.
func (p *page) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	c := http.NewResponseController(w)
	from, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // 0: all that is kept
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var said []byte // the state
	last := time.Now()
	for {
		var out bytes.Buffer
		if state := p.state(); !bytes.Equal(state, said) {
			said = state
			fmt.Fprintf(&out, "event: state\ndata: %s\n\n", state)
		}
		events, gone, next := p.feed.since(from)
		from = next
		if events != nil {
			fmt.Fprintf(&out, "event: events\nid: %d\ndata: {\"gone\":%d,\"events\":%s}\n\n", next, gone, events)
		}
		if out.Len() == 0 && time.Since(last) >= quiet {
			out.WriteString(":\n\n")
		}
		if out.Len() > 0 {
			last = time.Now()
			_ = c.SetWriteDeadline(last.Add(patience)) // HTTP/2 in memory may have none
			if _, err := out.WriteTo(w); err != nil {
				return
			}
			if err := c.Flush(); err != nil {
				return
			}
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}
