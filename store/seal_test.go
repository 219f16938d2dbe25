package store

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// fakeWrapper wraps by XOR, and remembers. Its functions, where set, go first.
type fakeWrapper struct {
	id           string
	wrap, unwrap func([]byte, string) ([]byte, error)

	mu       sync.Mutex // guards the rest
	dataKeys [][]byte   // as Wrap got them, not copied
	labels   []string   // one for each call
}

func (w *fakeWrapper) KeyID() string { return w.id }

func (w *fakeWrapper) Wrap(dataKey []byte, label string) ([]byte, error) {
	w.mu.Lock()
	w.dataKeys = append(w.dataKeys, dataKey)
	w.labels = append(w.labels, label)
	w.mu.Unlock()
	if w.wrap != nil {
		return w.wrap(dataKey, label)
	}
	return xor(dataKey), nil
}

func (w *fakeWrapper) Unwrap(wrapped []byte, label string) ([]byte, error) {
	w.mu.Lock()
	w.labels = append(w.labels, label)
	w.mu.Unlock()
	if w.unwrap != nil {
		return w.unwrap(wrapped, label)
	}
	return xor(wrapped), nil
}

func (w *fakeWrapper) calls() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.labels)
}

func xor(b []byte) []byte {
	b = bytes.Clone(b)
	for i := range b {
		b[i] ^= 0x5a
	}
	return b
}

