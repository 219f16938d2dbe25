package protocol_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Where the checksum of a header is, and where the header ends.
const (
	checksumAt = 63
	headerLen  = 67
)

// fixChecksum returns a copy of b whose header has the right checksum.
func fixChecksum(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= headerLen {
		binary.BigEndian.PutUint32(b[checksumAt:], crc32.Checksum(b[:checksumAt], crc32.MakeTable(crc32.Castagnoli)))
	}
	return b
}

// ofThisFormat reports whether b would have the right checksum if its first byte was that
// of the format.
func ofThisFormat(b []byte) bool {
	if len(b) < headerLen {
		return false
	}
	b = bytes.Clone(b)
	b[0] = protocol.Format
	return bytes.Equal(b, fixChecksum(b))
}

func TestRecordCopies(t *testing.T) {
	b := (&protocol.Record{Number: 1, State: tokenclient.Active, Sealed: []byte("payload")}).Encode()
	r, err := protocol.DecodeRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if string(r.Sealed) != "payload" {
		t.Error("DecodeRecord keeps a reference to its argument")
	}
	e := r.Encode()
	clear(e)
	if string(r.Sealed) != "payload" {
		t.Error("encode returns the record's own bytes")
	}
}

func TestRecordLeaseLength(t *testing.T) {
	for _, c := range []struct{ in, want time.Duration }{
		{0, 0}, {-time.Second, 0}, {time.Millisecond, time.Millisecond}, {30 * time.Second, 30 * time.Second},
		{time.Nanosecond, time.Millisecond}, {time.Second + 1, time.Second + time.Millisecond},
		{math.MaxInt64, math.MaxUint32 * time.Millisecond},
	} {
		r, err := protocol.DecodeRecord((&protocol.Record{State: tokenclient.Refused, LeaseLen: c.in}).Encode())
		if err != nil {
			t.Fatal(err)
		}
		if r.LeaseLen != c.want {
			t.Errorf("lease length %v reads as %v, want %v", c.in, r.LeaseLen, c.want)
		}
	}
}

func TestRecordErrorTexts(t *testing.T) {
	active := (&protocol.Record{Number: 1, State: tokenclient.Active, Sealed: []byte("x")}).Encode()
	flipped := bytes.Clone(active)
	flipped[20] ^= 1
	for _, c := range []struct {
		b    []byte
		want []string
	}{
		{nil, []string{"empty"}},
		{active[:12], []string{"truncated", "12"}},
		{flipped, []string{"checksum"}},
		{active[:headerLen], []string{"active", "without a token"}},
		{fixChecksum(slices.Replace(bytes.Clone(active), 41, 42, 9)), []string{"state 9"}},
		{fixChecksum(slices.Replace(bytes.Clone(active), 41, 42, 2)), []string{"tombstone", "logged out"}},
		{fixChecksum(slices.Replace(bytes.Clone(active), 40, 41, 0)), []string{"number 0"}},
		{[]byte{3}, []string{"format 3", "format 1", "upgrade", "log in again"}},
	} {
		_, err := protocol.DecodeRecord(c.b)
		if err == nil {
			t.Fatalf("% x: no error", c.b)
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error %q does not say %q", err, w)
			}
		}
	}
}

// A first byte that was damaged makes no record of a newer format, which a program that
// can read it would have to be found for.
func TestRecordFirstByte(t *testing.T) {
	for _, r := range []protocol.Record{
		{WriteID: [16]byte{1}, Number: 1, State: tokenclient.Active, Sealed: []byte("payload")},
		{WriteID: [16]byte{2}, State: tokenclient.LoggedOut},
	} {
		good := r.Encode()
		for first := range 256 {
			b := bytes.Clone(good)
			if b[0] = byte(first); b[0] == protocol.Format {
				continue
			}
			if _, err := protocol.DecodeRecord(b); !errors.Is(err, tokenclient.ErrStoreCorrupt) {
				t.Errorf("%v, first byte %d: %v", r.State, first, err)
			}
			newer := first > protocol.Format && first <= 8
			if _, err := protocol.DecodeRecord(fixChecksum(b)); errors.Is(err, protocol.ErrNewerFormat) != newer {
				t.Errorf("%v, format %d: %v", r.State, first, err)
			}
		}
	}
}

// Whatever decodes encodes to the same bytes, and every failure is corruption.
func FuzzRecord(f *testing.F) {
	f.Add((&protocol.Record{Number: 1, State: tokenclient.Active, Announced: 255, LeaseLen: time.Minute, Sealed: []byte("payload")}).Encode())
	f.Add((&protocol.Record{WriteID: [16]byte{1}, Era: [16]byte{1}, Lease: [16]byte{1}, State: tokenclient.LoggedOut}).Encode())
	f.Add((&protocol.Record{Number: 1 << 40, State: tokenclient.Refused}).Encode())
	f.Add([]byte{protocol.Format + 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		// The second run gets past the checksum, which the fuzzer cannot guess.
		for _, b := range [][]byte{b, fixChecksum(b)} {
			before := bytes.Clone(b)
			r, err := protocol.DecodeRecord(b)
			if !bytes.Equal(b, before) {
				t.Fatal("DecodeRecord changed its argument")
			}
			if err != nil {
				newer := len(b) > 0 && b[0] > protocol.Format && b[0] <= 8 && !ofThisFormat(b)
				if r != nil || errors.Is(err, protocol.ErrNewerFormat) != newer || errors.Is(err, tokenclient.ErrStoreCorrupt) == newer {
					t.Fatalf("record %v, a newer format %t; error %v", r, newer, err)
				}
				continue
			}
			if got := r.Encode(); !bytes.Equal(got, b) {
				t.Fatalf("encodes to other bytes:\n got %x\nwant %x", got, b)
			}
		}
	})
}
