package clients_test

import (
	"bytes"
	"context"
	"iter"
	"net/http"
	"slices"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	connectModule   = "connectrpc.com/connect"
	websocketModule = "github.com/coder/websocket"
	sseModule       = "github.com/tmaxmax/go-sse"
)

// The token of a stream is refused at its start, or it is revoked in its middle, where another
// request is refused: the stream goes on.
const (
	atStart  = false
	outlives = true
)

var streamSizes = []int{100 * kib}

// streamRows are about answers that take long.
var streamRows = []clientRow{
	{"net/http", "", "a stream that outlives its token", whole, whole, "", streamSizes, overStream(outlives, openHTTP), 0},
	{"connectrpc.com/connect", connectModule, "a server stream", whole, whole, "", streamSizes, overStream(atStart, openConnect), 0},
	{"connectrpc.com/connect", connectModule, "a server stream that outlives its token", whole, whole, "", streamSizes, overStream(outlives, openConnect), 0},
	{"connectrpc.com/connect", connectModule, "a bidirectional stream, up to `MaxReplayBody`", whole, whole, "", []int{10, 900 * kib}, overConnectBidi(atStart), 2},
	{"connectrpc.com/connect", connectModule, "a bidirectional stream that outlives its token", whole, whole, "", []int{2 * mib}, overConnectBidi(outlives), 2},
	{"coder/websocket", websocketModule, "a connection, refused at the handshake", whole, whole, "`DialOptions.HTTPClient: session.Wrap(client)`", streamSizes, overStream(atStart, openWebSocket), 1},
	{"coder/websocket", websocketModule, "a connection that outlives its token", whole, whole, "`DialOptions.HTTPClient: session.Wrap(client)`", streamSizes, overStream(outlives, openWebSocket), 1},
	{"tmaxmax/go-sse", sseModule, "events", whole, whole, "`Client.HTTPClient: session.Wrap(client)`", streamSizes, overStream(atStart, openEvents), 0},
	{"tmaxmax/go-sse", sseModule, "events of a stream that outlives its token", whole, whole, "`Client.HTTPClient: session.Wrap(client)`", streamSizes, overStream(outlives, openEvents), 0},
	{"tmaxmax/go-sse", sseModule, "events, refused when the stream was cut and is opened again", whole, whole, "`Client.HTTPClient: session.Wrap(client)`", streamSizes, overEventsAgain, 0},
}

// feed is what one stream brings after another.
type feed struct {
	rig *rig

	mu   sync.Mutex // a handler may outlive its stream
	data []byte
	goOn chan struct{} // closed when the second half may come
}

// begin is for the next stream. goOn has its second part and all others come.
func (f *feed) begin(data []byte) (goOn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait := make(chan struct{})
	f.data, f.goOn = data, wait
	return sync.OnceFunc(func() { close(wait) })
}

// parts are those of the data from offset on, and where each of them ends.
func (f *feed) parts(ctx context.Context, offset int) iter.Seq2[int, []byte] {
	f.mu.Lock()
	data, goOn := f.data, f.goOn
	f.mu.Unlock()
	return func(yield func(int, []byte) bool) {
		for part := range slices.Chunk(data[offset:], 10*kib) {
			if offset += len(part); !yield(offset, part) {
				return
			}
			select {
			case <-goOn:
			case <-ctx.Done():
				return
			}
		}
	}
}

// opener opens the stream at path that it has made the rig serve from f. next returns its next
// part, and stop ends it.
type opener func(t *testing.T, f *feed) (open func(ctx context.Context) (next func() ([]byte, error), stop func(), err error))

const streamPath = "/stream.Stream/Open"

