package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Golden records live in one file per format. A format's file is written once,
// by -update, and never again: it stands for the records on people's disks.
var update = flag.Bool("update", false, "write testdata/format1.json if it is absent")

const goldenFile = "testdata/format1.json"

// Where the checksum of a header is, and where the header ends.
const (
	checksumAt = 63
	headerLen  = 67
)

// What reading a golden record must give.
const (
	classOK      = "ok"
	classCorrupt = "corrupt" // tokenclient.ErrStoreCorrupt; a login replaces it
	classNewer   = "newer"   // protocol.ErrNewerFormat; only a login replaces it
	classLocked  = "locked"  // tokenclient.ErrStoreUnavailable; a key is missing
)

func class(err error) string {
	corrupt, newer, locked := errors.Is(err, tokenclient.ErrStoreCorrupt), errors.Is(err, protocol.ErrNewerFormat), errors.Is(err, tokenclient.ErrStoreUnavailable)
	switch {
	case err == nil:
		return classOK
	case locked && newer && !corrupt:
		return classNewer
	case corrupt && !newer && !locked:
		return classCorrupt
	case locked && !corrupt && !newer:
		return classLocked
	}
	return fmt.Sprintf("of no single class: %v", err)
}

// golden is one row of a golden file. Its types are the file's own, not the
// package's, so that renaming something there cannot change both sides.
type golden struct {
	Name   string      `json:"name"`
	Why    string      `json:"why"`
	Record []byte      `json:"record"`
	Key    []byte      `json:"key"`    // the name under which it is read
	Sealer string      `json:"sealer"` // one of goldenSealers
	Class  string      `json:"class"`
	Want   *goldenWant `json:"want,omitempty"`
}

type goldenWant struct {
	WriteID     string         `json:"write_id"`
	Era         string         `json:"era"`
	Number      uint64         `json:"number"`
	State       string         `json:"state"`
	Announced   int            `json:"announced"`
	Lease       string         `json:"lease"`
	LeaseMillis int64          `json:"lease_ms"`
	Token       map[string]any `json:"token,omitempty"`
}

// goldenSealers are the ways to open golden records. The keys and their ids are as
// frozen as the records.
func goldenSealers(tb testing.TB) map[string]*Sealer {
	tb.Helper()
	wrapper := func(id string, first byte) KeyWrapper {
		w, err := KeyBytes(id, testKey(first))
		if err != nil {
			tb.Fatal(err)
		}
		return w
	}
	derived, err := newAESWrapper(testKey(64))
	if err != nil {
		tb.Fatal(err)
	}
	return map[string]*Sealer{
		"a":              Seal(wrapper("golden-a", 0)),
		"b":              Seal(wrapper("golden-b", 32)),
		"b, older a":     Seal(wrapper("golden-b", 32), wrapper("golden-a", 0)),
		"wrong a":        Seal(wrapper("golden-a", 96)),
		"id of the key":  Seal(derived),
		"plaintext":      Plaintext(),
		"a, named alike": Seal(wrapper("golden-A", 0)),
	}
}

