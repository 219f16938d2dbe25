package store_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/argon2"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// wrapped returns a data key that w encrypted.
func wrapped(tb testing.TB, w store.KeyWrapper) []byte {
	tb.Helper()
	b, err := w.Wrap(rawKey(1), keyLabel)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// The costs are what the documentation says, and the phrase is the caller's.
func TestPassphrase(t *testing.T) {
	phrase := []byte("correct horse")
	w := store.Passphrase(phrase)
	clear(phrase)
	b := wrapped(t, w)
	if want := []byte{1, 0, 0, 0, 3, 0, 1, 0, 0, 4}; !bytes.HasPrefix(b, want) { // 3 passes, 65,536 KiB, 4 lanes
		t.Errorf("begins with %x, want %x", b[:len(want)], want)
	}
	// The next process knows the phrase and the record.
	got, err := store.Passphrase([]byte("correct horse")).Unwrap(b, keyLabel)
	if err != nil || !bytes.Equal(got, rawKey(1)) {
		t.Errorf("another process: %x, %v", got, err)
	}
	// Argon2id is what it says it is: its key is one as KeyBytes takes it.
	key, err := store.KeyBytes("passphrase", argon2.IDKey([]byte("correct horse"), b[10:26], 3, 64<<10, 4, 32))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := key.Unwrap(b[26:], keyLabel); err != nil || !bytes.Equal(got, rawKey(1)) {
		t.Errorf("by hand: %x, %v", got, err)
	}
}

// goldenWrapped is rawKey(1) as an earlier program wrapped it, with the phrase
// "golden" and the costs of CheapPassphrase. Programs must open it for ever.
const goldenWrapped = "0100000001000000080150c2553e846c93175a8e43a85419665b63881b6027ca4413ac5295edbe2262d98d01fc25d032b1d0e54e2226a98c2aac8002eabd3547b083f195721f167a85d776131c89ee55dc1ac5e95f6336b0431dc030c9f5"

func TestPassphraseGolden(t *testing.T) {
	b, err := hex.DecodeString(goldenWrapped)
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.CheapPassphrase("golden", nil).Unwrap(b, keyLabel)
	if err != nil || !bytes.Equal(got, rawKey(1)) {
		t.Errorf("%x, %v", got, err)
	}
}

func TestPassphraseRefusesOthers(t *testing.T) {
	w := store.CheapPassphrase("right", nil)
	b := wrapped(t, w)
	_, err := store.CheapPassphrase("wrong", nil).Unwrap(b, keyLabel)
	if err == nil || errors.Is(err, tokenclient.ErrStoreCorrupt) || !strings.Contains(err.Error(), "another passphrase") {
		t.Errorf("wrong phrase: %v", err)
	}
	if _, err := w.Unwrap(b, "other"); !errors.Is(err, tokenclient.ErrStoreCorrupt) {
		t.Errorf("other label: %v", err)
	}
	for i := range b {
		if _, err := w.Unwrap(b[:i], keyLabel); !errors.Is(err, tokenclient.ErrStoreCorrupt) {
			t.Errorf("first %d bytes: %v", i, err)
		}
	}
	for i := 10; i < len(b); i++ { // the costs come below
		c := bytes.Clone(b)
		c[i] ^= 1
		// Salt and check value may mean another phrase; what follows is damage.
		if _, err := w.Unwrap(c, keyLabel); err == nil || errors.Is(err, tokenclient.ErrStoreCorrupt) != (i >= 34) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

// A record says what it costs to open, and anybody may have written it.
func TestPassphraseCaps(t *testing.T) {
	derived := 0
	w := store.CheapPassphrase("phrase", func() { derived++ })
	b := wrapped(t, w)
	for _, c := range []struct {
		version        byte
		passes, memory uint32
		lanes          byte
		corrupt        bool
		want           string
	}{
		{1, 17, 8, 1, false, "17 passes"},
		{1, 1, 256<<10 + 1, 1, false, "262145 KiB"},
		{1, 1, 8, 17, false, "17 lanes"},
		{1, 1<<32 - 1, 1<<32 - 1, 255, false, "at most 16, 262144 and 16"},
		{1, 0, 8, 1, true, "0 passes"},
		{1, 1, 0, 1, true, "0 KiB"},
		{1, 1, 8, 0, true, "0 lanes"},
		{2, 1, 8, 1, false, "version 2"},
		{0, 1, 8, 1, false, "version 0"},
	} {
		derived = 0
		forged := append([]byte{c.version}, binary.BigEndian.AppendUint32(nil, c.passes)...)
		forged = append(binary.BigEndian.AppendUint32(forged, c.memory), c.lanes)
		forged = append(forged, b[len(forged):]...)
		_, err := w.Unwrap(forged, keyLabel)
		if err == nil || errors.Is(err, tokenclient.ErrStoreCorrupt) != c.corrupt || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
		if derived != 0 {
			t.Errorf("%+v: a key was made", c)
		}
	}
	// Costs below the cap are obeyed, and never taken over.
	cheap := w
	w = store.Passphrase([]byte("phrase"))
	if _, err := w.Unwrap(wrapped(t, cheap), keyLabel); err != nil {
		t.Error(err)
	}
	if got := wrapped(t, w); got[4] != 3 {
		t.Errorf("wraps with %d passes after it read a record with 1", got[4])
	}
}

func TestPassphraseDerivesOnce(t *testing.T) {
	var derived atomic.Int32
	count := func() { derived.Add(1) }
	first := wrapped(t, store.CheapPassphrase("phrase", nil))
	w := store.CheapPassphrase("phrase", count)
	for range 10 { // what was read is what is written with
		if _, err := w.Unwrap(first, keyLabel); err != nil {
			t.Fatal(err)
		}
		if b := wrapped(t, w); !bytes.Equal(b[:26], first[:26]) {
			t.Errorf("writes with the recipe %x, found %x", b[:26], first[:26])
		}
	}
	if n := derived.Load(); n != 1 {
		t.Errorf("%d derivations, want 1", n)
	}
	other := wrapped(t, store.CheapPassphrase("wrong", nil))
	for range 10 {
		if _, err := w.Unwrap(other, keyLabel); err == nil {
			t.Error("opened")
		}
	}
	if n := derived.Load(); n != 2 {
		t.Errorf("%d derivations with a foreign record, want 2", n)
	}
	// However many salts somebody makes up, ours stays.
	for i := range 200 {
		forged := bytes.Clone(first)
		forged[10], forged[11] = byte(i), ^byte(i)
		_, _ = w.Unwrap(forged, keyLabel)
	}
	before := derived.Load()
	if _, err := w.Unwrap(first, keyLabel); err != nil || derived.Load() != before {
		t.Errorf("after 200 forged salts: %v, %d more derivations", err, derived.Load()-before)
	}
}

func TestPassphraseConcurrent(t *testing.T) {
	entered, hold := make(chan struct{}, 50), make(chan struct{})
	w := store.CheapPassphrase("phrase", func() {
		entered <- struct{}{}
		<-hold
	})
	record := wrapped(t, store.CheapPassphrase("phrase", nil))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, err := w.Unwrap(record, keyLabel); err != nil || !bytes.Equal(got, rawKey(1)) {
				t.Errorf("%x, %v", got, err)
			}
		})
	}
	<-entered
	close(hold)
	wg.Wait()
	if n := len(entered); n != 0 {
		t.Errorf("%d derivations too many", n)
	}
}

