package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
	"unicode/utf8"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// recordFormat is the format that this version writes, and the newest that it
// reads. Formats that were ever released are read forever: testdata has records
// of each.
const recordFormat = 1

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
// payload has a stronger check of its own.
const (
	checksumAt = 63
	headerLen  = checksumAt + 4
)

// record is the stored form of a tokenclient.Record. Its header is in the clear,
// because a waiter must judge a lease without the key.
type record struct {
	writeID   [16]byte          // new in every write: equal bytes are the same write
	era       [16]byte          // write id of the login or logout that began it
	number    uint64            // 1 at login, one more with each saved pair of the era
	state     tokenclient.State // stored as its value; never Absent
	announced uint8             // presentations written down, less those taken back
	lease     [16]byte          // whose hold; zero: free
	leaseLen  time.Duration     // whole milliseconds
	sealed    []byte            // see seal.go; empty unless state is Active
}

// maxFormat is the last format that there may ever be. What begins with a higher
// byte, a character of text among others, is not ours.
const maxFormat = 8

// errNewerFormat is what decodeRecord returns for a record that a later version
// of this package wrote. Such a record is locked and not corrupt: the token is
// good, and not even a login may overwrite it.
var errNewerFormat = fmt.Errorf("%w: record of a newer format", tokenclient.ErrStoreUnavailable)

// corruptError is an error that is tokenclient.ErrStoreCorrupt, with a text of
// its own.
type corruptError struct{ text string }

func (e *corruptError) Error() string { return e.text }
func (e *corruptError) Unwrap() error { return tokenclient.ErrStoreCorrupt }