func overStream(outlives bool, o opener) func(*testing.T, *rig) sender {
	return func(t *testing.T, r *rig) sender {
		hit := streamPath
		if outlives {
			hit = "/ok"
		}
		r.hits = func(req *http.Request) bool { return req.URL.Path == hit }
		f := &feed{rig: r}
		open := o(t, f)
		return func(ctx context.Context, data []byte) error {
			goOn := f.begin(data)
			defer goOn() // who serves a WebSocket does not learn that its client is gone
			if !outlives {
				goOn()
			}
			next, stop, err := open(ctx)
			if err != nil {
				return err
			}
			defer stop()
			var got bytes.Buffer
			for got.Len() < len(data) {
				part, err := next()
				if err != nil {
					return err
				}
				if got.Len() == 0 && outlives {
					if err := r.get(ctx); err != nil {
						return err
					}
					goOn()
				}
				got.Write(part)
			}
			r.arrives(&got)
			return nil
		}
	}
}

func openHTTP(_ *testing.T, f *feed) func(context.Context) (func() ([]byte, error), func(), error) {
	f.rig.mux.HandleFunc(streamPath, func(w http.ResponseWriter, req *http.Request) {
		for _, part := range f.parts(req.Context(), 0) {
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush()
		}
	})
	client := f.rig.client()
	return func(ctx context.Context) (func() ([]byte, error), func(), error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.rig.url+streamPath, nil)
		if err != nil {
			return nil, nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, nil, err
		}
		buf := make([]byte, 10*kib)
		next := func() ([]byte, error) {
			n, err := resp.Body.Read(buf)
			if n > 0 {
				err = nil
			}
			return buf[:n], err
		}
		return next, func() { _ = resp.Body.Close() }, judgeStatus(resp.StatusCode)
	}
}

func openConnect(_ *testing.T, f *feed) func(context.Context) (func() ([]byte, error), func(), error) {
	f.rig.mux.Handle(streamPath, connect.NewServerStreamHandler(streamPath, func(ctx context.Context, _ *connect.Request[wrapperspb.BoolValue], s *connect.ServerStream[wrapperspb.BytesValue]) error {
		for _, part := range f.parts(ctx, 0) {
			if err := s.Send(wrapperspb.Bytes(part)); err != nil {
				return err
			}
		}
		return nil
	}))
	client := connect.NewClient[wrapperspb.BoolValue, wrapperspb.BytesValue](f.rig.client(), f.rig.url+streamPath)
	return func(ctx context.Context) (func() ([]byte, error), func(), error) {
		s, err := client.CallServerStream(ctx, connect.NewRequest(wrapperspb.Bool(true)))
		if err != nil {
			return nil, nil, judgeConnect(err)
		}
		next := func() ([]byte, error) {
			if !s.Receive() {
				return nil, judgeConnect(s.Err())
			}
			return s.Msg().Value, nil
		}
		return next, func() { _ = s.Close() }, nil
	}
}

func openWebSocket(_ *testing.T, f *feed) func(context.Context) (func() ([]byte, error), func(), error) {
	return f.webSocket(f.rig.client(), f.rig.url)
}

// openWebSocketByProxy has a reverse proxy pass the connection on, which has the session.
func openWebSocketByProxy(t *testing.T, f *feed) func(context.Context) (func() ([]byte, error), func(), error) {
	proxy := f.rig.reverseProxy(t, nil)
	return f.webSocket(proxy.Client(), proxy.URL)
}

// webSocket serves the stream as messages, and opens it at url.
func (f *feed) webSocket(client *http.Client, url string) func(context.Context) (func() ([]byte, error), func(), error) {
	f.rig.mux.HandleFunc(streamPath, func(w http.ResponseWriter, req *http.Request) {
		conn, err := websocket.Accept(w, req, nil)
		if err != nil {
			return
		}
		for _, part := range f.parts(req.Context(), 0) {
			_ = conn.Write(req.Context(), websocket.MessageBinary, part)
		}
		_ = conn.Close(websocket.StatusNormalClosure, "")
	})
	return func(ctx context.Context) (func() ([]byte, error), func(), error) {
		conn, resp, err := websocket.Dial(ctx, url+streamPath, &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			if resp != nil {
				err = judgeStatus(resp.StatusCode)
			}
			return nil, nil, err
		}
		next := func() ([]byte, error) {
			_, part, err := conn.Read(ctx)
			return part, err
		}
		return next, func() { _ = conn.Close(websocket.StatusNormalClosure, "") }, nil
	}
}