func keyBytes(tb testing.TB, id string, first byte) KeyWrapper {
	tb.Helper()
	w, err := KeyBytes(id, testKey(first))
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

func activeRecord() *protocol.Record {
	return &protocol.Record{WriteID: [16]byte{1}, Era: [16]byte{2}, Number: 3, State: tokenclient.Active}
}

// sealRecord returns an active record with token, sealed under the name key.
func sealRecord(tb testing.TB, s *Sealer, key string, token *tokenclient.Token) *protocol.Record {
	tb.Helper()
	d, err := s.newDataKey(tb.Context(), key)
	if err != nil {
		tb.Fatal(err)
	}
	r := activeRecord()
	if err := d.Seal(r, token); err != nil {
		tb.Fatal(err)
	}
	return r
}

func someToken() *tokenclient.Token {
	return &tokenclient.Token{AccessToken: "planted-access-token", RefreshToken: "planted-refresh-token"}
}

func TestSealRoundTrip(t *testing.T) {
	zone := time.FixedZone("somewhere", 5*3600)
	now := time.Now() // has a monotonic reading
	long := strings.Repeat("0123456789abcdef", 64<<10/16)
	tokens := []struct {
		name     string
		in, want *tokenclient.Token // want nil: as in
	}{
		{"empty", &tokenclient.Token{}, nil},
		{"access token", &tokenclient.Token{AccessToken: "a"}, nil},
		{"binding", &tokenclient.Token{AccessToken: "a", RefreshToken: "r", Binding: "key:" + long}, nil},
		{"64 KiB", &tokenclient.Token{AccessToken: long, RefreshToken: long, Extra: map[string]any{"id_token": long}}, nil},
		{"odd characters", &tokenclient.Token{
			AccessToken: "<script>&'\"\\ \x00\x1f\x7f", RefreshToken: `\ufffd \\ufffd \`, Scope: "\ufffd\u2028\u2029é😀", TokenType: "\r\n\t",
			Extra: map[string]any{"\ufffd": `\ufffd`, "": "\ufffd", `\ufffd\`: []any{`\`, `\ufffd`}},
		}, nil},
		{
			"times",
			&tokenclient.Token{
				Expiry:        now,
				RefreshExpiry: time.Date(2030, 1, 2, 3, 4, 5, 999999999, zone),
				Issued:        time.Date(0, 1, 1, 0, 0, 0, 1, time.UTC),
			},
			&tokenclient.Token{
				Expiry:        now.UTC().Round(0),
				RefreshExpiry: time.Date(2030, 1, 1, 22, 4, 5, 999999999, time.UTC),
				Issued:        time.Date(0, 1, 1, 0, 0, 0, 1, time.UTC),
			},
		},
		{
			"numbers",
			&tokenclient.Token{Extra: map[string]any{
				"big": json.Number("123456789012345678901234567890"), "exact": json.Number("1.10"), "int": 7, "float": 0.5,
				"deep": map[string]any{"list": []any{json.Number("1e400"), nil, false, map[string]any{}, []any{}}},
			}},
			&tokenclient.Token{Extra: map[string]any{
				"big": json.Number("123456789012345678901234567890"), "exact": json.Number("1.10"), "int": json.Number("7"), "float": json.Number("0.5"),
				"deep": map[string]any{"list": []any{json.Number("1e400"), nil, false, map[string]any{}, []any{}}},
			}},
		},
		{"no extra", &tokenclient.Token{Extra: map[string]any{}}, &tokenclient.Token{}},
	}
	sealers := map[string]*Sealer{"sealed": Seal(keyBytes(t, "k", 0)), "plaintext": Plaintext()}
	for _, c := range tokens {
		for name, s := range sealers {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				want := c.want
				if want == nil {
					want = c.in.Clone()
				}
				r := sealRecord(t, s, "key", c.in)
				r, err := protocol.DecodeRecord(r.Encode())
				if err != nil {
					t.Fatal(err)
				}
				if c.name == "times" && name == "plaintext" && !bytes.Contains(r.Sealed, []byte(`"refresh_expiry":"2030-01-01T22:04:05.999999999Z"`)) {
					t.Errorf("stored as %s", r.Sealed)
				}
				before := bytes.Clone(r.Sealed)
				for range 2 { // opening changes nothing
					got, err := s.open(t.Context(), "key", r)
					if err != nil {
						t.Fatal(err)
					}
					if !reflect.DeepEqual(tokenFields(got), tokenFields(want)) {
						t.Errorf("got %+v\nwant %+v", tokenFields(got), tokenFields(want))
					}
					if strings.Contains(got.Expiry.String(), "m=") {
						t.Error("time with a monotonic reading")
					}
				}
				if !bytes.Equal(r.Sealed, before) {
					t.Error("open changed the record")
				}
			})
		}
	}
}

// tokenFields makes a failed test readable: a Token prints nothing.
func tokenFields(t *tokenclient.Token) any {
	type fields tokenclient.Token
	return fields(*t)
}

type (
	badMarshaler struct{ secret string }
	badText      string
)

func (m badMarshaler) MarshalJSON() ([]byte, error) {
	if m.secret == "panic" {
		panic("planted-secret")
	}
	return nil, errors.New("planted-secret")
}

func (t badText) MarshalText() ([]byte, error) { return []byte(t), nil }

func TestSealRefusesWhatWouldChange(t *testing.T) {
	const bad = "planted-secret\xff"
	deep := any("planted-secret")
	for range 10_000 {
		deep = []any{deep}
	}
	tokens := map[string]*tokenclient.Token{
		"nil":             nil,
		"AccessToken":     {AccessToken: bad},
		"RefreshToken":    {RefreshToken: bad},
		"TokenType":       {TokenType: bad},
		"Scope":           {Scope: bad},
		"Binding":         {Binding: bad},
		"Expiry":          {Expiry: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"RefreshExpiry":   {RefreshExpiry: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)},
		"Issued":          {Issued: time.Unix(math.MaxInt64/2, 0)},
		"nested too deep": {Extra: map[string]any{"x": deep}},
	}
	for i, v := range []any{
		bad, map[string]any{"a": bad}, map[string]any{bad: 1}, []any{[]any{bad}}, []string{bad}, struct{ A string }{bad},
		&struct{ A string }{bad}, json.RawMessage(`"` + bad + `"`), badText(bad), make(chan int), func() {}, math.NaN(), math.Inf(1),
		json.Number("planted-secret"), badMarshaler{}, badMarshaler{"panic"},
	} {
		tokens[fmt.Sprintf("Extra %d %T", i, v)] = &tokenclient.Token{AccessToken: "planted-secret", Extra: map[string]any{"member": v}}
	}
	tokens["Extra name"] = &tokenclient.Token{Extra: map[string]any{"name\xff": 1}}
	for name, token := range tokens {
		t.Run(name, func(t *testing.T) {
			d, err := Seal(keyBytes(t, "k", 0)).newDataKey(t.Context(), "key")
			if err != nil {
				t.Fatal(err)
			}
			r := activeRecord()
			err = d.Seal(r, token)
			if err == nil {
				t.Fatal("no error")
			}
			if r.Sealed != nil {
				t.Error("sealed something")
			}
			if strings.Contains(err.Error(), "planted-secret") {
				t.Errorf("error shows a value: %v", err)
			}
			if field, _, _ := strings.Cut(name, " "); token != nil && !strings.Contains(err.Error(), field) && name != "nested too deep" {
				t.Errorf("error does not name the member: %v", err)
			}
		})
	}
}

func TestSealRefusesOtherStates(t *testing.T) {
	d, err := Plaintext().newDataKey(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []*protocol.Record{
		{Number: 1, State: tokenclient.LoggedOut}, {Number: 1, State: tokenclient.Refused}, {Number: 1}, {State: tokenclient.Active},
	} {
		if err := d.Seal(r, someToken()); err == nil || r.Sealed != nil {
			t.Errorf("sealed into %v number %d, error %v", r.State, r.Number, err)
		}
	}
}

func TestSealDataKeys(t *testing.T) {
	w := &fakeWrapper{id: "fake"}
	s := Seal(w)
	var keys [][]byte
	w.wrap = func(dataKey []byte, _ string) ([]byte, error) {
		keys = append(keys, bytes.Clone(dataKey))
		return xor(dataKey), nil
	}
	a, b := sealRecord(t, s, "key", someToken()), sealRecord(t, s, "key", someToken())
	if len(keys) != 2 || bytes.Equal(keys[0], keys[1]) || len(keys[0]) != 32 {
		t.Errorf("two saves have data keys %x", keys)
	}
	if bytes.Equal(a.Sealed, b.Sealed) {
		t.Error("two saves are alike")
	}
	for _, kept := range w.dataKeys {
		if !bytes.Equal(kept, make([]byte, 32)) {
			t.Error("data key not wiped")
		}
	}
	if w.labels[0] != w.labels[1] || len(w.labels[0]) > 100 || strings.Trim(w.labels[0], "abcdefghijklmnopqrstuvwxyz0123456789/") != "" {
		t.Errorf("labels %q", w.labels)
	}
	sealRecord(t, s, "other\x00key", someToken())
	if w.labels[2] == w.labels[0] {
		t.Error("two key names have the same label")
	}
}

// A save that is tried again seals the same token with the same data key, for a
// record that differs in what is not bound in.
func TestSealTwiceWithOneDataKey(t *testing.T) {
	s := Seal(keyBytes(t, "k", 0))
	d, err := s.newDataKey(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	a, b := activeRecord(), activeRecord()
	b.WriteID = [16]byte{9}
	if err := errors.Join(d.Seal(a, someToken()), d.Seal(b, someToken())); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a.Sealed, b.Sealed) {
		t.Error("nonce used twice")
	}
	for _, r := range []*protocol.Record{a, b} {
		if _, err := s.open(t.Context(), "key", r); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenBinds(t *testing.T) {
	for name, s := range map[string]*Sealer{"sealed": Seal(keyBytes(t, "k", 0)), "label not bound": Seal(&fakeWrapper{id: "fake"}), "plaintext": Plaintext()} {
		r := sealRecord(t, s, "key", someToken())
		for what, change := range map[string]func(r *protocol.Record, key *string){
			"name":        func(_ *protocol.Record, key *string) { *key = "other" },
			"empty name":  func(_ *protocol.Record, key *string) { *key = "" },
			"longer name": func(_ *protocol.Record, key *string) { *key += "\x00" },
			"era":         func(r *protocol.Record, _ *string) { r.Era[15] ^= 1 },
			"number":      func(r *protocol.Record, _ *string) { r.Number-- },
			"payload":     func(r *protocol.Record, _ *string) { r.Sealed[len(r.Sealed)-1] ^= 1 },
		} {
			c, key := *r, "key"
			c.Sealed = bytes.Clone(r.Sealed)
			change(&c, &key)
			token, err := s.open(t.Context(), key, &c)
			if got := class(err); got != classCorrupt || token != nil {
				t.Errorf("%s, %s changed: class %s, error %v", name, what, got, err)
			}
			if err != nil && !strings.Contains(err.Error(), "moved here from another key name") {
				t.Errorf("%s, %s changed: error does not say what may be the matter: %v", name, what, err)
			}
		}
		c := *r
		c.WriteID, c.Announced, c.Lease, c.LeaseLen = [16]byte{7}, 9, [16]byte{8}, time.Minute
		if _, err := s.open(t.Context(), "key", &c); err != nil {
			t.Errorf("%s: a claim needs the key: %v", name, err)
		}
		for _, state := range []tokenclient.State{tokenclient.Absent, tokenclient.LoggedOut, tokenclient.Refused, 77} {
			c := *r
			c.State = state
			if token, err := s.open(t.Context(), "key", &c); class(err) != classCorrupt || token != nil {
				t.Errorf("%s: opened in state %v, error %v", name, state, err)
			}
		}
		c = *r
		c.Sealed = nil
		if _, err := s.open(t.Context(), "key", &c); class(err) != classCorrupt {
			t.Errorf("%s: no payload: %v", name, err)
		}
	}
}

func TestOpenAfterRotation(t *testing.T) {
	a, b := keyBytes(t, "key-a", 0), keyBytes(t, "key-b", 32)
	old := sealRecord(t, Seal(a), "key", someToken())
	rotated := Seal(b, a)
	if _, err := rotated.open(t.Context(), "key", old); err != nil {
		t.Error(err)
	}
	fresh := sealRecord(t, rotated, "key", someToken())
	if _, err := Seal(b).open(t.Context(), "key", fresh); err != nil {
		t.Error("not sealed with the current key:", err)
	}
	_, err := Seal(b).open(t.Context(), "key", old)
	if class(err) != classLocked || !strings.Contains(err.Error(), `"key-a"`) || !strings.Contains(err.Error(), `"key-b"`) {
		t.Errorf("retired key: %v", err)
	}
	_, err = Plaintext().open(t.Context(), "key", old)
	if class(err) != classLocked || !strings.Contains(err.Error(), `"key-a"`) || !strings.Contains(err.Error(), "Plaintext") {
		t.Errorf("no key: %v", err)
	}
}

// What a wrapper does wrong is an error that names the key, and never one that
// means "logged out" or "corrupt" unless the wrapper may say so.
func TestSealWrapperFails(t *testing.T) {
	cause := errors.New("key service away")
	fail := func(err error) func([]byte, string) ([]byte, error) {
		return func([]byte, string) ([]byte, error) { return nil, err }
	}
	size := func(n int) func([]byte, string) ([]byte, error) {
		return func([]byte, string) ([]byte, error) { return make([]byte, n), nil }
	}
	for _, c := range []struct {
		name        string
		fn          func([]byte, string) ([]byte, error)
		wrap, unwr  string // classes
		is          error
		contains    string
		containsNot string
	}{
		{name: "error", fn: fail(cause), wrap: classLocked, unwr: classLocked, is: cause},
		{name: "corrupt", fn: fail(fmt.Errorf("gone: %w", tokenclient.ErrStoreCorrupt)), wrap: classLocked, unwr: classCorrupt, contains: "gone"},
		{name: "no token", fn: fail(tokenclient.ErrNoToken), wrap: classLocked, unwr: classLocked, contains: "no token stored"},
		{name: "login required", fn: fail(tokenclient.ErrLoggedOut), wrap: classLocked, unwr: classLocked, contains: "logged out"},
		{name: "panic with text", fn: func([]byte, string) ([]byte, error) { panic("ouch") }, wrap: classLocked, unwr: classLocked, contains: "panicked: ouch"},
		{name: "panic with error", fn: func([]byte, string) ([]byte, error) { panic(cause) }, wrap: classLocked, unwr: classLocked, is: cause},
		{name: "panic with value", fn: func([]byte, string) ([]byte, error) { panic([]byte("planted")) }, wrap: classLocked, unwr: classLocked, contains: "[]uint8", containsNot: "112 108"},
		{name: "Goexit", fn: func([]byte, string) ([]byte, error) { runtime.Goexit(); return nil, nil }, wrap: classLocked, unwr: classLocked, contains: "goroutine"},
		{name: "nothing", fn: size(0), wrap: classLocked, unwr: classLocked, contains: "returned 0 bytes"},
		{name: "too much", fn: size(1 << 16), wrap: classLocked, unwr: classLocked, contains: "65536 bytes"},
		{name: "31 bytes", fn: size(31), wrap: classOK, unwr: classLocked, contains: "31 bytes"},
		{name: "other data key", fn: size(32), wrap: classOK, unwr: classCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &fakeWrapper{id: "fake-id"}
			s := Seal(w)
			r := sealRecord(t, s, "key", someToken())
			w.wrap, w.unwrap = c.fn, c.fn
			_, wrapErr := s.newDataKey(t.Context(), "key")
			token, unwrapErr := s.open(t.Context(), "key", r)
			if token != nil {
				t.Error("opened")
			}
			for _, e := range []struct {
				op, want string
				err      error
			}{{"Wrap", c.wrap, wrapErr}, {"Unwrap", c.unwr, unwrapErr}} {
				if got := class(e.err); got != e.want {
					t.Errorf("%s: class %s, want %s; error %v", e.op, got, e.want, e.err)
				}
				if e.err == nil {
					continue
				}
				for _, not := range []error{tokenclient.ErrNoToken, tokenclient.ErrLoginRequired} {
					if errors.Is(e.err, not) {
						t.Errorf("%s: %v is %v", e.op, e.err, not)
					}
				}
				if c.is != nil && !errors.Is(e.err, c.is) {
					t.Errorf("%s: %v is not %v", e.op, e.err, c.is)
				}
				text := e.err.Error()
				if e.want == classLocked && !strings.Contains(text, `"fake-id"`) || !strings.Contains(text, c.contains) || c.containsNot != "" && strings.Contains(text, c.containsNot) {
					t.Errorf("%s: error text %q", e.op, text)
				}
			}
		})
	}
}

// A wrapper that gives back the very slice that it got does no harm.
func TestSealWrapperAliases(t *testing.T) {
	same := func(b []byte, _ string) ([]byte, error) { return b, nil }
	w := &fakeWrapper{id: "same", wrap: same, unwrap: same}
	s := Seal(w)
	r := sealRecord(t, s, "key", someToken())
	before := bytes.Clone(r.Sealed)
	for range 2 {
		if _, err := s.open(t.Context(), "key", r); err != nil {
			t.Fatal(err)
		}
	}
	w.unwrap = func(b []byte, _ string) ([]byte, error) { clear(b); return nil, errors.New("no") }
	if _, err := s.open(t.Context(), "key", r); err == nil {
		t.Error("opened")
	}
	if !bytes.Equal(r.Sealed, before) {
		t.Error("a wrapper changed the record")
	}
}

func TestSealSlowWrapper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWrapper{id: "slow"}
		s := Seal(w)
		r := sealRecord(t, s, "key", someToken())
		slow := func(fn func([]byte, string) ([]byte, error)) func([]byte, string) ([]byte, error) {
			return func(b []byte, label string) ([]byte, error) {
				time.Sleep(time.Minute)
				return fn(b, label)
			}
		}
		late := make(chan []byte, 10)
		w.wrap = slow(func(b []byte, _ string) ([]byte, error) { late <- bytes.Clone(b); return xor(b), nil })
		w.unwrap = slow(func(b []byte, _ string) ([]byte, error) { return xor(b), nil })
		for name, call := range map[string]func(context.Context) error{
			"Wrap":   func(ctx context.Context) error { _, err := s.newDataKey(ctx, "key"); return err },
			"Unwrap": func(ctx context.Context) error { _, err := s.open(ctx, "key", r); return err },
		} {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := call(ctx)
			cancel()
			if d := time.Since(start); d != time.Second {
				t.Errorf("%s: returned after %v", name, d)
			}
			if class(err) != classLocked || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"slow"`) {
				t.Errorf("%s: error %v", name, err)
			}
			calls := w.calls()
			if err := call(ctx); class(err) != classLocked || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s after the end: error %v", name, err)
			}
			if w.calls() != calls {
				t.Errorf("%s called after the end of the context", name)
			}
			start = time.Now()
			if err := call(t.Context()); err != nil || time.Since(start) != time.Minute {
				t.Errorf("%s with time enough: %v after %v", name, err, time.Since(start))
			}
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		close(late)
		n := 0
		for b := range late {
			if n++; len(b) != 32 || bytes.Equal(b, make([]byte, 32)) {
				t.Error("the data key was wiped while the wrapper read it")
			}
		}
		if n != 2 {
			t.Errorf("%d calls of Wrap ended, want 2", n)
		}
	})
}

