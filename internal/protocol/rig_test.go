package protocol_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/recordtest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

type refreshFunc = recordtest.RefreshFunc

var (
	tok        = recordtest.Token
	next       = recordtest.Next
	never      = recordtest.Never
	login      = recordtest.Login
	wantToken  = recordtest.WantToken
	wantStored = recordtest.WantStored
	wantErr    = recordtest.WantErr
)

func fails(err error) refreshFunc {
	return func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return nil, err }
}

// A header is what a record says in the clear.
type header struct {
	WriteID, Lease [16]byte
	LeaseLen       time.Duration
	tokenclient.Record
}

func decodeHeader(raw []byte) (header, error) {
	r, err := protocol.DecodeRecord(raw)
	if err != nil {
		return header{}, err
	}
	return header{r.WriteID, r.Lease, r.LeaseLen, tokenclient.Record{
		Era: r.Era, Number: r.Number, Announced: int(r.Announced), State: r.State,
	}}, nil
}

// setAnnounced returns raw with another count of announcements.
func setAnnounced(t testing.TB, raw []byte, n uint8) []byte {
	t.Helper()
	r, err := protocol.DecodeRecord(raw)
	if err != nil {
		t.Fatal(err)
	}
	r.WriteID[0]++
	r.Announced = n
	return r.Encode()
}

// A testSealer keeps tokens as they are, beside the name of its key and what a seal
// binds.
type testSealer struct {
	id      string // of the key
	newErr  error  // of NewDataKey
	openErr error
	onNew   func() // may be nil

	mu   sync.Mutex // guards made while there are refreshes
	made int        // data keys
}

func (s *testSealer) NewDataKey(context.Context, string) (protocol.DataKey, error) {
	s.mu.Lock()
	s.made++
	s.mu.Unlock()
	if s.onNew != nil {
		s.onNew()
	}
	if s.newErr != nil {
		return nil, s.newErr
	}
	return s, nil
}

func (s *testSealer) bound(r *protocol.Record) []byte {
	return fmt.Appendf(nil, "%q %x %d %v ", s.id, r.Era, r.Number, r.State)
}

// bareToken is a Token without its methods, which show nothing.
type bareToken tokenclient.Token

func (s *testSealer) Seal(r *protocol.Record, t *tokenclient.Token) error {
	b, err := json.Marshal((*bareToken)(t))
	if !utf8.ValidString(t.AccessToken) {
		err = errors.New("not valid UTF-8")
	}
	r.Sealed = append(s.bound(r), b...)
	return err
}

func (s *testSealer) Open(_ context.Context, _ string, r *protocol.Record) (*tokenclient.Token, error) {
	if s.openErr != nil {
		return nil, s.openErr
	}
	b, ok := bytes.CutPrefix(r.Sealed, s.bound(r))
	if !ok {
		return nil, fmt.Errorf("%w: another key", tokenclient.ErrStoreUnavailable)
	}
	t := new(bareToken)
	if err := json.Unmarshal(b, t); err != nil {
		return nil, protocol.Corruptf("%v", err)
	}
	return (*tokenclient.Token)(t), nil
}

// locks are the locks of some processes that exclude each other.
type locks struct {
	mu sync.Mutex
	m  map[string]chan struct{} // holds one element while the key is taken
}

func (l *locks) turn(key string) protocol.Turn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = make(map[string]chan struct{})
	}
	if l.m[key] == nil {
		l.m[key] = make(chan struct{}, 1)
	}
	return &lockTurn{taken: l.m[key]}
}

type lockTurn struct {
	taken chan struct{}
	poll  protocol.Backoff
	held  bool
}

func (t *lockTurn) Ready(ctx context.Context, _ *protocol.Record) (bool, error) {
	if t.held {
		return true, ctx.Err()
	}
	select {
	case t.taken <- struct{}{}:
		t.held = true
	case <-time.After(t.poll.Next()):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return false, nil
}

func (t *lockTurn) End(time.Duration) {
	if t.held {
		<-t.taken
	}
}

// newEngine returns one over m that takes turns by l or, if l is nil, by the lease
// in the record.
func newEngine(m protocol.Medium, l *locks, s protocol.Sealer) *protocol.Engine {
	e := &protocol.Engine{Medium: m, Sealer: s}
	if l != nil {
		e.NewTurn = l.turn
	}
	return e
}

// bed is a medium with two processes. They exclude each other, unless apart is
// true: then they are as after a hold that ran out.
func bed(apart bool) (m *faultyMedium, a, b *protocol.Engine) {
	m = &faultyMedium{}
	l := &locks{}
	a = newEngine(m, l, &testSealer{})
	if apart {
		l = &locks{}
	}
	return m, a, newEngine(m, l, &testSealer{})
}
