package otelhooks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/otelhooks"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const key = "alice@example.com" // must not be seen

// faultyStore fails with err, or exchanges tokens and does not store them.
type faultyStore struct {
	tokenclient.Store
	err     error
	unsaved bool
}

func (s *faultyStore) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(context.Context, tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	switch {
	case s.err != nil:
		return tokenclient.Record{}, s.err
	case !s.unsaved:
		return s.Store.Refresh(ctx, key, seen, timeout, fn)
	}
	var pair *tokenclient.Token
	_, err := s.Store.Refresh(ctx, key, seen, timeout, func(ctx context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
		t, err := fn(ctx, r)
		pair = t
		return nil, errors.Join(err, tokenclient.ErrStoreUnavailable)
	})
	if pair == nil {
		return tokenclient.Record{}, err
	}
	again := func(ctx context.Context) error {
		_, err := s.Store.Refresh(ctx, key, seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return pair, nil })
		return err
	}
	return tokenclient.Record{}, tokenclient.NewNotSavedError(key, pair, tokenclient.ErrStoreUnavailable, again)
}

// exported is what the exporters wrote about a session's life.
type exported struct {
	metrics string // the Prometheus text format
	spans   []span
	text    string // all of it
	host    string // of the server, must not be seen
	seen    tokentest.Counters
}

type span struct {
	Name               string
	Parent             struct{ SpanID string }
	StartTime, EndTime time.Time
	Attributes         []struct {
		Key   string
		Value struct{ Value any }
	}
	Events []struct{ Name string }
	Status struct{ Code, Description string }
}

// live sends two sessions that share a store through everything that can happen.
func live(t *testing.T) (e exported) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
		if err != nil {
			t.Fatal(err)
		}
		var spans bytes.Buffer
		spanWriter, err := stdouttrace.New(stdouttrace.WithWriter(&spans))
		if err != nil {
			t.Fatal(err)
		}
		traces := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spanWriter))
		hooks, err := otelhooks.New(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), traces)
		if err != nil {
			t.Fatal(err)
		}

		srv := tokentest.NewServer(t, &tokentest.Options{InMemory: true, Latency: 300 * time.Millisecond})
		tokens := &faultyStore{Store: new(store.Memory)}
		newSession := func() *tokenclient.Session {
			s, err := tokenclient.New(tokenclient.Config{
				Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}, Store: tokens, Key: key, Hooks: hooks,
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		session, other := newSession(), newSession()
		login := func() {
			if err := session.SetToken(t.Context(), srv.Issue("alice")); err != nil {
				t.Error(err)
			}
		}
		ctx, request := traces.Tracer("test").Start(t.Context(), "request")
		client := session.Wrap(srv.Client())
		get := func() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/api/", nil)
			if resp, err := client.Do(req); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		}
		refresh := func(s *tokenclient.Session, want error) {
			t.Helper()
			if _, err := s.Refresh(t.Context()); !errors.Is(err, want) {
				t.Errorf("Refresh: %v, want %v", err, want)
			}
		}

		login()
		get()
		if elsewhere, err := client.Get("https://elsewhere.example.com/"); err == nil {
			_ = elsewhere.Body.Close()
		}
		own, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/elsewhere", nil)
		own.SetBasicAuth("mine", "mine")
		if resp, err := client.Do(own); err == nil {
			_ = resp.Body.Close()
		}
		request.End()
		time.Sleep(14 * time.Minute) // in the soft window
		get()
		time.Sleep(20 * time.Minute) // has expired
		get()
		srv.RevokeAccess("alice")
		get()
		refresh(session, nil)
		minutes, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		if err := session.KeepFresh(minutes); err != nil {
			t.Error(err)
		}

		var te *tokenclient.TokenError
		wrongClient := tokentest.Fault{Status: 400, Body: `{"error":"invalid_client"}`}
		for _, f := range []tokentest.Fault{{Status: 503, Header: http.Header{"Retry-After": {"1"}}}, wrongClient, wrongClient, wrongClient} {
			srv.FailRefresh(1, f)
			if _, err := session.Refresh(t.Context()); !errors.As(err, &te) || te.StatusCode != f.Status {
				t.Errorf("Refresh: %v, want status %d", err, f.Status)
			}
		}
		for _, tokens.err = range []error{tokenclient.ErrStoreUnavailable, fmt.Errorf("key %q of %s: strange", key, srv.URL)} {
			refresh(session, tokens.err)
		}
		tokens.err = nil

		if _, err := other.Token(t.Context()); err != nil {
			t.Error(err)
		}
		refresh(session, nil)
		refresh(other, nil) // adopts

		go func() {
			time.Sleep(100 * time.Millisecond)
			login() // overtakes
		}()
		refresh(session, nil)

		tokens.unsaved = true
		refresh(session, nil)
		tokens.unsaved = false
		time.Sleep(2 * time.Second)

		srv.FailAPI(-1, tokentest.Fault{Status: 401})
		for range 10 {
			get()
		}
		srv.FailAPI(0, tokentest.Fault{})

		srv.RevokeAll("alice")
		refresh(session, tokenclient.ErrRefused)
		login()
		time.Sleep(2 * time.Second)
		if _, err := other.Token(t.Context()); err != nil {
			t.Error(err)
		}
		if err := session.Logout(t.Context()); err != nil {
			t.Error(err)
		}
		refresh(other, tokenclient.ErrLoginRequired)
		for _, s := range []*tokenclient.Session{session, other} {
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()

		w := httptest.NewRecorder()
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		e.metrics, e.text, e.seen = w.Body.String(), w.Body.String()+spans.String(), srv.Counters()
		u, err := url.Parse(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		e.host = u.Hostname()
		for d := json.NewDecoder(&spans); ; {
			var s span
			if err := d.Decode(&s); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			e.spans = append(e.spans, s)
		}
	})
	return e
}

