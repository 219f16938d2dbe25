package behaviour_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// continueServers are the kinds of servers that differ in what net/http does when
// they refuse a body that they have not read: with the first it closes the
// connection, with the second it sends the body all the same, and with the third
// it ends the stream.
var continueServers = []struct {
	name  string
	start func(*testing.T) *uploadServer
}{
	{"HTTP1", func(t *testing.T) *uploadServer { return startUploadServer(t, "HTTP/1.1", longRefusal) }},
	{"HTTP1 kept", startKeptServer},
	{"HTTP2", func(t *testing.T) *uploadServer { return startUploadServer(t, "HTTP/2", longRefusal) }},
}

// startKeptServer keeps the connection when it has refused a body that it did not
// read, and then reads on to its end, as nginx does.
func startKeptServer(t *testing.T) *uploadServer {
	return startRawServer(t, func(s *uploadServer, conn io.Writer, r *http.Request) error {
		if s.hints {
			rawHints(conn)
		}
		refused := isRefused(r)
		if (!refused || s.read != 0) && r.Header.Get("Expect") != "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		if !refused {
			rawAnswer(conn, "200 OK", s.accept(r.Body))
			return nil
		}
		n := s.take(r.Body)
		rawAnswer(conn, "401 Unauthorized", s.refusal)
		rest, err := io.Copy(io.Discard, r.Body)
		s.note(n + rest)
		return err
	})
}

func rawHints(conn io.Writer) {
	_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
}

func rawAnswer(conn io.Writer, status, text string) {
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
}

// startRawServer has answer answer what comes over each connection, until it
// returns an error. Unlike net/http's server it sends nothing by itself.
func startRawServer(t *testing.T, answer func(*uploadServer, io.Writer, *http.Request) error) *uploadServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &uploadServer{
		url:       "http://" + listener.Addr().String(),
		transport: &http.Transport{ExpectContinueTimeout: continueNever},
		refusal:   longRefusal,
		refreshed: make(chan struct{}, 1000),
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					r, err := http.ReadRequest(in)
					if err != nil || answer(s, conn, r) != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		s.transport.CloseIdleConnections()
		_ = listener.Close()
		serving.Wait()
	})
	return s
}

// asking is a Transport that asks before it sends a body, and keeps nothing of it.
func (s *uploadServer) asking(session *tokenclient.Session) *tokenclient.Transport {
	t := session.Transport(s.transport)
	t.ExpectContinue, t.MaxReplayBody = true, -1
	return t
}
