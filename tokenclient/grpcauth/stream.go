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
	st := &stream{session: s, keeps: true}
	st.open = func() error {
		return s.Do(ctx, func(ctx context.Context, t *tokenclient.Token) error {
			c := a.credentials(s)
			cs, err := streamer(ctx, desc, cc, method, with(opts, c)...)
			if err != nil {
				return c.judge(err)
			}
			st.mu.Lock()
			defer st.mu.Unlock()
			st.ClientStream, st.creds, st.token, st.lent = cs, c, t, ctx
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
	session *tokenclient.Session
	open    func() error // sets what follows

	sending sync.Mutex // held by who sends, perhaps for long; taken before mu

	mu                sync.Mutex // guards the rest; not held while anything waits
	grpc.ClientStream            // of the last try
	creds             *creds
	token             *tokenclient.Token
	lent              context.Context // that of Do, which knows whose login token is of

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
	s.sending.Lock()
	defer s.sending.Unlock()
	cs, over := s.keep(m)
	if over {
		return nil
	}
	err := cs.SendMsg(m)
	if errors.Is(err, io.EOF) && s.mayStillBegin() { // RecvMsg says why
		return nil
	}
	return err
}

// keep keeps m if it may have to be sent again. It returns the stream of the last try, and
// whether that takes no more, so that keeping m is all.
func (s *stream) keep(m any) (cs grpc.ClientStream, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keepLocked(m)
	return s.ClientStream, s.over && s.keeps
}

// mayStillBegin notes that the server takes no more, and is mayBegin.
func (s *stream) mayStillBegin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = s.keeps
	return s.keeps
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
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	cs, _ := s.now()
	return cs.CloseSend()
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
		s.mu.Lock()
		ctx, token := s.lent, s.token
		s.mu.Unlock()
		_, failure := s.session.RefreshRejected(ctx, token)
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

// begin begins again. A SendMsg that waits ends first: its stream is over.
func (s *stream) begin() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	s.mu.Lock()
	s.over = false
	cs, sent, closed := s.ClientStream, s.sent, s.closed
	s.mu.Unlock()
	for _, m := range sent {
		if err := cs.SendMsg(m); err != nil {
			if errors.Is(err, io.EOF) {
				break // RecvMsg says why
			}
			return err
		}
	}
	if closed {
		return cs.CloseSend()
	}
	return nil
}

// answered notes that it is too late to begin again.
func (s *stream) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keeps, s.sent = false, nil
}