func TestPassphraseEmpty(t *testing.T) {
	for _, phrase := range [][]byte{nil, {}} {
		w := store.Passphrase(phrase)
		for name, s := range map[string]*store.Sealer{
			"1 of 1": store.Seal(w), "2 of 2": store.Seal(store.Passphrase([]byte("x")), w),
		} {
			_, err := store.NewFile(t.TempDir()+"/tokens", s)
			if err == nil || !strings.Contains(err.Error(), "passphrase is empty") || !strings.Contains(err.Error(), name) {
				t.Errorf("wrapper %s: %v", name, err)
			}
		}
		if _, err := w.Wrap(rawKey(1), keyLabel); err == nil {
			t.Error("an empty phrase wraps")
		}
	}
}

func TestPassphrasePrintsNoSecret(t *testing.T) {
	const phrase = "planted-passphrase"
	w := store.CheapPassphrase(phrase, nil)
	b := wrapped(t, w)
	_, err := store.CheapPassphrase("other", nil).Unwrap(b, keyLabel)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		text := fmt.Sprintf(verb+verb+verb, w, store.Seal(w), err)
		for _, secret := range []string{phrase, hex.EncodeToString([]byte(phrase)), base64.StdEncoding.EncodeToString([]byte(phrase)), "112 108 97"} {
			if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
				t.Errorf("%s shows %q", verb, secret)
			}
		}
	}
	if bytes.Contains(b, []byte(phrase)) || w.KeyID() != "passphrase" {
		t.Errorf("the record or the id %q tells of the phrase", w.KeyID())
	}
}

func BenchmarkPassphrase(b *testing.B) {
	for b.Loop() {
		wrapped(b, store.Passphrase([]byte("correct horse")))
	}
}
