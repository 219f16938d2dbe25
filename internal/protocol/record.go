package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Format is the format that this version writes, and the newest that it reads.
// Formats that were ever released are read forever: package store has records of
// each in its testdata.
const Format = 1

// The layout of a record of format 1. All numbers are big-endian.
//
//	offset  length
//	     0       1  format
//	     1      16  write id
//	    17      16  era
//	    33       8  number
//	    41       1  state
//	    42       1  announced
//	    43      16  lease id
//	    59       4  lease length in milliseconds
//	    63       4  CRC-32C of bytes 0 to 62
//	    67          sealed payload; empty in a tombstone
//
// Format and write id come first because an engine may compare only these 17
// bytes: no two writes share them. The checksum covers only the header, as the
// payload has a stronger check of its own. A later format must not have this checksum of
// these bytes in this place: it is how a first byte that was damaged is told from a
// format that is newer.
const (
	checksumAt = 63
	headerLen  = checksumAt + 4
)

// A Record is the stored form of a tokenclient.Record. Its header is in the clear,
// because a waiter must judge a lease without the key.
type Record struct {
	WriteID   [16]byte          // new in every write: equal bytes are the same write
	Era       [16]byte          // write id of the login or logout that began it
	Number    uint64            // 1 at login, one more with each saved pair of the era
	State     tokenclient.State // stored as its value; never Absent
	Announced uint8             // presentations written down, less those taken back
	Lease     [16]byte          // whose hold; zero: free
	LeaseLen  time.Duration     // whole milliseconds
	Sealed    []byte            // the token; empty unless State is Active
}

// Hold is how long a waiter has to wait without seeing a change, before it may take the
// hold in r for over.
func (r *Record) Hold() time.Duration { return min(r.LeaseLen, maxHold) }

// Outlives is for how long the request of the holder of r, which has died, may still have an
// effect: the rest of the hold, of which passed is over, or what is promised of requests whose
// process has died, if that is less. 0: nothing is promised.
func (r *Record) Outlives(passed, promised time.Duration) time.Duration {
	left := max(r.Hold()-passed, 0)
	if promised > 0 {
		left = min(left, promised)
	}
	return left
}

// maxFormat is the last format that there may ever be. What begins with a higher
// byte, a character of text among others, is not ours.
const maxFormat = 8

// ErrNewerFormat is what DecodeRecord returns for a record that a later version
// of this package wrote. Such a record is locked and not corrupt: the token is
// good, for programs that can read it. So nothing overwrites it that happens by itself,
// nor does a logout, which could not revoke it. A login does: whoever logs in means to
// replace what is there, whatever it is, and has no other way if it is damaged.
var ErrNewerFormat = Unavailable(errors.New("record of a newer format"))

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the bytes of r in the newest format.
func (r *Record) Encode() []byte {
	b := make([]byte, 0, headerLen+len(r.Sealed))
	b = append(b, Format)
	b = append(b, r.WriteID[:]...)
	b = append(b, r.Era[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Number)
	b = append(b, byte(r.State), r.Announced)
	b = append(b, r.Lease[:]...)
	b = binary.BigEndian.AppendUint32(b, leaseMillis(r.LeaseLen))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, r.Sealed...)
}

// leaseMillis rounds up and saturates: to wait too long for a dead holder is
// slow, to wait too short breaks the lease.
func leaseMillis(d time.Duration) uint32 {
	switch {
	case d <= 0:
		return 0
	case d > math.MaxUint32*time.Millisecond:
		return math.MaxUint32
	}
	return uint32((d + time.Millisecond - 1) / time.Millisecond)
}

// DecodeRecord reads what Encode wrote. It keeps no reference to b. Its errors are
// tokenclient.ErrStoreCorrupt, or ErrNewerFormat if the first byte, which is all
// that formats have in common, is above Format, but not a character of text, and not
// all that is wrong with a record of Format.
func DecodeRecord(b []byte) (*Record, error) {
	if len(b) == 0 {
		return nil, Corruptf("empty")
	}
	switch {
	case b[0] == Format:
	case hasChecksumOf(Format, b):
		return nil, Corruptf("its first byte is damaged")
	case b[0] > Format && b[0] <= maxFormat:
		return nil, fmt.Errorf("%w: it has format %d, this program reads up to format %d: upgrade the program, or log in again, which replaces the record",
			ErrNewerFormat, b[0], Format)
	default:
		return nil, Corruptf("unknown format %d", b[0])
	}
	if len(b) < headerLen {
		return nil, Corruptf("truncated: %d bytes, the header alone has %d", len(b), headerLen)
	}
	if !hasChecksumOf(Format, b) {
		return nil, Corruptf("header has a wrong checksum")
	}
	r := &Record{
		WriteID:   [16]byte(b[1:]),
		Era:       [16]byte(b[17:]),
		Number:    binary.BigEndian.Uint64(b[33:]),
		State:     tokenclient.State(b[41]),
		Announced: b[42],
		Lease:     [16]byte(b[43:]),
		LeaseLen:  time.Duration(binary.BigEndian.Uint32(b[59:])) * time.Millisecond,
	}
	sealed := b[headerLen:]
	switch r.State {
	case tokenclient.Active:
		if r.Number == 0 {
			return nil, Corruptf("active, with number 0")
		}
		if len(sealed) == 0 {
			return nil, Corruptf("active, without a token")
		}
		r.Sealed = append([]byte(nil), sealed...)
	case tokenclient.LoggedOut, tokenclient.Refused:
		if len(sealed) != 0 {
			return nil, Corruptf("tombstone (%v) with a token", r.State)
		}
	default:
		return nil, Corruptf("invalid state %d", byte(r.State))
	}
	return r, nil
}

// hasChecksumOf reports whether b has the checksum of a header that begins with format.
func hasChecksumOf(format byte, b []byte) bool {
	if len(b) < headerLen {
		return false
	}
	sum := crc32.Update(crc32.Checksum([]byte{format}, castagnoli), castagnoli, b[1:checksumAt])
	return sum == binary.BigEndian.Uint32(b[checksumAt:])
}
