package clients_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"
)

// serveEvents sends each part as an event whose id is where the part ends. cut ends the stream
// after its first event, unless that says where it goes on.
func (f *feed) serveEvents(cut bool) {
	f.rig.mux.HandleFunc(streamPath, func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		last := req.Header.Get("Last-Event-ID")
		offset, _ := strconv.Atoi(last) // 0 if there is none
		for end, part := range f.parts(req.Context(), offset) {
			_, _ = io.WriteString(w, "id: "+strconv.Itoa(end)+"\ndata: "+text(part)+"\n\n")
			_ = http.NewResponseController(w).Flush()
			if cut && last == "" {
				return
			}
		}
		<-req.Context().Done() // at an end the client would come again
	})
}

func openEvents(_ *testing.T, f *feed) func(context.Context) (func() ([]byte, error), func(), error) {
	f.serveEvents(false)
	return f.openEvents
}

// overEventsAgain has the token revoked when the client comes for what is missing.
func overEventsAgain(t *testing.T, r *rig) sender {
	send := overStream(atStart, func(_ *testing.T, f *feed) func(context.Context) (func() ([]byte, error), func(), error) {
		f.serveEvents(true)
		return f.openEvents
	})(t, r)
	r.hits = func(req *http.Request) bool { return req.Header.Get("Last-Event-ID") != "" }
	return send
}

func (f *feed) openEvents(ctx context.Context) (func() ([]byte, error), func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.rig.url+streamPath, nil)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	client := &sse.Client{HTTPClient: f.rig.client(), Backoff: sse.Backoff{InitialInterval: time.Microsecond, MaxRetries: 3}}
	conn := client.NewConnection(req)
	events, failed := make(chan string), make(chan error, 1)
	conn.SubscribeMessages(func(e sse.Event) {
		select {
		case events <- e.Data:
		case <-ctx.Done():
		}
	})
	go func() { failed <- conn.Connect() }()
	next := func() ([]byte, error) {
		select {
		case data := <-events:
			return untext(data), nil
		case err := <-failed:
			failed <- err // for stop
			return nil, err
		}
	}
	stop := func() {
		cancel()
		<-failed
	}
	return next, stop, nil
}
