package store

import (
	"context"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// ErrNotWritten is what a FakeMedium returns for a write that certainly failed.
var ErrNotWritten = errNotWritten

// A FakeMedium is a medium that a test outside of the package can write.
type FakeMedium interface {
	Get(ctx context.Context, key string) ([]byte, error)
	CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error)
}

type fakeMedium struct{ FakeMedium }

func (m fakeMedium) get(ctx context.Context, key string) ([]byte, error) { return m.Get(ctx, key) }
func (m fakeMedium) compareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	return m.CompareAndSwap(ctx, key, old, new)
}
func (m fakeMedium) where(string) string { return "the fake record" }

// FakeLocks are the locks of some processes that exclude each other.
type FakeLocks struct{ slots }

// A FakeProcess is a Store on an engine of its own.
type FakeProcess struct{ e engine }

// NewFakeProcess returns a process that takes turns by l or, if l is nil, by the
// lease in the record.
func NewFakeProcess(m FakeMedium, l *FakeLocks, s *Sealer) *FakeProcess {
	return &FakeProcess{engine{
		medium: fakeMedium{m}, sealer: s,
		newTurn: func(key string) turn {
			if l == nil {
				return new(leaseTurn)
			}
			return &slotTurn{slots: &l.slots, key: key}
		},
	}}
}

func (p *FakeProcess) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	return p.e.load(ctx, key)
}

func (p *FakeProcess) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	return p.e.replace(ctx, key, t)
}

func (p *FakeProcess) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration, fn refreshFunc) (tokenclient.Record, error) {
	return p.e.refresh(ctx, key, seen, timeout, fn)
}

var _ tokenclient.Store = (*FakeProcess)(nil)

// Header is the header of a record.
type Header struct {
	WriteID, Lease [16]byte
	LeaseLen       time.Duration
	tokenclient.Record
}

func DecodeHeader(raw []byte) (Header, error) {
	r, err := decodeRecord(raw)
	if err != nil {
		return Header{}, err
	}
	return Header{r.writeID, r.lease, r.leaseLen, entry{rec: r}.header()}, nil
}

// SetAnnounced returns raw with another count of announcements.
func SetAnnounced(raw []byte, n uint8) []byte {
	r, err := decodeRecord(raw)
	if err != nil {
		panic(err)
	}
	r.writeID, r.announced = newID(), n
	return r.encode()
}

// RecordPath is the file of key.
func (f *File) RecordPath(key string) string { return f.path(key) }
