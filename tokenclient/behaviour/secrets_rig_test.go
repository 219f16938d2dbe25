package behaviour_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// All secrets of these tests have "planted" in them, which no program text has.
const (
	secretAccess   = "planted-AccessToken-5Jq0"
	secretRefresh  = "planted-RefreshToken-8Kz1"
	secretNext     = "planted-NextToken-2Wv7"
	secretBinding  = "planted-Binding-9Hh3"
	secretClient   = "planted-client+secret/4Tt"
	secretPassword = "planted-password-&-<6Yy>"
	secretParam    = "planted-api-key-3Uu"
	secretSealing  = "planted-sealing-key-0123456789ab" // 32 bytes
)

// secretMarks is "planted" in all the ways in which a program might print it.
var secretMarks = []string{
	"planted",                  // in any case of letters
	"706c616e746564",           // %x
	"70 6c 61 6e 74",           // % x
	"0x70, 0x6c, 0x61",         // %#v of bytes
	"112 108 97 110",           // %v of bytes
	"112,108,97,110",           // a JSON array
	"cgxhbnrlz",                // base64, at the three offsets that
	"bsyw50zw",                 // "planted" may have; lower case, as
	"wbgfudgvk",                // is what is searched
	"\\u0070\\u006c\\u0061",    // escaped
	"p l a n t e d", "detnalp", // broken up, reversed: nobody does
}

// findSecret returns the mark of a secret in text, "" if there is none.
func findSecret(text string) string {
	text = strings.ToLower(text)
	for _, mark := range secretMarks {
		if strings.Contains(text, mark) {
			return mark
		}
	}
	return ""
}

// secretWatch looks for secrets in all that it is shown.
type secretWatch struct {
	t *testing.T

	mu   sync.Mutex // guards the rest
	logs bytes.Buffer
	told map[string]bool // what has failed
}

// text fails the test if there is a secret in text.
func (w *secretWatch) text(what, text string) {
	w.t.Helper()
	mark := findSecret(text)
	w.mu.Lock()
	defer w.mu.Unlock()
	if mark != "" && !w.told[what] { // once is enough
		w.told[what] = true
		w.t.Errorf("%s shows a secret (%q):\n%.2000s", what, mark, text)
	}
}

// value prints v in every way there is.
func (w *secretWatch) value(what string, v any) {
	w.t.Helper()
	for _, text := range secretPrints(v) {
		w.text(what, text)
	}
}

func newSecretWatch(t *testing.T) *secretWatch {
	return &secretWatch{t: t, told: make(map[string]bool)}
}

// Write takes what a logger writes.
func (w *secretWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs.Write(p)
}

// logger logs everything twice: as text and as JSON.
func (w *secretWatch) logger() *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(w, o), slog.NewJSONHandler(w, o)))
}

// done looks through the logs, and makes sure that there were some. It is for a
// test in a bubble.
func (w *secretWatch) done(wantInLog ...string) {
	w.t.Helper()
	synctest.Wait() // until all is logged
	w.mu.Lock()
	logs := w.logs.String()
	w.mu.Unlock()
	for line := range strings.Lines(logs) {
		w.text("the log", line)
	}
	for _, want := range wantInLog {
		if !strings.Contains(logs, want) {
			w.t.Errorf("the log has no %q", want)
		}
	}
}

// secretPrints is v in the output of package fmt, of JSON and of package log/slog,
// alone and inside of other values. The verbs %p and %w are left out: fmt asks no
// method for them, and go vet refuses them.
func secretPrints(v any) []string {
	var out []string
	type holder struct{ Value any }
	for _, v := range []any{v, &v, []any{v}, map[string]any{"k": v}, holder{v}, &holder{v}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t"} {
			out = append(out, fmt.Sprintf(verb, v))
		}
		if j, err := json.Marshal(v); err != nil {
			out = append(out, err.Error())
		} else {
			out = append(out, string(j))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v, slog.Group("g", "v", v))
		out = append(out, log.String())
	}
	if err, ok := v.(error); ok {
		out = append(out, err.Error())
	}
	return out
}