var (
	typeLine   = regexp.MustCompile(`(?m)^# TYPE (tokenclient_\w+) (\w+)$`)
	sampleLine = regexp.MustCompile(`(?m)^(tokenclient_\w+?)(?:_bucket|_sum|_count)?\{(.*)\} (\S+)$`)
	label      = regexp.MustCompile(`(\w+)="([^"]*)"`)
	quoted     = regexp.MustCompile("`([^`]+)`")
)

// table returns the rows of the table in page whose first column is called head.
func table(t *testing.T, page, head string) (rows [][]string) {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n| "+head+" |")
	if !ok {
		t.Fatalf("docs/observability.md has no table of %ss", head)
	}
	for _, line := range strings.Split(rest, "\n")[2:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		var row []string
		for _, cell := range strings.Split(strings.Trim(line, "|"), "|") {
			row = append(row, strings.TrimSpace(cell))
		}
		rows = append(rows, row)
	}
	return rows
}

func names(cell string) (all []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestDocumentedMetrics: what docs/observability.md lists and what the exporter
// writes are the same: metrics, types, labels, and the values of labels.
func TestDocumentedMetrics(t *testing.T) {
	b, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	page, e := string(b), live(t)
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}

	type metric struct{ kind, labels string }
	documented, values := make(map[string]metric), make(map[string][]string)
	inPrometheus := make(map[string]string)
	for _, row := range table(t, page, "attribute") {
		inPrometheus[names(row[0])[0]] = names(row[1])[0]
		values[names(row[1])[0]] = slices.Sorted(slices.Values(names(row[2])))
	}
	for _, row := range table(t, page, "metric") {
		var labels []string
		for _, attribute := range names(row[3]) {
			labels = append(labels, inPrometheus[attribute])
		}
		if name := regexp.MustCompile(`\Q` + names(row[0])[0] + `\E\b`); !name.Match(doc) {
			t.Errorf("the package documentation does not have %s", names(row[0])[0])
		}
		documented[names(row[1])[0]] = metric{row[2], fmt.Sprint(slices.Sorted(slices.Values(labels)))}
	}

	written, seen := make(map[string]metric), make(map[string]map[string]bool)
	labels := make(map[string]map[string]bool)
	for _, m := range sampleLine.FindAllStringSubmatch(e.metrics, -1) {
		if labels[m[1]] == nil {
			labels[m[1]] = make(map[string]bool)
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if l[1] == "le" || strings.HasPrefix(l[1], "otel_scope_") {
				continue // the exporter's own
			}
			if seen[l[1]] == nil {
				seen[l[1]] = make(map[string]bool)
			}
			labels[m[1]][l[1]], seen[l[1]][l[2]] = true, true
		}
	}
	for _, m := range typeLine.FindAllStringSubmatch(e.metrics, -1) {
		written[m[1]] = metric{m[2], fmt.Sprint(slices.Sorted(maps.Keys(labels[m[1]])))}
	}
	if !maps.Equal(documented, written) {
		t.Errorf("documented: %v\nwritten: %v", documented, written)
	}
	found := make(map[string][]string)
	for name, set := range seen {
		found[name] = slices.Sorted(maps.Keys(set))
	}
	if !reflect.DeepEqual(values, found) {
		t.Errorf("values documented: %v\nwritten: %v", values, found)
	}
	if t.Failed() {
		t.Log(e.metrics)
	}

	// The queries of the page ask for series that there are.
	for _, name := range regexp.MustCompile(`tokenclient_\w+`).FindAllString(page, -1) {
		if _, isLabel := values[name]; !isLabel && !regexp.MustCompile(`(?m)^`+name+`\{`).MatchString(e.metrics) && written[name].kind != "histogram" {
			t.Errorf("the page names %s, which nobody writes", name)
		}
	}
	for _, m := range regexp.MustCompile(`(\w+)!?="(\w+)"`).FindAllStringSubmatch(page, -1) {
		if !slices.Contains(values[m[1]], m[2]) {
			t.Errorf("a query asks for %s", m[0])
		}
	}
	for i := range reflect.TypeFor[tokenclient.Hooks]().NumField() {
		if name := reflect.TypeFor[tokenclient.Hooks]().Field(i).Name; !strings.Contains(page, "\n| `"+name+"` |") {
			t.Errorf("the page does not have the hook %s", name)
		}
	}
}

