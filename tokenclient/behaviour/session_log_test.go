package behaviour_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// lineLog is a slog.Handler that writes down the shape of each line, as the table in
// the package documentation does, and the kinds of the values.
type lineLog struct {
	mu    sync.Mutex        // guards the rest
	lines map[string]string // message to level and keys
	kinds map[string]string // key to the type of its values
	text  strings.Builder
}

func (l *lineLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *lineLog) WithAttrs([]slog.Attr) slog.Handler       { panic("not used") }
func (l *lineLog) WithGroup(string) slog.Handler            { panic("not used") }

func (l *lineLog) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	shape := r.Level.String()
	r.Attrs(func(a slog.Attr) bool {
		shape += " " + a.Key
		kind := fmt.Sprintf("%T", a.Value.Any())
		if _, ok := a.Value.Any().(error); ok {
			kind = "error"
		}
		if was, ok := l.kinds[a.Key]; ok && was != kind {
			kind = was + " and " + kind
		}
		l.kinds[a.Key] = kind
		fmt.Fprintln(&l.text, a.Value)
		return true
	})
	if was, ok := l.lines[r.Message]; ok && was != shape {
		shape = was + " and " + shape
	}
	l.lines[r.Message] = shape
	return nil
}

// documentedLines is the table in doc.go.
func documentedLines(t *testing.T) map[string]string {
	t.Helper()
	doc, err := os.ReadFile("../doc.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]string)
	for line := range strings.Lines(string(doc)) {
		level, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "//\t"), " ")
		if slices.Contains([]string{"DEBUG", "INFO", "WARN", "ERROR"}, level) {
			msg, keys, _ := strings.Cut(strings.TrimSpace(rest), "  ")
			lines["tokenclient: "+msg] = strings.ReplaceAll(level+" key "+strings.TrimSpace(keys), ",", "")
		}
	}
	if len(lines) == 0 {
		t.Fatal("doc.go has no table of log lines")
	}
	return lines
}

// logRefresher answers with what is left in answers, and with a new pair after that.
type logRefresher struct {
	mu      sync.Mutex // guards the rest
	answers []func() error
	n       int
}

func (r *logRefresher) Refresh(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
	r.mu.Lock()
	r.n++
	n := r.n
	var answer func() error
	if len(r.answers) > 0 {
		answer, r.answers = r.answers[0], r.answers[1:]
	}
	r.mu.Unlock()
	if answer != nil {
		if err := answer(); err != nil {
			return nil, err
		}
	}
	return sessiontest.Pair(fmt.Sprint("planted access ", n), fmt.Sprint("planted refresh ", n), time.Hour), nil
}

func (r *logRefresher) Revoke(context.Context, *tokenclient.Token) error {
	return errors.New("not today")
}

func (r *logRefresher) plan(answers ...func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers = answers
}

