package store_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// keyOf returns a key that is named id.
func keyOf(t testing.TB, id string) store.KeyWrapper {
	t.Helper()
	k, err := store.KeyBytes(id, bytes.Repeat([]byte(id[:1]), 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rawKey returns a key that has no printable form.
func rawKey(first byte) []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = first + 7*byte(i)
	}
	return b
}

const keyLabel = "label"

// sameKey reports whether what a wraps, b unwraps.
func sameKey(tb testing.TB, a, b store.KeyWrapper) bool {
	tb.Helper()
	dataKey := bytes.Repeat([]byte{1}, 32)
	wrapped, err := a.Wrap(dataKey, keyLabel)
	if err != nil {
		tb.Fatal(err)
	}
	got, err := b.Unwrap(wrapped, keyLabel)
	return err == nil && bytes.Equal(got, dataKey)
}

func TestKeyBytes(t *testing.T) {
	key := rawKey(0x91)
	w, err := store.KeyBytes("id", key)
	if err != nil {
		t.Fatal(err)
	}
	if w.KeyID() != "id" {
		t.Errorf("id %q", w.KeyID())
	}
	clear(key) // the caller's slice is the caller's
	again, err := store.KeyBytes("id", rawKey(0x91))
	if err != nil {
		t.Fatal(err)
	}
	if !sameKey(t, w, again) || !sameKey(t, again, w) {
		t.Error("the key changed with the caller's slice")
	}
	zero, err := store.KeyBytes("id", key)
	if err != nil {
		t.Fatal(err)
	}
	if sameKey(t, w, zero) {
		t.Error("two keys are alike")
	}
}

func TestKeyBytesRefuses(t *testing.T) {
	for _, c := range []struct {
		id   string
		key  []byte
		want string
	}{
		{"", rawKey(0), "empty"},
		{strings.Repeat("x", 256), rawKey(0), "256"},
		{"id", nil, "0 bytes"},
		{"id", rawKey(0)[:31], "31 bytes"},
		{"id", append(rawKey(0), 0), "33 bytes"},
		{"id", []byte(hex.EncodeToString(rawKey(0))), "64 bytes"},
	} {
		w, err := store.KeyBytes(c.id, c.key)
		if err == nil || w != nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "KeyBytes") {
			t.Errorf("%d bytes, id of %d: wrapper %v, error %v, want %q", len(c.key), len(c.id), w, err, c.want)
		}
	}
}