// testKey returns 32 bytes that count up from first.
func testKey(first byte) []byte {
	b := make([]byte, keyLen)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func readGoldens(tb testing.TB) []golden {
	tb.Helper()
	b, err := os.ReadFile(goldenFile)
	if err != nil {
		tb.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	d.DisallowUnknownFields()
	var rows []golden
	if err := d.Decode(&rows); err != nil {
		tb.Fatal(err)
	}
	if len(rows) == 0 {
		tb.Fatal(goldenFile + " is empty")
	}
	return rows
}

func TestGolden(t *testing.T) {
	if *update {
		writeGoldens(t)
	}
	sealers := goldenSealers(t)
	classes := map[string]int{}
	for _, g := range readGoldens(t) {
		classes[g.Class]++
		t.Run(g.Name, func(t *testing.T) {
			s := sealers[g.Sealer]
			if s == nil {
				t.Fatalf("no sealer %q", g.Sealer)
			}
			r, token, err := readRecord(t, s, string(g.Key), g.Record)
			if got := class(err); got != g.Class {
				t.Fatalf("%s\nclass %s, want %s; error: %v", g.Why, got, g.Class, err)
			}
			if err != nil {
				if g.Want != nil {
					t.Fatal("row wants an error and a record")
				}
				if len(strings.TrimSuffix(err.Error(), tokenclient.ErrStoreCorrupt.Error())) < 10 {
					t.Errorf("error says nothing: %v", err)
				}
				return
			}
			if g.Want == nil {
				t.Fatal("row wants no error and no record")
			}
			if got := wantOf(r, token); !reflect.DeepEqual(got, *g.Want) {
				t.Errorf("%s\n got %#v\nwant %#v", g.Why, got, *g.Want)
			}
			if got := r.Encode(); !bytes.Equal(got, g.Record) {
				t.Errorf("encodes to other bytes:\n got %x\nwant %x", got, g.Record)
			}
		})
	}
	for _, c := range []string{classOK, classCorrupt, classNewer, classLocked} {
		if classes[c] == 0 {
			t.Errorf("%s has no record of class %q", goldenFile, c)
		}
	}
}

// readRecord decodes and, if there is a token, opens.
func readRecord(tb testing.TB, s *Sealer, key string, b []byte) (*protocol.Record, *tokenclient.Token, error) {
	tb.Helper()
	r, err := protocol.DecodeRecord(b)
	if err != nil {
		if r != nil {
			tb.Error("DecodeRecord returned a record and an error")
		}
		return nil, nil, err
	}
	if r.State != tokenclient.Active {
		return r, nil, nil
	}
	token, err := s.open(tb.Context(), key, r)
	if err != nil && token != nil {
		tb.Error("open returned a token and an error")
	}
	return r, token, err
}

func wantOf(r *protocol.Record, t *tokenclient.Token) goldenWant {
	w := goldenWant{
		WriteID: hex.EncodeToString(r.WriteID[:]), Era: hex.EncodeToString(r.Era[:]), Number: r.Number,
		State: r.State.String(), Announced: int(r.Announced),
		Lease: hex.EncodeToString(r.Lease[:]), LeaseMillis: r.LeaseLen.Milliseconds(),
	}
	if t == nil {
		return w
	}
	w.Token = map[string]any{"AccessToken": t.AccessToken}
	for name, v := range map[string]string{"RefreshToken": t.RefreshToken, "TokenType": t.TokenType, "Scope": t.Scope} {
		if v != "" {
			w.Token[name] = v
		}
	}
	for name, v := range map[string]time.Time{"Expiry": t.Expiry, "RefreshExpiry": t.RefreshExpiry, "Issued": t.Issued} {
		if !v.IsZero() {
			w.Token[name] = v.Format(time.RFC3339Nano)
		}
	}
	if t.Extra != nil {
		w.Token["Extra"] = t.Extra
	}
	return w
}

// Golden records cut short anywhere are corrupt, whichever key is at hand.
func TestGoldenTruncated(t *testing.T) {
	sealers := goldenSealers(t)
	n := 0
	for _, g := range readGoldens(t) {
		if g.Class != classOK {
			continue
		}
		for i := range g.Record {
			r, _, err := readRecord(t, sealers[g.Sealer], string(g.Key), g.Record[:i])
			if i == headerLen && r != nil && r.State != tokenclient.Active {
				continue // a whole tombstone
			}
			if got := class(err); got != classCorrupt {
				t.Errorf("%s, first %d of %d bytes: class %s, error %v", g.Name, i, len(g.Record), got, err)
			}
			n++
		}
	}
	if n < 1000 {
		t.Errorf("only %d prefixes tried", n)
	}
}

// A single changed bit of a golden payload never opens, and is "locked" only where
// the bit is part of what names the key.
func TestGoldenFlipped(t *testing.T) {
	sealers := goldenSealers(t)
	n := 0
	for _, g := range readGoldens(t) {
		if g.Class != classOK || g.Want.Token == nil {
			continue
		}
		for i := headerLen; i < len(g.Record); i++ {
			for bit := range 8 {
				b := bytes.Clone(g.Record)
				b[i] ^= 1 << bit
				_, _, err := readRecord(t, sealers[g.Sealer], string(g.Key), b)
				if got := class(err); got != classCorrupt && got != classLocked {
					t.Fatalf("%s, bit %d of byte %d flipped: class %s, error %v", g.Name, bit, i, got, err)
				}
				n++
			}
		}
	}
	if n < 1000 {
		t.Errorf("only %d bits tried", n)
	}
}

// writeGoldens makes the golden file of the current format. The classes are what
// the documentation promises, not what the code did.
func writeGoldens(t *testing.T) {
	if _, err := os.Stat(goldenFile); err == nil {
		t.Fatalf("%s exists. Records of a format that was released are never made again; for a new format, write a new file.", goldenFile)
	}
	sealers := goldenSealers(t)
	id := func(first byte) [16]byte { return [16]byte(testKey(first)) }
	full := &tokenclient.Token{
		AccessToken: "golden-access-token", RefreshToken: "golden-refresh-token", TokenType: "Bearer", Scope: "read write",
		Expiry:        time.Date(2031, 2, 3, 4, 5, 6, 123456789, time.UTC),
		RefreshExpiry: time.Date(2032, 1, 1, 0, 0, 0, 0, time.UTC),
		Issued:        time.Date(2031, 2, 3, 3, 5, 6, 1, time.UTC),
		Extra: map[string]any{
			"id_token": "golden-id-token", "account": json.Number("12345678901234567890"), "factor": json.Number("1.50"),
			"nested": map[string]any{"list": []any{"<&>\u2028\ufffd", true, nil}},
		},
	}
	var rows []golden
	add := func(name, why, sealer, key string, record []byte, class string, token *tokenclient.Token) {
		g := golden{Name: name, Why: why, Record: bytes.Clone(record), Key: []byte(key), Sealer: sealer, Class: class}
		if class == classOK {
			r, err := protocol.DecodeRecord(record)
			if err != nil {
				t.Fatal(err)
			}
			w := wantOf(r, token)
			g.Want = &w
		}
		rows = append(rows, g)
	}
	encode := func(sealer, key string, r *protocol.Record, token *tokenclient.Token) []byte {
		if token != nil {
			d, err := sealers[sealer].newDataKey(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Seal(r, token); err != nil {
				t.Fatal(err)
			}
		}
		return r.Encode()
	}
	// change returns b changed at offset i, with the checksum made right again.
	change := func(b []byte, i int, to ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[i:], to)
		return fixChecksum(b)
	}

	const user = "user@example.com"
	header := func() *protocol.Record {
		return &protocol.Record{WriteID: id(1), Era: id(33), Number: 7, State: tokenclient.Active}
	}
	held := header()
	held.Announced, held.Lease, held.LeaseLen = 2, id(65), 30*time.Second
	sealed := encode("a", user, held, full)
	plain := encode("plaintext", user, header(), full)
	short := &tokenclient.Token{AccessToken: "golden-short"}
	refused := &protocol.Record{WriteID: id(2), Era: id(34), Number: math.MaxUint64, State: tokenclient.Refused, Announced: 255, Lease: id(66), LeaseLen: math.MaxUint32 * time.Millisecond}
	loggedOut := &protocol.Record{WriteID: id(3), Era: id(3), State: tokenclient.LoggedOut}

	add("sealed", "all fields, held and announced", "a", user, sealed, classOK, full)
	add("sealed, older key", "the key is not the current one any more", "b, older a", user, sealed, classOK, full)
	first := header()
	first.Number = 1
	add("sealed, short", "the shortest token", "a", "", encode("a", "", first, short), classOK, short)
	other := header()
	other.Number = 8
	add("sealed, key names itself", "id as KeyEnv and KeyFile make it", "id of the key", "k", encode("id of the key", "k", other, short), classOK, short)
	odd := header()
	odd.Number = 9
	add("sealed, odd name", "a key name is any bytes", "a", "\x00\xff\n\"/../", encode("a", "\x00\xff\n\"/../", odd, short), classOK, short)
	add("plaintext", "all fields", "plaintext", user, plain, classOK, full)
	add("refused", "tombstone; all numbers at their highest", "a", user, refused.Encode(), classOK, nil)
	add("logged out", "tombstone without a number", "a", user, loggedOut.Encode(), classOK, nil)
	add("logged out, no key", "a tombstone is read without a key", "plaintext", user, loggedOut.Encode(), classOK, nil)

	for _, f := range []struct {
		name  string
		at    int
		bound string // class if the checksum is right; "" if the field is checked before the seal
	}{
		{"write id", 1, classOK}, {"era", 17, classCorrupt}, {"number", 40, classCorrupt}, {"state", 41, classCorrupt},
		{"announced", 42, classOK}, {"lease id", 43, classOK}, {"lease length", 62, classOK}, {"checksum", 63, ""},
	} {
		b := bytes.Clone(sealed)
		b[f.at] ^= 2
		add(f.name+" damaged", "found by the checksum", "a", user, b, classCorrupt, nil)
		switch f.bound {
		case classOK:
			add(f.name+" changed", "a claim changes it without the key", "a", user, fixChecksum(b), classOK, full)
		case classCorrupt:
			add(f.name+" forged", "bound into the seal, or checked", "a", user, fixChecksum(b), classCorrupt, nil)
		}
	}
	add("empty", "a file that was cut to nothing", "a", user, nil, classCorrupt, nil)
	add("format 0", "was never written", "a", user, change(sealed, 0, 0), classCorrupt, nil)
	add("format 2", "of a later version", "a", user, change(sealed, 0, 2), classNewer, nil)
	add("format 2, other layout", "only the first byte is agreed upon", "a", user, []byte{2}, classNewer, nil)
	add("format 8", "as late as can be", "a", user, []byte{8, 1, 2, 3}, classNewer, nil)
	add("text", "a file that is not ours", "a", user, []byte("nonsense"), classCorrupt, nil)
	add("state 0", "absent is never written", "a", user, change(sealed, 41, 0), classCorrupt, nil)
	add("state 4", "there is none", "a", user, change(sealed, 41, 4), classCorrupt, nil)
	add("active with number 0", "numbers begin at 1", "a", user, change(sealed, 33, 0, 0, 0, 0, 0, 0, 0, 0), classCorrupt, nil)
	add("active without token", "cut after the header", "a", user, sealed[:headerLen], classCorrupt, nil)
	add("tombstone with token", "a logout must not keep it", "a", user, change(sealed, 41, byte(tokenclient.LoggedOut)), classCorrupt, nil)
	add("refused revived", "active without token", "a", user, change(refused.Encode(), 41, byte(tokenclient.Active)), classCorrupt, nil)

	flip := func(what, sealer string, b []byte, at int, class string) {
		b = bytes.Clone(b)
		b[headerLen+at] ^= 1
		add("payload: "+what, "one bit flipped", sealer, user, b, class, nil)
	}
	const afterID = 2 + len("golden-a") + 2
	flip("kind", "a", sealed, 0, classCorrupt) // 1 becomes 0
	flip("length of the key id", "a", sealed, 1, classCorrupt)
	flip("key id", "a", sealed, 2, classLocked)
	flip("length of the wrapped key", "a", sealed, afterID-2, classCorrupt)
	flip("check of the wrapping key", "a", sealed, afterID, classLocked)
	flip("nonce of the wrapped key", "a", sealed, afterID+8, classCorrupt)
	flip("wrapped key", "a", sealed, afterID+8+12, classCorrupt)
	flip("nonce", "a", sealed, afterID+8+12+32+16, classCorrupt)
	flip("ciphertext", "a", sealed, afterID+8+12+32+16+12, classCorrupt)
	flip("tag", "a", sealed, len(sealed)-headerLen-1, classCorrupt)
	flip("plaintext checksum", "plaintext", plain, 1, classCorrupt)
	flip("plaintext token", "plaintext", plain, 1+32+20, classCorrupt)
	add("payload: one byte more", "part of the tag then", "a", user, append(bytes.Clone(sealed), 0), classCorrupt, nil)
	add("payload: unknown kind", "a new kind has a new format", "a", user, append(bytes.Clone(sealed[:headerLen]), 99), classCorrupt, nil)

	add("sealed, moved", "under another key name", "a", "other@example.com", sealed, classCorrupt, nil)
	add("plaintext, moved", "under another key name", "plaintext", "other@example.com", plain, classCorrupt, nil)
	add("sealed, other key", "not at hand", "b", user, sealed, classLocked, nil)
	add("sealed, id in capitals", "ids are compared exactly", "a, named alike", user, sealed, classLocked, nil)
	add("sealed, other key of the same id", "a mistake in the configuration, no damage", "wrong a", user, sealed, classLocked, nil)
	add("sealed, no key", "opened with Plaintext", "plaintext", user, sealed, classLocked, nil)
	add("plaintext, with a key", "anybody could have written it", "a", user, plain, classCorrupt, nil)

	b, err := json.MarshalIndent(rows, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(goldenFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fixChecksum returns a copy of b whose header has the right checksum.
func fixChecksum(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) >= headerLen {
		binary.BigEndian.PutUint32(b[checksumAt:], crc32.Checksum(b[:checksumAt], crc32.MakeTable(crc32.Castagnoli)))
	}
	return b
}