func corruptf(format string, args ...any) error {
	return &corruptError{"corrupt record: " + fmt.Sprintf(format, args...)}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the bytes of r in the newest format.
func (r *record) encode() []byte {
	b := make([]byte, 0, headerLen+len(r.sealed))
	b = append(b, recordFormat)
	b = append(b, r.writeID[:]...)
	b = append(b, r.era[:]...)
	b = binary.BigEndian.AppendUint64(b, r.number)
	b = append(b, byte(r.state), r.announced)
	b = append(b, r.lease[:]...)
	b = binary.BigEndian.AppendUint32(b, leaseMillis(r.leaseLen))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, r.sealed...)
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

// decodeRecord reads what encode wrote. It keeps no reference to b. Its errors are
// tokenclient.ErrStoreCorrupt, or errNewerFormat if the first byte, which is all
// that formats have in common, is above recordFormat, but not a character of text.
func decodeRecord(b []byte) (*record, error) {
	if len(b) == 0 {
		return nil, corruptf("empty")
	}
	if b[0] > recordFormat && b[0] <= maxFormat {
		return nil, fmt.Errorf("%w: it has format %d, this program reads up to format %d: upgrade the program",
			errNewerFormat, b[0], recordFormat)
	}
	if b[0] != recordFormat {
		return nil, corruptf("unknown format %d", b[0])
	}
	if len(b) < headerLen {
		return nil, corruptf("truncated: %d bytes, the header alone has %d", len(b), headerLen)
	}
	if crc32.Checksum(b[:checksumAt], castagnoli) != binary.BigEndian.Uint32(b[checksumAt:]) {
		return nil, corruptf("header has a wrong checksum")
	}
	r := &record{
		writeID:   [16]byte(b[1:]),
		era:       [16]byte(b[17:]),
		number:    binary.BigEndian.Uint64(b[33:]),
		state:     tokenclient.State(b[41]),
		announced: b[42],
		lease:     [16]byte(b[43:]),
		leaseLen:  time.Duration(binary.BigEndian.Uint32(b[59:])) * time.Millisecond,
	}
	sealed := b[headerLen:]
	switch r.state {
	case tokenclient.Active:
		if r.number == 0 {
			return nil, corruptf("active, with number 0")
		}
		if len(sealed) == 0 {
			return nil, corruptf("active, without a token")
		}
		r.sealed = append([]byte(nil), sealed...)
	case tokenclient.LoggedOut, tokenclient.Refused:
		if len(sealed) != 0 {
			return nil, corruptf("tombstone (%v) with a token", r.state)
		}
	default:
		return nil, corruptf("invalid state %d", byte(r.state))
	}
	return r, nil
}

// storedToken is the form of a token before it is sealed. Token has a MarshalJSON
// of its own, which shows nothing. Names are those of RFC 6749 where it has some.
type storedToken struct {
	AccessToken   string                     `json:"access_token,omitempty"`
	RefreshToken  string                     `json:"refresh_token,omitempty"`
	TokenType     string                     `json:"token_type,omitempty"`
	Scope         string                     `json:"scope,omitempty"`
	Expiry        time.Time                  `json:"expiry,omitzero"`
	RefreshExpiry time.Time                  `json:"refresh_expiry,omitzero"`
	Issued        time.Time                  `json:"issued,omitzero"`
	Extra         map[string]json.RawMessage `json:"extra,omitempty"`
}

// encodeToken returns t as JSON from which decodeToken makes the same token again:
// what JSON would change on the way is an error. Times become UTC. Errors name the
// member at fault and show no value, since any may be a secret.
func encodeToken(t *tokenclient.Token) ([]byte, error) {
	if t == nil {
		return nil, errors.New("store: seal a token that is nil")
	}
	for _, f := range []struct{ name, value string }{
		{"AccessToken", t.AccessToken}, {"RefreshToken", t.RefreshToken},
		{"TokenType", t.TokenType}, {"Scope", t.Scope},
	} {
		if !utf8.ValidString(f.value) {
			return nil, fmt.Errorf("store: cannot store a token whose %s is not valid UTF-8", f.name)
		}
	}
	s := storedToken{
		AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, TokenType: t.TokenType, Scope: t.Scope,
	}
	for _, f := range []struct {
		name  string
		to    *time.Time
		value time.Time
	}{
		{"Expiry", &s.Expiry, t.Expiry}, {"RefreshExpiry", &s.RefreshExpiry, t.RefreshExpiry}, {"Issued", &s.Issued, t.Issued},
	} {
		*f.to = f.value.UTC()
		if y := f.to.Year(); y < 0 || y > 9999 { // RFC 3339, section 1
			return nil, fmt.Errorf("store: cannot store a token whose %s is in the year %d", f.name, y)
		}
	}
	for name, v := range t.Extra {
		raw, err := encodeExtra(v)
		if err != nil || !utf8.ValidString(name) {
			return nil, fmt.Errorf("store: cannot store a token whose Extra has %+q, a %T: JSON cannot hold it exactly", name, v)
		}
		if s.Extra == nil {
			s.Extra = make(map[string]json.RawMessage, len(t.Extra))
		}
		s.Extra[name] = raw
	}
	b, err := json.Marshal(&s)
	if err == nil && !json.Valid(b) { // nested deeper than package json reads
		err = errors.New("store: cannot store a token whose Extra is nested too deeply")
	}
	return b, err
}

var errNotUTF8 = errors.New("not valid UTF-8")

// encodeExtra is json.Marshal without its silent change of invalid UTF-8 into
// U+FFFD. Package json writes that replacement as an escape, and a U+FFFD that was
// there before as itself, which tells them apart at any depth and in any type.
func encodeExtra(v any) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in %T", v) // a MarshalJSON of the caller's; the pair must not be lost to it
		}
	}()
	b, err = json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) {
		return nil, errNotUTF8
	}
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(b[i:], []byte(`\ufffd`)) {
			return nil, errNotUTF8
		}
		i++ // the character after a backslash begins no escape
	}
	return b, nil
}

// decodeToken reads what encodeToken wrote. Numbers in Extra become json.Number.
// Its errors are tokenclient.ErrStoreCorrupt and show nothing of b, which holds
// secrets.
func decodeToken(b []byte) (*tokenclient.Token, error) {
	defer clear(b)
	var s storedToken
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, corruptf("the token is not in a form that this program reads")
	}
	t := &tokenclient.Token{
		AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, TokenType: s.TokenType, Scope: s.Scope,
		Expiry: s.Expiry.UTC(), RefreshExpiry: s.RefreshExpiry.UTC(), Issued: s.Issued.UTC(),
	}
	for name, raw := range s.Extra {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, corruptf("the token is not in a form that this program reads")
		}
		if t.Extra == nil {
			t.Extra = make(map[string]any, len(s.Extra))
		}
		t.Extra[name] = v
	}
	return t, nil
}
