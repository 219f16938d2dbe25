package behaviour_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// startHastyServer refuses a token as soon as it has read the header, and closes the
// connection at once. What is on its way then makes the system reset the connection, and
// that the client often sees before the refusal.
func startHastyServer(t *testing.T) *uploadServer {
	return startRawServer(t, func(s *uploadServer, conn io.Writer, r *http.Request) error {
		if isRefused(r) {
			rawAnswer(conn, "401 Unauthorized\r\nConnection: close", shortRefusal)
			return io.EOF
		}
		if r.Header.Get("Expect") != "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		rawAnswer(conn, "200 OK", s.accept(r.Body))
		return nil
	})
}

// aboveBodies are bodies that could be sent again without asking.
var aboveBodies = []struct {
	name string
	put  func(*testing.T, *http.Request, []byte)
}{
	{"GetBody of net/http", func(t *testing.T, req *http.Request, data []byte) {
		r, err := http.NewRequestWithContext(t.Context(), req.Method, req.URL.String(), bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		req.Body, req.GetBody, req.ContentLength = r.Body, r.GetBody, r.ContentLength
	}},
	{"GetBody that rewinds", func(_ *testing.T, req *http.Request, data []byte) {
		b := &rewound{data: data}
		req.Body, req.GetBody, req.ContentLength = b, b.rewind, int64(len(data))
	}},
	{"file", func(t *testing.T, req *http.Request, data []byte) {
		putFile(t, req, data, int64(len(data)))
		req.GetBody = nil
	}},
	{"file, chunked", func(t *testing.T, req *http.Request, data []byte) {
		putFile(t, req, data, 0)
		req.GetBody = nil
	}},
	{"stream", func(_ *testing.T, req *http.Request, data []byte) {
		req.Body, req.ContentLength = streamOf(data), int64(len(data))
	}},
}

// uploadAbove sends data, as put puts it, with a Transport that asks before it sends a MiB or more.
func (s *uploadServer) uploadAbove(t *testing.T, put func(*testing.T, *http.Request, []byte), data []byte) (*http.Response, error) {
	t.Helper()
	transport := s.session(t).Transport(s.transport)
	transport.ExpectContinueAbove = 1 << 20
	req := s.request(t, t.Context(), nil)
	put(t, req, data)
	return transport.RoundTrip(req)
}

// TestExpectContinueAbove: a refusal that a reset would hide is seen, and nothing of the
// body is on its way when it comes. Before, 8 of 15 such uploads failed with the error of
// the connection, and nothing was refreshed.
func TestExpectContinueAbove(t *testing.T) {
	data := replayBytes(continueSize)
	sum := replaySum(continueSize)
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	for _, kind := range append(continueServers[:len(continueServers):len(continueServers)], struct {
		name  string
		start func(*testing.T) *uploadServer
	}{"hasty", startHastyServer}) {
		for _, body := range aboveBodies {
			t.Run(kind.name+"/"+body.name, func(t *testing.T) {
				s := kind.start(t)
				for i := range rounds {
					resp, err := s.uploadAbove(t, body.put, data)
					if err != nil {
						t.Fatalf("round %d: %v", i, err)
					}
					wantAccepted(t, resp, continueSize, sum)
				}
				s.transport.CloseIdleConnections()
				refused, _ := s.got()
				for _, u := range refused {
					if u.length != 0 {
						t.Errorf("%d bytes of a refused body arrived", u.length)
					}
				}
			})
		}
	}
}

// TestExpectContinueAboveTaken: a server that takes the body before it refuses the token
// gets it a second time, as without the question.
func TestExpectContinueAboveTaken(t *testing.T) {
	data := replayBytes(continueSize)
	for _, kind := range continueServers {
		for _, body := range aboveBodies[:4] {
			t.Run(kind.name+"/"+body.name, func(t *testing.T) {
				s := kind.start(t)
				s.read = -1
				resp, err := s.uploadAbove(t, body.put, data)
				if err != nil {
					t.Fatal(err)
				}
				wantAccepted(t, resp, continueSize, replaySum(continueSize))
			})
		}
	}
}
