package store_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// failingKV is an engine that fails.
type failingKV struct{ err error }

func (f failingKV) Get(context.Context, string) ([]byte, error) { return nil, f.err }
func (f failingKV) CompareAndSwap(context.Context, string, []byte, []byte) (bool, error) {
	return false, f.err
}

func sharedOver(t *testing.T, kv store.KV, s *store.Sealer) *store.Shared {
	t.Helper()
	shared, err := store.NewShared(kv, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return shared
}

// TestErrorsSayWhose: the errors of a store name the key as the program knows it, once, and
// say what is the matter and not that "the store is locked".
func TestErrorsSayWhose(t *testing.T) {
	const key = "alice@example.com"
	dir := newFolder(t)
	files := openFile(t, dir)
	login(t, files, key, "a")
	path := files.RecordPath(key)
	otherKey, err := store.NewFile(dir, store.Seal(keyOf(t, "other")))
	if err != nil {
		t.Fatal(err)
	}
	noKey, err := store.NewFile(dir, store.Plaintext())
	if err != nil {
		t.Fatal(err)
	}
	hash := path[strings.LastIndex(path, string(os.PathSeparator))+1:]
	for name, c := range map[string]struct {
		s    tokenclient.Store
		want string
		is   error
	}{
		"another sealing key": {otherKey, `store: open key "alice@example.com" (` + path + `): the token is sealed with key "test", at hand are only ["other"]`, tokenclient.ErrStoreUnavailable},
		"no sealing key":      {noKey, `(Plaintext)`, tokenclient.ErrStoreUnavailable},
		"engine": {sharedOver(t, failingKV{errors.New("engine: read: it is closed")}, store.Plaintext()),
			`store: read key "alice@example.com" (record ` + hash + `): engine: read: it is closed`, tokenclient.ErrStoreUnavailable},
		"engine in time": {sharedOver(t, failingKV{context.DeadlineExceeded}, store.Plaintext()),
			`store: read key "alice@example.com" (record ` + hash + `): context deadline exceeded`, context.DeadlineExceeded},
		"an engine with a verdict": {sharedOver(t, failingKV{tokenclient.ErrNoToken}, store.Plaintext()), `store: read key "alice@example.com"`, tokenclient.ErrStoreUnavailable},
	} {
		_, err := c.s.Load(t.Context(), key)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "locked or unavailable") ||
			strings.Count(err.Error(), key) != 1 {
			t.Errorf("%s: %v", name, err)
		}
		if !errors.Is(err, c.is) || !errors.Is(err, tokenclient.ErrStoreUnavailable) || errors.Is(err, tokenclient.ErrNoToken) {
			t.Errorf("%s: %v is of another kind", name, err)
		}
	}
	// A session without a Key has none to name.
	if _, err := sharedOver(t, failingKV{errors.New("closed")}, store.Plaintext()).Load(t.Context(), ""); err == nil ||
		!strings.HasPrefix(err.Error(), "store: read record ") || !strings.HasSuffix(err.Error(), ": closed") {
		t.Error(err)
	}
}

// TestMisuse of a store is an error, which is not that of a store that is locked.
func TestMisuse(t *testing.T) {
	refresh := func(s tokenclient.Store, timeout time.Duration) error {
		seen, _, err := s.Replace(t.Context(), "k", tok("a"))
		if err == nil {
			_, err = s.Refresh(t.Context(), "k", seen, timeout, nil)
		}
		return err
	}
	for name, c := range map[string]struct {
		do   func(s tokenclient.Store) error
		want string
	}{
		"save of an empty token": {func(s tokenclient.Store) error {
			seen, _, err := s.Replace(t.Context(), "k", tok("a"))
			if err == nil {
				_, err = s.Save(t.Context(), "k", seen, &tokenclient.Token{})
			}
			return err
		}, "neither access nor refresh token"},
		"save of nothing": {func(s tokenclient.Store) error {
			_, err := s.Save(t.Context(), "k", tokenclient.Record{}, nil)
			return err
		}, "a nil token"},
		"refresh without a function": {func(s tokenclient.Store) error { return refresh(s, time.Second) }, "a nil function"},
		"refresh without a time":     {func(s tokenclient.Store) error { return refresh(s, 0) }, "a timeout of 0s"},
	} {
		for kind, s := range map[string]tokenclient.Store{
			"File": openFile(t, newFolder(t)), "Memory": new(store.Memory), "Shared": sharedOver(t, store.SingleProcess(&mapStorage{}), store.Plaintext()),
		} {
			if err := c.do(s); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "locked") ||
				errors.Is(err, tokenclient.ErrStoreUnavailable) {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
		}
	}
	for kind, s := range map[string]tokenclient.Store{"File": new(store.File), "Shared": new(store.Shared)} {
		_, load := s.Load(t.Context(), "k")
		_, _, replace := s.Replace(t.Context(), "k", tok("a"))
		_, refresh := s.Refresh(t.Context(), "k", tokenclient.Record{}, time.Second, never(t))
		_, save := s.Save(t.Context(), "k", tokenclient.Record{}, tok("a"))
		for op, err := range map[string]error{"Load": load, "Replace": replace, "Refresh": refresh, "Save": save} {
			if err == nil || !strings.Contains(err.Error(), op+" of a store that was not made by its constructor") {
				t.Errorf("a zero %s: %v", kind, err)
			}
		}
	}
}

