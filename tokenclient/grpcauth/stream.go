package grpcauth

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What is kept of a stream that was not answered yet, to be sent again. It is less than what
// each server lets a client send before it reads, so that nobody waits for it.
const (
	MaxReplayMessages = 64
	MaxReplayBytes    = 32 << 10
)

// Stream is a [grpc.StreamClientInterceptor].
func (a *Auth) Stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if !tokenclient.WantsToken(ctx) {
		return streamer(ctx, desc, cc, method, opts...)
	}
	s, err := a.session(ctx)
	if err != nil {
		return nil, failed(err)
	}
	st := &stream{ctx: ctx, session: s, keeps: true}
	st.open = func() error {
		return s.Do(ctx, func(ctx context.Context, t *tokenclient.Token) error {
			c := a.credentials(s)
			cs, err := streamer(ctx, desc, cc, method, with(opts, c)...)
			if err != nil {
				return c.judge(err)
			}
			st.ClientStream, st.creds, st.token = cs, c, t
			return nil
		})
	}
	if err := st.open(); err != nil {
		return nil, told(err)
	}
	return st, nil
}

// A stream is begun again if its token is refused before the first answer. As of any
// ClientStream, SendMsg and CloseSend are called by one goroutine at a time, and RecvMsg by
// another.
type stream struct {
	ctx     context.Context // the call's; that of a try ends with it
	session *tokenclient.Session
	open    func() error // sets what follows

	mu                sync.Mutex // guards the rest
	grpc.ClientStream            // of the last try
	creds             *creds
	token             *tokenclient.Token

	keeps  bool  // it may be begun again
	sent   []any // what was sent, while keeps
	bytes  int   // of it
	over   bool  // the server takes no more; what is sent is kept
	closed bool  // CloseSend was called
}

func (s *stream) now() (grpc.ClientStream, *creds) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ClientStream, s.creds
}

// Context, Header and Trailer are those of the last try.
func (s *stream) Context() context.Context { cs, _ := s.now(); return cs.Context() }

// SendMsg sends m, and keeps it while it may have to be sent again.
func (s *stream) SendMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked(m)
	if s.over && s.keeps {
		return nil
	}
	err := s.ClientStream.SendMsg(m)
	if errors.Is(err, io.EOF) && s.keeps { // RecvMsg says why
		s.over = true
		return nil
	}
	return err
}

// keepLocked keeps m, or gives up to keep anything.
func (s *stream) keepLocked(m any) {
	if !s.keeps {
		return
	}
	size := 0
	if p, ok := m.(proto.Message); ok {
		size = proto.Size(p)
	}
	if s.bytes += size; s.bytes > MaxReplayBytes || len(s.sent) == MaxReplayMessages {
		s.keeps, s.sent = false, nil
		return
	}
	s.sent = append(s.sent, m)
}

// CloseSend says that nothing more is sent.
func (s *stream) CloseSend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.ClientStream.CloseSend()
}

// Header is that of the last try.
func (s *stream) Header() (h metadata.MD, err error) {
	cs, _ := s.now()
	return cs.Header()
}

// Trailer is that of the last try.
func (s *stream) Trailer() metadata.MD {
	cs, _ := s.now()
	return cs.Trailer()
}

// RecvMsg receives m. If instead the server refuses the token, that is refreshed, and the
// stream begun again, once.
func (s *stream) RecvMsg(m any) error {
	cs, c := s.now()
	err := cs.RecvMsg(m)
	if err != nil && s.refused(c.judge(err)) {
		_, failure := s.session.RefreshRejected(s.ctx, s.token)
		switch {
		case !s.mayBegin(): // those that follow have the new token
		case failure != nil:
			return failed(failure)
		default:
			if err := s.begin(); err != nil {
				return told(err)
			}
			cs, c = s.now()
			err = cs.RecvMsg(m)
		}
	}
	s.answered()
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return told(c.judge(err))
}

func (s *stream) refused(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

// mayBegin reports whether the stream can be begun again.
func (s *stream) mayBegin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keeps
}

// begin begins again.
func (s *stream) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	s.over = false
	for _, m := range s.sent {
		if err := s.ClientStream.SendMsg(m); err != nil {
			if errors.Is(err, io.EOF) {
				break // RecvMsg says why
			}
			return err
		}
	}
	if s.closed {
		return s.ClientStream.CloseSend()
	}
	return nil
}

// answered notes that it is too late to begin again.
func (s *stream) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeps, s.sent = false, nil
}
