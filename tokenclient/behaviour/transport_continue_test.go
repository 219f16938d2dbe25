package behaviour_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const continueSize = 8 << 20

// TestExpectContinue: a body that the server did not ask for is sent again whole,
// every time, although nothing of it was kept.
func TestExpectContinue(t *testing.T) {
	sum := replaySum(continueSize)
	for _, kind := range continueServers {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.start(t)
			rounds := 100
			if testing.Short() {
				rounds = 10
			}
			for i := range rounds {
				s.refusal, s.hints = []string{longRefusal, ""}[i%2], i%4 > 1
				session := s.session(t)
				body := newUpload(continueSize)
				req := s.request(t, t.Context(), body)
				if i%3 == 0 {
					req.ContentLength = continueSize
				}
				resp, err := s.asking(session).RoundTrip(req)
				if err != nil {
					t.Fatalf("round %d: %v", i, err)
				}
				wantAccepted(t, resp, continueSize, sum)
				if n, c := body.read.Load(), body.closed.Load(); n != continueSize || c != 1 {
					t.Errorf("round %d: %d bytes were read, and the body closed %d times", i, n, c)
				}
			}
			s.transport.CloseIdleConnections()
			refused, accepted := s.got()
			if len(accepted) != rounds {
				t.Errorf("%d of %d bodies were sent again", len(accepted), rounds)
			}
			for _, u := range refused {
				if u.length != 0 {
					t.Errorf("%d bytes of a refused body arrived", u.length)
				}
			}
		})
	}
}

// TestExpectContinueTouched: a body of which more was taken than is kept is never
// sent again. The 401 comes back whole, and the token is refreshed.
func TestExpectContinueTouched(t *testing.T) {
	for _, kind := range continueServers {
		for name, read := range map[string]int64{"one byte": 1, "some": 2 << 20, "all": -1} {
			if kind.name == "HTTP1" && read > 0 {
				continue // net/http's server resets the connection, and the 401 may be lost
			}
			t.Run(kind.name+"/"+name, func(t *testing.T) {
				s := kind.start(t)
				s.read = read
				session := s.session(t)
				body := newUpload(continueSize)
				resp, err := s.asking(session).RoundTrip(s.request(t, t.Context(), body))
				if err != nil {
					t.Fatal(err)
				}
				s.wantRefusedOnce(t, resp, session)
				s.transport.CloseIdleConnections()
				if c := body.closed.Load(); c > 1 {
					t.Errorf("the body was closed %d times", c)
				}
			})
		}
	}
}

// TestExpectContinueCopy: what the server did take is sent again as long as it was
// kept; the server's "100 Continue" makes no difference.
func TestExpectContinueCopy(t *testing.T) {
	const size = 500_000
	for _, kind := range continueServers {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.start(t)
			s.read = -1
			session := s.session(t)
			transport := s.asking(session)
			transport.MaxReplayBody = 0
			resp, err := transport.RoundTrip(s.request(t, t.Context(), newUpload(size)))
			if err != nil {
				t.Fatal(err)
			}
			wantAccepted(t, resp, size, replaySum(size))
		})
	}
}

// TestExpectContinueTooLate: the server thinks longer than the base transport waits,
// and has got a part of the body when it refuses the token. It is never asked for:
// that the byte arrives shows that the time is over.
func TestExpectContinueTooLate(t *testing.T) {
	const size = 3 << 20
	for name, limit := range map[string]int64{"kept": size, "not kept": -1} {
		t.Run(name, func(t *testing.T) {
			s := startRawServer(t, func(s *uploadServer, conn io.Writer, r *http.Request) error {
				if r.Header.Get("Expect") == "" {
					rawAnswer(conn, "200 OK", s.accept(r.Body))
					return nil
				}
				if _, err := io.ReadFull(r.Body, make([]byte, 1)); err != nil {
					return err
				}
				rawAnswer(conn, "401 Unauthorized", s.refusal)
				_, err := io.Copy(io.Discard, r.Body)
				return err
			})
			s.transport.ExpectContinueTimeout = time.Millisecond
			session := s.session(t)
			transport := s.asking(session)
			transport.MaxReplayBody = limit
			req := s.request(t, t.Context(), newUpload(size))
			req.ContentLength = -1 // else it would not ask if all is kept
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if limit > 0 {
				wantAccepted(t, resp, size, replaySum(size))
			} else {
				s.wantRefusedOnce(t, resp, session)
			}
		})
	}
}

