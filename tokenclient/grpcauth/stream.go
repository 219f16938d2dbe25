package grpcauth

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const (
	maxKept    = 1 << 20 // bytes of a stream that was not answered yet, as Transport keeps of a body
	messageFee = 128     // that a message counts besides, so that tiny ones are bounded too
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
	st.open = func(l loan, d *second) (*attempt, error) {
		c := a.credentials(s, opts)
		opts := with(opts, c)
		if d != nil {
			opts = append(opts, grpc.OnFinish(func(err error) { d.tell(c.judge(err)) }))
		}
		cs, err := streamer(l.ctx, desc, cc, method, opts...)
		if err != nil {
			return nil, c.judge(err)
		}
		return &attempt{ClientStream: cs, creds: c, loan: l, second: d, known: make(chan struct{})}, nil
	}
	err = s.Do(ctx, func(ctx context.Context, t *tokenclient.Token) (err error) {
		st.now, err = st.open(loan{ctx, t}, nil)
		return err
	})
	if err != nil {
		return nil, told(err)
	}
	return st, nil
}

// A stream is begun again if its token is refused before the first answer, and what was sent by
// then is sent again. As of any ClientStream, SendMsg and CloseSend are called by one goroutine
// at a time, and RecvMsg by one.
//
// Whoever meets the end of an attempt finds out why it ended, and begins the next: RecvMsg,
// SendMsg in a stream that nobody reads yet, or Header. No lock is held while gRPC waits, but
// sending: one side of a stream may wait for the other.
type stream struct {
	ctx     context.Context // the call's; that of an attempt ends with it
	session *tokenclient.Session
	open    func(l loan, d *second) (*attempt, error) // an attempt with l; d is nil for the first

	// sending is held by who hands messages to gRPC: SendMsg, or resend. It comes before mu.
	sending sync.Mutex

	mu        sync.Mutex // guards the rest, and the flags of attempts
	now       *attempt
	keeps     bool            // now may be replaced by another attempt
	kept      []proto.Message // what was sent, while keeps
	size      int             // of it
	closed    bool            // CloseSend was called
	resending bool            // CloseSend is for resend to call
}

// An attempt is a stream of gRPC.
type attempt struct {
	grpc.ClientStream
	creds  *creds
	loan   loan    // the session knows by its context which login the token is of
	second *second // nil: it is the first

	asked     bool // somebody waits for the first answer
	replacing bool // it was refused, and another attempt is to take its place
	over      bool // known is closed

	// known is closed when it is known what came of the attempt: an answer, its end, which is
	// err then, or another attempt, and replaced is set.
	known    chan struct{}
	err      error
	replaced bool
}

// SendMsg sends m, and keeps a copy while it may have to be sent again.
func (s *stream) SendMsg(m any) error {
	for {
		s.sending.Lock()
		a, wait := s.keep(m)
		if wait {
			s.sending.Unlock()
			<-a.known // who replaces it does so within s.ctx
			continue
		}
		err := a.ClientStream.SendMsg(m)
		s.sending.Unlock()
		if errors.Is(err, io.EOF) && s.ended(a) {
			return nil // m was kept, and is sent again with all before it
		}
		return a.says(err)
	}
}

// keep keeps a copy of m, or gives up to keep anything, and returns where to send m. wait: first
// wait for the attempt that replaces a.
func (s *stream) keep(m any) (a *attempt, wait bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.replacing && !s.now.over {
		return s.now, true
	}
	if !s.keeps {
		return s.now, false
	}
	p, ok := m.(proto.Message)
	if ok {
		s.size += proto.Size(p) + messageFee
	}
	if !ok || s.size > maxKept {
		s.commitLocked()
		return s.now, false
	}
	// A copy, for programs use their messages and buffers again, against the advice of gRPC.
	s.kept = append(s.kept, proto.Clone(p))
	return s.now, false
}

// commitLocked gives up to replace the attempt that is under way.
func (s *stream) commitLocked() { s.keeps, s.kept = false, nil }

// CloseSend says that nothing more is sent.
func (s *stream) CloseSend() error {
	s.mu.Lock()
	s.closed = true
	a, later := s.now, s.resending || s.now.replacing && !s.now.over
	s.mu.Unlock()
	if later {
		return nil
	}
	return a.ClientStream.CloseSend()
}

// Header is that of the attempt that is not replaced any more: who has seen it has seen an answer.
func (s *stream) Header() (metadata.MD, error) {
	for {
		a := s.current()
		h, err := a.ClientStream.Header()
		switch {
		case h == nil && err == nil && s.ended(a):
		case h == nil || s.settled() == a:
			return h, a.says(err)
		}
	}
}

// Context is that of the attempt under way, which is not replaced any more: it would end.
func (s *stream) Context() context.Context { return s.settled().ClientStream.Context() }