// TestFigures compares some of the metrics to what the server counted.
func TestFigures(t *testing.T) {
	e := live(t)
	sums := make(map[string]float64)
	for _, m := range regexp.MustCompile(`(?m)^(tokenclient_\w+)\{(.*)\} (\S+)$`).FindAllStringSubmatch(e.metrics, -1) {
		var value float64
		if _, err := fmt.Sscan(m[3], &value); err != nil {
			t.Fatal(err)
		}
		sums[m[1]] += value
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			sums[m[1]+" "+l[2]] += value
		}
	}
	const refreshes = "tokenclient_refresh_duration_seconds_count"
	for name, want := range map[string]int{
		"tokenclient_requests_total":   e.seen.Requests,
		"tokenclient_rejections_total": e.seen.Unauthorized,
		// One was overtaken, and the server failed four and refused one.
		refreshes + " refreshed":                   e.seen.Refreshes - 6,
		refreshes + " overtaken":                   2, // one by a logout, that presented nothing
		refreshes + " adopted":                     1,
		refreshes + " failed":                      7,
		refreshes + " soft":                        1,
		refreshes + " hard":                        1,
		refreshes + " timer":                       1,
		"tokenclient_active_refreshes":             0,
		"tokenclient_foreign_origins_total":        1,
		"tokenclient_kept_headers_total":           1,
		"tokenclient_storms_total":                 1,
		"tokenclient_still_refused_total":          1,
		"tokenclient_save_failures_total":          1,
		"tokenclient_sessions_ended_total":         3,
		"tokenclient_sessions_ended_total refused": 1,
	} {
		if got, ok := sums[name]; !ok || got != float64(want) {
			t.Errorf("%s is %v, want %d", name, got, want)
		}
	}
	if t.Failed() {
		t.Log(e.metrics)
	}
	if spans := len(e.spans) - 1; spans != int(sums[refreshes]) { // and the one of the request
		t.Errorf("%d spans of %v refreshes", spans, sums[refreshes])
	}
}

// TestSpans: a span is as long as its refresh and says how it ended.
func TestSpans(t *testing.T) {
	var failed, events int
	for _, s := range live(t).spans {
		if s.Name == "request" {
			events += len(s.Events)
			continue
		}
		attributes := make(map[string]string)
		for _, a := range s.Attributes {
			attributes[a.Key] = fmt.Sprint(a.Value.Value)
		}
		outcome, took := attributes["tokenclient.outcome"], s.EndTime.Sub(s.StartTime)
		if s.Name != "tokenclient.refresh" || strings.Trim(s.Parent.SpanID, "0") != "" || attributes["tokenclient.generation"] == "" {
			t.Errorf("span %+v", s)
		}
		if outcome == "refreshed" && took != 300*time.Millisecond {
			t.Errorf("a refresh took %v, its span %v", 300*time.Millisecond, took)
		}
		if wrong := s.Status.Code == "Error"; wrong != (outcome == "failed") || wrong != (attributes["error.type"] != "") ||
			s.Status.Description != attributes["error.type"] {
			t.Errorf("outcome %q, error.type %q, status %+v", outcome, attributes["error.type"], s.Status)
		}
		if s.Status.Code == "Error" {
			failed++
		}
	}
	if failed != 7 || events != 1 {
		t.Errorf("%d failed refreshes, want 7; %d events on the span of a request, want 1", failed, events)
	}
}

// TestNothingLeaks: no token, key, user or host in what is exported.
func TestNothingLeaks(t *testing.T) {
	e := live(t)
	for what, secret := range map[string]string{"token": "eyJ", "key": key, "user": "alice", "host": e.host} {
		if strings.Contains(e.text, secret) {
			t.Errorf("a %s (%q) is exported:\n%s", what, secret, e.text)
		}
	}
	if len(e.text) < 1000 {
		t.Errorf("little is exported:\n%s", e.text)
	}
}

// TestNoProviders: without providers the hooks do nothing, and none is missing but ForKey: no
// metric and no span has a key.
func TestNoProviders(t *testing.T) {
	hooks, err := otelhooks.New(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	v := reflect.ValueOf(hooks).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsNil() != (name == "ForKey") {
			t.Errorf("hook %s: nil is %t", name, v.Field(i).IsNil())
		}
	}
	hooks.Attached(t.Context(), 1)
	hooks.RefreshStarted(tokenclient.RefreshInfo{})
	hooks.RefreshFailed(tokenclient.RefreshInfo{}, errors.New("why"))
	hooks.SessionEnded(tokenclient.ErrLoggedOut)
}

// TestAttachedAllocates nothing, in spite of the SDK, for a request without a span.
func TestAttachedAllocates(t *testing.T) {
	hooks, err := otelhooks.New(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() { hooks.Attached(t.Context(), 1) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