func TestKeyWrapUnwrap(t *testing.T) {
	w, err := store.KeyBytes("id", rawKey(1))
	if err != nil {
		t.Fatal(err)
	}
	dataKey := rawKey(2)
	wrapped, err := w.Wrap(dataKey, keyLabel)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dataKey, rawKey(2)) {
		t.Error("Wrap changed the data key")
	}
	if again, _ := w.Wrap(dataKey, keyLabel); bytes.Equal(again, wrapped) {
		t.Error("wraps the same way twice")
	}
	before := bytes.Clone(wrapped)
	if got, err := w.Unwrap(wrapped, keyLabel); err != nil || !bytes.Equal(got, dataKey) {
		t.Errorf("Unwrap: %x, %v", got, err)
	}
	if !bytes.Equal(wrapped, before) {
		t.Error("Unwrap changed its argument")
	}
	if _, err := w.Unwrap(wrapped, "other"); !errors.Is(err, tokenclient.ErrStoreCorrupt) {
		t.Errorf("other label: %v", err)
	}
	for i := range wrapped {
		if _, err := w.Unwrap(wrapped[:i], keyLabel); err == nil {
			t.Errorf("first %d bytes unwrap", i)
		}
		b := bytes.Clone(wrapped)
		b[i] ^= 1
		// The first 8 bytes say which key it was.
		if _, err := w.Unwrap(b, keyLabel); err == nil || errors.Is(err, tokenclient.ErrStoreCorrupt) != (i >= 8) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	other, err := store.KeyBytes("id", rawKey(3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Unwrap(wrapped, keyLabel); err == nil || errors.Is(err, tokenclient.ErrStoreCorrupt) {
		t.Errorf("another key of the same id: %v", err)
	}
}

// keyForms are the texts that are the key rawKey(0xf1).
func keyForms() map[string]string {
	k := rawKey(0xf1)
	return map[string]string{
		"hexadecimal":        hex.EncodeToString(k),
		"HEXADECIMAL":        strings.ToUpper(hex.EncodeToString(k)),
		"base64":             base64.StdEncoding.EncodeToString(k),
		"base64 unpadded":    base64.RawStdEncoding.EncodeToString(k),
		"base64url":          base64.URLEncoding.EncodeToString(k),
		"base64url unpadded": base64.RawURLEncoding.EncodeToString(k),
	}
}

// badKeys are texts that are no key.
func badKeys() map[string]string {
	h, b := hex.EncodeToString(rawKey(0xf1)), base64.StdEncoding.EncodeToString(rawKey(0xf1))
	return map[string]string{
		"63 digits":              h[:63],
		"65 digits":              h + "0",
		"no digit":               h[:63] + "g",
		"spaces before":          " " + h,
		"spaces after":           h + " ",
		"two line breaks":        h + "\n\n",
		"line break inside":      h[:20] + "\n" + h[20:],
		"base64 line break":      b[:20] + "\n" + b[20:],
		"unpadded line break":    b[:20] + "\n" + b[20:43],
		"base64 with a tail":     b[:42] + "\n",
		"base64 loose bits":      b[:42] + "/=",
		"base64 of two kinds":    "-/" + b[2:],
		"base64 padded twice":    b[:43] + "==",
		"base64 of 33 bytes":     base64.StdEncoding.EncodeToString(append(rawKey(0xf1), 1)),
		"base64 of 31 bytes":     base64.StdEncoding.EncodeToString(rawKey(0xf1)[:31]),
		"quotes":                 `"` + h + `"`,
		"0x":                     "0x" + h,
		"a password":             "correct horse battery staple",
		"byte order mark":        "\ufeff" + h,
		"long":                   strings.Repeat(h, 100),
		"one byte":               "k",
		"hexadecimal of 16 byte": h[:32] + "\n",
	}
}

func TestKeyEnv(t *testing.T) {
	const name = "SILENTREFRESH_TEST_KEY"
	want, err := store.KeyBytes("id", rawKey(0xf1))
	if err != nil {
		t.Fatal(err)
	}
	var id string
	for form, text := range keyForms() {
		for _, end := range []string{"", "\n", "\r\n"} {
			t.Setenv(name, text+end)
			w, err := store.KeyEnv(name)
			if err != nil {
				t.Errorf("%s, end %q: %v", form, end, err)
				continue
			}
			if !sameKey(t, w, want) {
				t.Errorf("%s, end %q: another key", form, end)
			}
			if id == "" {
				id = w.KeyID()
			}
			if w.KeyID() != id || len(id) != 16 {
				t.Errorf("%s, end %q: id %q, was %q", form, end, w.KeyID(), id)
			}
		}
	}
	t.Setenv(name, hex.EncodeToString(rawKey(0xf2)))
	other, err := store.KeyEnv(name)
	if err != nil {
		t.Fatal(err)
	}
	if other.KeyID() == id {
		t.Error("two keys have the same id")
	}
}

func TestKeyEnvRefuses(t *testing.T) {
	const name = "SILENTREFRESH_TEST_KEY"
	if w, err := store.KeyEnv(name + "_ABSENT"); err == nil || w != nil || !strings.Contains(err.Error(), name+"_ABSENT") || !strings.Contains(err.Error(), "not set") {
		t.Errorf("absent: %v, %v", w, err)
	}
	bad := badKeys()
	bad["empty"] = ""
	for what, text := range bad {
		t.Setenv(name, text)
		w, err := store.KeyEnv(name)
		if err == nil || w != nil {
			t.Errorf("%s: taken as a key", what)
			continue
		}
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error does not name the variable: %v", what, err)
		}
		if len(text) > 1 && strings.Contains(err.Error(), text[:len(text)/2]) {
			t.Errorf("%s: error shows the value: %v", what, err)
		}
	}
}

func ExampleSeal() {
	// In a program: store.LoadOrCreateKeyFile(path), or store.KeyEnv(name).
	old, err := store.KeyBytes("2025", make([]byte, 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	current, err := store.KeyBytes("2026", bytes.Repeat([]byte{1}, 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	sealer := store.Seal(current, old) // seals with current, still reads old
	fmt.Printf("%T, current key %s\n", sealer, current.KeyID())
	// Output: *store.Sealer, current key 2026
}