// Trailer is that of the last attempt.
func (s *stream) Trailer() metadata.MD { return s.current().ClientStream.Trailer() }

// RecvMsg receives m, of the next attempt if this one's token is refused.
func (s *stream) RecvMsg(m any) error {
	for {
		a := s.current()
		if s.ask(a) {
			if err := s.conclude(a, a.ClientStream.RecvMsg(m)); !a.replaced {
				return err
			}
			continue
		}
		<-a.known // if it is not: SendMsg or Header find out why a ended
		switch {
		case a.replaced:
		case a.err != nil:
			return a.err
		default:
			return a.says(a.ClientStream.RecvMsg(m))
		}
	}
}

func (s *stream) current() *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// settled returns the attempt under way, which is not replaced from now on.
func (s *stream) settled() *attempt {
	for {
		s.mu.Lock()
		a := s.now
		wait := a.replacing && !a.over
		if !wait {
			s.commitLocked()
		}
		s.mu.Unlock()
		if !wait {
			return a
		}
		<-a.known
	}
}

// ask reports whether it is for the caller to wait for a's first answer, and to conclude from it.
func (s *stream) ask(a *attempt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !a.asked
	a.asked = true
	return first
}

// ended finds out why a ended, which takes no more messages, and reports whether another attempt
// has taken its place.
func (s *stream) ended(a *attempt) bool {
	if h, _ := a.ClientStream.Header(); h != nil {
		// There may be messages, for RecvMsg to take. Who is told that the stream has ended sends
		// no more: another attempt would wait for that.
		return s.settled() != a
	}
	if s.ask(a) {
		// Without a header there are no messages: it is the end.
		_ = s.conclude(a, a.ClientStream.RecvMsg(new(emptypb.Empty)))
	}
	<-a.known
	return a.replaced
}

// conclude notes that err is what came of a, or replaces a. It returns what RecvMsg does if it is
// not replaced.
func (s *stream) conclude(a *attempt, err error) error {
	judged := a.creds.judge(err)
	refused := errors.Is(judged, tokenclient.ErrRejected)
	switch {
	case a.second != nil:
		a.second.concludes(a.creds, err)
	case refused && s.replacing(a):
		return s.replace(a, told(judged))
	case refused: // those that follow have another token
		_, _ = s.session.RefreshRejected(a.loan.ctx, a.loan.token)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commitLocked()
	return a.isLocked(told(judged))
}

// says returns err, of a, as the caller gets it.
func (a *attempt) says(err error) error { return told(a.creds.judge(err)) }

// isLocked makes it known that err came of a, and returns that.
func (a *attempt) isLocked(err error) error {
	a.err, a.over = err, true
	close(a.known)
	return err
}

// replacing reports whether another attempt may take the place of a. Then nothing more is kept or
// given up until it is known what came of that.
func (s *stream) replacing(a *attempt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.replacing = s.keeps
	return s.keeps
}

// replace refreshes the token, and has another attempt take the place of a, which was refused.
func (s *stream) replace(a *attempt, refusal error) error {
	next, err := s.next(a, refusal)
	s.sending.Lock() // a has ended, so SendMsg does not wait
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.kept
	s.commitLocked() // there is no third attempt
	if err != nil {
		s.sending.Unlock()
		return a.isLocked(err)
	}
	s.now, s.resending, a.replaced = next, true, true
	go s.resend(next, kept)
	return a.isLocked(refusal)
}

// next opens another attempt with another token, or returns why there is none: refusal, which is that
// of a, if tokens are refused too often.
func (s *stream) next(a *attempt, refusal error) (*attempt, error) {
	if _, err := s.session.RefreshRejected(a.loan.ctx, a.loan.token); errors.Is(err, tokenclient.ErrRejected) {
		return nil, refusal
	} else if err != nil {
		return nil, failed(err)
	}
	d := begin(a.loan.ctx, s.session)
	select {
	case <-d.over:
		return nil, told(d.err)
	case l := <-d.lent:
		next, err := s.open(l, d)
		if err != nil {
			d.tell(err)
			return nil, told(err)
		}
		return next, nil
	}
}

// resend sends again what was kept, and gives sending back. The server may take it no faster than
// the program reads the answers, so it has a goroutine; like any SendMsg that ends with a.
func (s *stream) resend(a *attempt, kept []proto.Message) {
	defer s.sending.Unlock()
	for _, m := range kept {
		if err := a.ClientStream.SendMsg(m); err != nil {
			break // RecvMsg says why
		}
	}
	s.mu.Lock()
	closed := s.closed
	s.resending = false
	s.mu.Unlock()
	if closed {
		_ = a.ClientStream.CloseSend() // returns nil
	}
}