// TestExpectContinueHints: a server sends "103 Early Hints" and then reads the
// body, with or without saying "100 Continue".
func TestExpectContinueHints(t *testing.T) {
	for _, said := range []bool{true, false} {
		t.Run(fmt.Sprintf("100 Continue %v", said), func(t *testing.T) {
			s := startRawServer(t, func(s *uploadServer, conn io.Writer, r *http.Request) error {
				rawHints(conn)
				if said {
					_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
				}
				rawAnswer(conn, "200 OK", s.accept(r.Body))
				return nil
			})
			if !said {
				s.transport.ExpectContinueTimeout = 50 * time.Millisecond
			}
			session := s.session(t)
			resp, err := s.asking(session).RoundTrip(s.request(t, t.Context(), newUpload(continueSize)))
			if err != nil {
				t.Fatal(err)
			}
			wantAccepted(t, resp, continueSize, replaySum(continueSize))
		})
	}
}

// TestExpectContinueHandedBack: no second sending is wanted. The 401 is whole, and
// net/http may do with the body what it always does.
func TestExpectContinueHandedBack(t *testing.T) {
	for _, kind := range continueServers {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.start(t)
			s.noted = make(chan int64, 1)
			session := s.session(t)
			transport := s.asking(session)
			transport.NoReplay = func(*http.Request) bool { return true }
			resp, err := transport.RoundTrip(s.request(t, t.Context(), newUpload(continueSize)))
			if err != nil {
				t.Fatal(err)
			}
			// First, because over HTTP/1.1 the answer's end closes a connection on
			// which the body is still being sent.
			if n := <-s.noted; kind.name == "HTTP1 kept" && n != continueSize {
				t.Errorf("net/http was kept from sending the body: %d bytes arrived", n)
			}
			s.wantRefusedOnce(t, resp, session)
		})
	}
}

// TestExpectContinueRequests: requests that are made in unusual ways.
func TestExpectContinueRequests(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"a literal, without Proto": func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "", 0, 0 },
		// net/http reads a byte to see whether there is a body.
		"DELETE": func(r *http.Request) { r.Method = http.MethodDelete },
		"close":  func(r *http.Request) { r.Close = true },
	} {
		for _, kind := range continueServers {
			t.Run(kind.name+"/"+name, func(t *testing.T) {
				s := kind.start(t)
				session := s.session(t)
				transport := s.asking(session)
				transport.MaxReplayBody = 1
				req := s.request(t, t.Context(), newUpload(continueSize))
				change(req)
				proto := req.Proto
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				wantAccepted(t, resp, continueSize, replaySum(continueSize))
				if req.Proto != proto || req.Header.Get("Expect") != "" {
					t.Error("the caller's request was changed")
				}
			})
		}
	}
}

// TestExpectContinueTrace: the caller's own hooks see both sendings.
func TestExpectContinueTrace(t *testing.T) {
	for _, kind := range continueServers {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.start(t)
			session := s.session(t)
			var waits, answers, wrote atomic.Int32
			req := s.request(t, t.Context(), newUpload(continueSize))
			req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
				Wait100Continue:      func() { waits.Add(1) },
				GotFirstResponseByte: func() { answers.Add(1) },
				WroteHeaderField: func(name string, _ []string) {
					if strings.EqualFold(name, "Expect") {
						wrote.Add(1)
					}
				},
			}))
			resp, err := s.asking(session).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			wantAccepted(t, resp, continueSize, replaySum(continueSize))
			if waits.Load() != 1 || answers.Load() != 2 || wrote.Load() != 1 {
				t.Errorf("hooks were called %d, %d and %d times, want 1, 2, 1", waits.Load(), answers.Load(), wrote.Load())
			}
		})
	}
}