// TestErrorsNameNoPlace: what package net says of hosts stays out of the text, whatever the
// engine, and in the cause.
func TestErrorsNameNoPlace(t *testing.T) {
	at := func(ip net.IP) net.Addr { return &net.TCPAddr{IP: ip, Port: 6379} }
	dial := func(cause error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Addr: at(net.IPv4(10, 1, 2, 3)), Err: cause}
	}
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"refused": {dial(refused), "dial tcp …: connect: connection refused"},
		"IPv6":    {&net.OpError{Op: "read", Net: "tcp", Source: at(net.IPv6loopback), Addr: at(net.ParseIP("fd00::7")), Err: refused}, "read tcp …->…: connect: connection refused"},
		"name":    {dial(&net.DNSError{Err: "no such host", Name: "engine", Server: "10.1.2.4:53"}), "dial tcp …: lookup … on …: no such host"},
		"wrapped": {fmt.Errorf("engine: node 10.1.2.3:6379 of 10.1.2.3: %w", dial(refused)), "engine: node … of …: dial tcp …: connect: connection refused"},
		"joined":  {errors.Join(errors.New("engineer"), dial(refused), &net.DNSError{Err: "no such host", Name: "engine"}), "engineer\ndial tcp …: connect: connection refused\nlookup …: no such host"},
		"URL":     {&url.Error{Op: "Get", URL: "https://app_user:hunter2@db.internal/v1?x=1", Err: refused}, `Get "…": connect: connection refused`},
		"TLS":     {fmt.Errorf("tls: %w", x509.HostnameError{Certificate: new(x509.Certificate), Host: "db.internal"}), "tls: x509: certificate is not valid for any names, but wanted to match …"},
		"names in a certificate": {
			fmt.Errorf("tls: %w", x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"one.internal", "two.internal"}}, Host: "db.internal"}),
			"tls: x509: certificate is valid for …, …, not …",
		},
		"addresses in a certificate": {
			fmt.Errorf("tls: %w", x509.HostnameError{Certificate: &x509.Certificate{IPAddresses: []net.IP{net.IPv4(10, 1, 2, 3)}}, Host: "10.1.2.4"}),
			"tls: x509: certificate is valid for …, not …",
		},
		"no host": {errors.New("engine: busy"), "engine: busy"},
	} {
		s := sharedOver(t, failingKV{c.err}, store.Plaintext())
		_, err := s.Load(t.Context(), "k")
		if err == nil || !strings.HasSuffix(err.Error(), "): "+c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s:\n got %v\nwant %s", name, err, c.want)
		}
		var op *net.OpError
		if errors.As(c.err, &op) && (!errors.As(err, &op) || op.Addr == nil) {
			t.Errorf("%s: the cause is not there", name)
		}
	}
}

// TestErrorsOfASessionNameNoPlace: nor if there is no cause to ask for; that time was up is known
// all the same.
func TestErrorsOfASessionNameNoPlace(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 443}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for _, err := range []error{
		fmt.Errorf("%w: %w", tokenclient.ErrLoginRequired, dial),
		&tokenclient.TokenError{Err: dial},
	} {
		_, err := sharedOver(t, failingKV{err}, store.Plaintext()).Load(t.Context(), "k")
		if err == nil || strings.Contains(err.Error(), "10.1.2.3") || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v", err)
		}
	}
	late := fmt.Errorf("%w: %w", tokenclient.ErrLoginRequired, context.DeadlineExceeded)
	if _, err := sharedOver(t, failingKV{late}, store.Plaintext()).Load(t.Context(), "k"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, tokenclient.ErrLoginRequired) {
		t.Errorf("got %v, want ErrStoreUnavailable and DeadlineExceeded alone", err)
	}
}