func TestSealConcurrent(t *testing.T) {
	s := Seal(keyBytes(t, "b", 32), keyBytes(t, "a", 0))
	old := sealRecord(t, Seal(keyBytes(t, "a", 0)), "key", someToken())
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				d, err := s.newDataKey(t.Context(), "key")
				if err != nil {
					t.Error(err)
					return
				}
				r := activeRecord()
				if err := d.Seal(r, someToken()); err != nil {
					t.Error(err)
				}
				for _, r := range []*protocol.Record{r, old} {
					if _, err := s.open(t.Context(), "key", r); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestSealerValidate(t *testing.T) {
	good := &fakeWrapper{id: "good"}
	var typedNil *fakeWrapper
	for _, c := range []struct {
		name string
		s    *Sealer
		want string // in the error; "": none
	}{
		{"seal", Seal(good), ""},
		{"seal, older", Seal(good, &fakeWrapper{id: "old"}, &fakeWrapper{id: "older"}), ""},
		{"longest id", Seal(&fakeWrapper{id: strings.Repeat("x", 255)}), ""},
		{"plaintext", Plaintext(), ""},
		{"nil", nil, "Plaintext"},
		{"zero", &Sealer{}, "Plaintext"},
		{"nil wrapper", Seal(nil), "nil"},
		{"nil older", Seal(good, nil), "2 of 2"},
		{"typed nil", Seal(typedNil), "panicked"},
		{"empty id", Seal(&fakeWrapper{}), "empty"},
		{"long id", Seal(&fakeWrapper{id: strings.Repeat("x", 256)}), "256"},
		{"same id", Seal(good, &fakeWrapper{id: "old"}, &fakeWrapper{id: "good"}), `"good"`},
	} {
		err := c.s.validate()
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		// Nothing works with a Sealer that should have been refused.
		if _, e := c.s.newDataKey(t.Context(), "key"); (e != nil) != (err != nil) {
			t.Errorf("%s: newDataKey: %v", c.name, e)
		}
		if _, e := c.s.open(t.Context(), "key", activeRecord()); err != nil && !errors.Is(e, err) {
			t.Errorf("%s: open: %v", c.name, e)
		}
	}
}

// A planted key is found in nothing that can be printed.
func TestSealPrintsNoSecret(t *testing.T) {
	key := testKey(0xa0)
	w, err := KeyBytes("printed-id", key)
	if err != nil {
		t.Fatal(err)
	}
	spy := &fakeWrapper{id: "spy"}
	var dataKeys [][]byte
	spy.wrap = func(b []byte, label string) ([]byte, error) {
		dataKeys = append(dataKeys, bytes.Clone(b))
		return w.Wrap(b, label)
	}
	s := Seal(spy, w)
	d, err := s.newDataKey(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	r := activeRecord()
	if err := d.Seal(r, someToken()); err != nil {
		t.Fatal(err)
	}
	if len(dataKeys) != 1 {
		t.Fatal("no data key seen")
	}
	secrets := [][]byte{key, dataKeys[0], []byte("planted-access-token"), []byte("planted-refresh-token")}

	values := []any{
		w, *w.(*aesWrapper), struct{ W KeyWrapper }{w}, []KeyWrapper{w}, map[string]any{"w": w},
		Seal(w), *Seal(w), s, Plaintext(), struct{ s *Sealer }{Seal(w)}, *Seal(w).s, d, *d, r, *r,
	}
	for _, change := range []func(*protocol.Record){
		func(r *protocol.Record) { r.Number++ }, func(r *protocol.Record) { r.State = tokenclient.Refused }, func(r *protocol.Record) { r.Sealed[0] = 9 },
		func(r *protocol.Record) { r.Sealed = r.Sealed[:20] },
	} {
		c := *r
		c.Sealed = bytes.Clone(r.Sealed)
		change(&c)
		_, err := s.open(t.Context(), "key", &c)
		if err == nil {
			t.Fatal("opened")
		}
		values = append(values, err)
	}
	_, err = KeyBytes("short", key[:31])
	values = append(values, err)
	_, err = decodeToken([]byte(`{"access_token":"planted-access-token","expiry":"planted-refresh-token"}`))
	values = append(values, err)

	found := func(values []any) (where []string) {
		for _, v := range values {
			for verb, text := range printings(v) {
				for _, secret := range secrets {
					for _, form := range spellings(secret) {
						if strings.Contains(text, form) {
							where = append(where, fmt.Sprintf("%s of %T", verb, v))
						}
					}
				}
			}
		}
		return where
	}
	if where := found(values); len(where) != 0 {
		t.Errorf("a secret is shown by %q", where)
	}
	// The search does find what is there.
	for _, leak := range []any{
		struct{ k []byte }{key}, [1][]byte{dataKeys[0]}, errors.New("planted-access-token"), base64.StdEncoding.EncodeToString(key),
		sealRecord(t, Plaintext(), "key", someToken()).Sealed,
	} {
		if len(found([]any{leak})) == 0 {
			t.Errorf("the search misses a secret in a %T", leak)
		}
	}
}

// printings are the ways in which a value gets into a log.
func printings(v any) map[string]string {
	m := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		m[verb] = fmt.Sprintf(verb, v)
	}
	var text, jsonText bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
	slog.New(slog.NewJSONHandler(&jsonText, nil)).Info("m", "v", v)
	m["slog text"], m["slog JSON"] = text.String(), jsonText.String()
	b, _ := json.Marshal(v)
	m["JSON"] = string(b)
	return m
}

// spellings are the forms in which package fmt and others write bytes. Half of a
// secret is too much.
func spellings(secret []byte) []string {
	var all []string
	for _, b := range [][]byte{secret[:len(secret)/2], secret[len(secret)/2:]} {
		all = append(all, string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)),
			strings.Trim(fmt.Sprint(b), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", b), "[]byte{"), "}"))
	}
	whole := base64.StdEncoding.EncodeToString(secret)
	return slices.Concat(all, []string{whole[:len(whole)/2]})
}

// A mutated payload opens to its own token or not at all, and every failure is of
// a documented kind.
func FuzzOpen(f *testing.F) {
	sealers := goldenSealers(f)
	type opened struct {
		g golden
		r *protocol.Record
	}
	var rows []opened
	for _, g := range readGoldens(f) {
		r, err := protocol.DecodeRecord(g.Record)
		if err != nil || r.State != tokenclient.Active {
			continue
		}
		f.Add(r.Sealed, string(g.Key), r.Era[:], r.Number, byte(r.State))
		if g.Class == classOK {
			rows = append(rows, opened{g, r})
		}
	}
	if len(rows) == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, sealed []byte, key string, era []byte, number uint64, state byte) {
		r := &protocol.Record{Number: number, State: tokenclient.State(state), Sealed: sealed}
		copy(r.Era[:], era)
		before := bytes.Clone(sealed)
		for name, s := range sealers {
			token, err := s.open(t.Context(), key, r)
			if !bytes.Equal(sealed, before) {
				t.Fatal("open changed the record")
			}
			if err != nil {
				if c := class(err); token != nil || c != classCorrupt && c != classLocked {
					t.Fatalf("%s: class %s, error %v", name, c, err)
				}
				continue
			}
			if !slices.ContainsFunc(rows, func(o opened) bool {
				return bytes.Equal(o.r.Sealed, sealed) && string(o.g.Key) == key && o.r.Era == r.Era && o.r.Number == number &&
					reflect.DeepEqual(wantOf(o.r, token), *o.g.Want)
			}) {
				t.Fatalf("%s: opened something that was never sealed: %x under %q", name, sealed, key)
			}
		}
	})
}