// TestLogLines: what is logged is what the package documentation says, level,
// message and keys, and all of that is logged by somebody.
func TestLogLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &lineLog{lines: make(map[string]string), kinds: make(map[string]string)}
		shared := new(unsavedStore)
		refresher := new(logRefresher)
		status := 200
		renewed := ""
		setUp := func(c *tokenclient.Config) {
			c.Logger, c.Store, c.Key, c.Refresher = slog.New(log), shared, "alice", refresher
			c.Renewed = func(*http.Response) (*tokenclient.Token, bool) {
				return &tokenclient.Token{AccessToken: renewed}, renewed != ""
			}
			c.StepUp = func(context.Context, *tokenclient.Session, tokenclient.Demand) error { return errors.New("not now") }
		}
		api := func(req *http.Request) (*http.Response, error) {
			resp := sessiontest.Reply(req, status)
			if status == 403 {
				resp.Header = http.Header{"Www-Authenticate": {`Bearer error="insufficient_scope"`}}
			}
			return resp, nil
		}
		r, other := sessiontest.NewFake(t, nil, api, setUp), sessiontest.NewFake(t, nil, api, setUp)
		r.Give(t, sessiontest.Pair("planted access", "planted refresh", time.Hour))
		refresh := func() { _, _ = r.Session.Refresh(t.Context()) }
		meanwhile := func(do func()) func() error { return func() error { do(); return nil } }

		refresher.plan(func() error { return &tokenclient.TokenError{StatusCode: 500} }) // an answer is lost
		refresh()
		refresher.plan(func() error { return &tokenclient.TokenError{StatusCode: 429} })
		refresh()
		refresher.plan(func() error { panic("planted") })
		refresh()
		unclear := func() error { return &tokenclient.TokenError{StatusCode: 400} }
		refresher.plan(unclear, unclear, unclear)
		for range 3 {
			refresh()
		}
		shared.set(1)
		refresh()
		time.Sleep(time.Minute) // it is saved
		refresher.plan(meanwhile(func() { r.Give(t, sessiontest.Pair("planted access", "planted refresh", time.Hour)) }))
		refresh() // is overtaken, and its pair not revoked

		if _, err := other.Session.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		refresh()
		_, _ = other.Session.Refresh(t.Context()) // adopts

		elsewhere, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://elsewhere.example.com/", nil)
		_, _ = r.Client.Do(elsewhere)
		own, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, sessiontest.FakeAPI, nil)
		own.SetBasicAuth("planted", "planted")
		_, _ = r.Client.Do(own)

		renewed = "planted renewed"
		r.WantGet(t, 200)
		renewed = "planted\x00renewed"
		r.WantGet(t, 200)
		status = 403
		r.WantGet(t, 403)
		r.WantGet(t, 403)
		status = 401
		for range 5 {
			r.WantGet(t, 401)
		}
		_ = r.Session.Logout(t.Context())
		synctest.Wait()

		log.mu.Lock()
		defer log.mu.Unlock()
		documented := documentedLines(t)
		for msg, shape := range log.lines {
			if documented[msg] != shape {
				t.Errorf("logged: %q %s; documented: %s", msg, shape, documented[msg])
			}
		}
		for msg := range documented {
			if log.lines[msg] == "" {
				t.Errorf("%q is documented and was not logged", msg)
			}
		}
		for key, want := range map[string]string{
			"key": "string", "generation": "uint64", "cause": "string", "duration": "time.Duration",
			"waiters": "int64", "refusals": "int64", "expiry": "time.Time", "until": "time.Time", "err": "error",
		} {
			if got := log.kinds[key]; got != want {
				t.Errorf("values of %q are of type %s, want %s", key, got, want)
			}
		}
		if mark := findSecret(log.text.String()); mark != "" {
			t.Errorf("a secret in the log (%q):\n%s", mark, log.text.String())
		}
	})
}

// brokenKV is an engine that can be broken.
type brokenKV struct {
	store.KV
	broken atomic.Bool
}

func (b *brokenKV) Get(ctx context.Context, key string) ([]byte, error) {
	if b.broken.Load() {
		return nil, errors.New("out of order")
	}
	return b.KV.Get(ctx, key)
}

func (b *brokenKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	if b.broken.Load() {
		return false, errors.New("out of order")
	}
	return b.KV.CompareAndSwap(ctx, key, old, new)
}

// mapStorage is a Storage.
type mapStorage map[string][]byte

func (m mapStorage) Get(key string) ([]byte, error)     { return m[key], nil }
func (m mapStorage) Put(key string, value []byte) error { m[key] = value; return nil }

// TestLogHidesKey: a handler that hides the value of "key" has hidden it. The errors of stores
// name the key, for those who get them without a log line around.
func TestLogHidesKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const key = "alice@example.com"
		var mu sync.Mutex
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(lockedWriter{&mu, &text}, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == "key" {
					return slog.String("key", "hidden")
				}
				return a
			},
		}))
		kv := &brokenKV{KV: store.SingleProcess(make(mapStorage))}
		shared, err := store.NewShared(kv, store.Plaintext(), nil)
		if err != nil {
			t.Fatal(err)
		}
		breaks := false
		refresher := tokenclient.RefresherFunc(func(_ context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			kv.broken.Store(breaks)
			return fresh(old), nil
		})
		r := sessiontest.NewFake(t, refresher, func(req *http.Request) (*http.Response, error) { return sessiontest.Reply(req, 200), nil },
			func(c *tokenclient.Config) { c.Logger, c.Store, c.Key = log, shared, key })
		r.Give(t, sessiontest.Pair("access", "refresh", time.Hour))
		kv.broken.Store(true)
		if _, err := r.Session.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), `key "`+key+`"`) || !strings.Contains(err.Error(), "out of order") {
			t.Errorf("the error of the caller: %v", err)
		}
		kv.broken.Store(false)
		breaks = true
		if _, err := r.Session.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		kv.broken.Store(false)
		time.Sleep(time.Hour)
		mu.Lock()
		defer mu.Unlock()
		for _, msg := range []string{"refresh failed", "token not saved"} {
			if !strings.Contains(text.String(), msg) {
				t.Errorf("%q was not logged", msg)
			}
		}
		if strings.Contains(text.String(), key) || !strings.Contains(text.String(), "its key") {
			t.Errorf("the key is in the log:\n%s", text.String())
		}
	})
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
