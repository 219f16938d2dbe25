package otelhooks

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	nooptrace "go.opentelemetry.io/otel/trace/noop"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const scope = "github.com/seed-fbfaa0ec/silentrefresh/tokenclient/otelhooks"

// Names of attributes. error.type and http.response.status_code are those of the
// semantic conventions.
const (
	causeKey      = attribute.Key("tokenclient.cause")
	outcomeKey    = attribute.Key("tokenclient.outcome")
	reasonKey     = attribute.Key("tokenclient.reason")
	generationKey = attribute.Key("tokenclient.generation")
	waitersKey    = attribute.Key("tokenclient.waiters")
	errorKey      = attribute.Key("error.type")
	statusKey     = attribute.Key("http.response.status_code")
)

// New returns hooks that measure with mp and trace with tp. A nil provider measures
// or traces nothing; the global ones are never used. The hooks may be shared by any
// number of sessions. An error is one of mp's, which would not make an instrument.
//
// [tokenclient.JoinHooks] adds hooks of your own. To do without one of these, set
// its field to nil before the first session gets them.
func New(mp metric.MeterProvider, tp trace.TracerProvider) (*tokenclient.Hooks, error) {
	if mp == nil {
		mp = noopmetric.NewMeterProvider()
	}
	if tp == nil {
		tp = nooptrace.NewTracerProvider()
	}
	r := recorder{tracer: tp.Tracer(scope)}
	if err := r.makeInstruments(mp.Meter(scope)); err != nil {
		return nil, err
	}
	background := context.Background() // no hook but Attached has a request's
	return &tokenclient.Hooks{
		Attached: func(ctx context.Context, generation uint64) {
			r.requests.Add(ctx, 1)
			if span := trace.SpanFromContext(ctx); span.IsRecording() {
				span.AddEvent("tokenclient.attached", trace.WithAttributes(generationKey.Int64(int64(generation))))
			}
		},
		RefreshStarted: func(tokenclient.RefreshInfo) { r.active.Add(background, 1) },
		Refreshed: func(i tokenclient.RefreshInfo) {
			r.refreshEnded(i, "refreshed", nil)
		},
		Adopted: func(i tokenclient.RefreshInfo) {
			r.adoptions.Add(background, 1)
			if i.Cause != tokenclient.CauseNone {
				r.refreshEnded(i, "adopted", nil)
			}
		},
		RefreshFailed: func(i tokenclient.RefreshInfo, err error) {
			r.refreshEnded(i, "failed", err)
		},
		StillRefused: func(tokenclient.RefreshInfo, error) { r.stillRefused.Add(background, 1) },
		RefreshOvertaken: func(i tokenclient.RefreshInfo, _ error) {
			r.refreshEnded(i, "overtaken", nil)
		},
		Rejected:     func(_, _ string) { r.rejections.Add(background, 1) },
		Replayed:     func(_, _ string) { r.replays.Add(background, 1) },
		NotInOrigins: func(_, _, _ string) { r.foreign.Add(background, 1) },
		HeaderKept:   func(_, _ string) { r.keptHeaders.Add(background, 1) },
		StormGuarded: func(tokenclient.RefreshInfo, time.Time) { r.storms.Add(background, 1) },
		SaveFailed:   func(tokenclient.RefreshInfo, error) { r.saveFailures.Add(background, 1) },
		SessionEnded: func(err error) {
			r.sessionsEnded.Add(background, 1, metric.WithAttributes(reasonKey.String(reason(err))))
		},
	}, nil
}

// recorder has the instruments.
type recorder struct {
	tracer trace.Tracer

	requests, adoptions, rejections, replays, foreign, keptHeaders, storms, stillRefused, saveFailures, sessionsEnded metric.Int64Counter

	active   metric.Int64UpDownCounter
	duration metric.Float64Histogram
	waiters  metric.Int64Histogram
}

func (r *recorder) makeInstruments(m metric.Meter) error {
	var errs []error
	counter := func(name, unit, description string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return c
	}
	r.requests = counter("tokenclient.requests", "{request}", "Requests on which the token was put, replays included.")
	r.adoptions = counter("tokenclient.adoptions", "{token}", "Tokens taken over from another session or process, or from an answer.")
	r.rejections = counter("tokenclient.rejections", "{request}", "Answers that refused the token.")
	r.replays = counter("tokenclient.replays", "{request}", "Requests that were sent again with a newer token.")
	r.foreign = counter("tokenclient.foreign_origins", "{origin}", "Origins that are not allowed, and to which sessions sent requests without the token.")
	r.keptHeaders = counter("tokenclient.kept_headers", "{origin}", "Allowed origins to which requests went with a header of the caller's in the token's place.")
	r.storms = counter("tokenclient.storms", "{storm}", "Times that the storm guard began to hold refreshes back.")
	r.stillRefused = counter("tokenclient.still_refused", "{session}", "Times that the token endpoint refused the third refresh of a session in a row, not for good.")
	r.saveFailures = counter("tokenclient.save_failures", "{attempt}", "Attempts to store a new token that failed.")
	r.sessionsEnded = counter("tokenclient.sessions_ended", "{session}", "Sessions that had a token and have none any more.")
	var err error
	r.active, err = m.Int64UpDownCounter("tokenclient.active_refreshes", metric.WithUnit("{refresh}"),
		metric.WithDescription("Refreshes under way."))
	errs = append(errs, err)
	r.duration, err = m.Float64Histogram("tokenclient.refresh.duration", metric.WithUnit("s"),
		metric.WithDescription("How long refreshes took, waiting for the store included."),
		metric.WithExplicitBucketBoundaries(.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40))
	errs = append(errs, err)
	r.waiters, err = m.Int64Histogram("tokenclient.refresh.waiters", metric.WithUnit("{caller}"),
		metric.WithDescription("Callers that were waiting for a refresh at its end."),
		metric.WithExplicitBucketBoundaries(0, 1, 2, 5, 10, 50, 100, 500, 1000, 5000, 10000))
	errs = append(errs, err)
	return errors.Join(errs...)
}

// refreshEnded records a refresh that came to outcome. err is nil unless it failed.
func (r *recorder) refreshEnded(i tokenclient.RefreshInfo, outcome string, err error) {
	ctx := context.Background()
	attributes := []attribute.KeyValue{causeKey.String(i.Cause.String()), outcomeKey.String(outcome)}
	if err != nil {
		attributes = append(attributes, errorKey.String(errorType(err)))
	}
	set := metric.WithAttributeSet(attribute.NewSet(attributes...))
	r.active.Add(ctx, -1)
	r.duration.Record(ctx, i.Duration.Seconds(), set)
	r.waiters.Record(ctx, int64(i.Waiters), set)

	attributes = append(attributes, generationKey.Int64(int64(i.Generation)), waitersKey.Int(i.Waiters))
	var te *tokenclient.TokenError
	if errors.As(err, &te) && te.StatusCode != 0 {
		attributes = append(attributes, statusKey.Int(te.StatusCode))
	}
	// The refresh is over, and was nobody's in particular: a root of its own.
	_, span := r.tracer.Start(ctx, "tokenclient.refresh", trace.WithTimestamp(i.Began), trace.WithAttributes(attributes...))
	if err != nil {
		span.SetStatus(codes.Error, errorType(err)) // err itself names the key and the endpoint
	}
	span.End(trace.WithTimestamp(i.Began.Add(i.Duration)))
}

// errorType is one of a few words for why a refresh failed.
func errorType(err error) string {
	var te *tokenclient.TokenError
	switch {
	case errors.Is(err, tokenclient.ErrLoginRequired):
		return "terminal"
	case errors.Is(err, tokenclient.ErrStoreUnavailable), errors.Is(err, tokenclient.ErrStoreCorrupt):
		return "store"
	case !errors.As(err, &te):
		return "_OTHER" // what the semantic conventions want
	case te.Temporary():
		return "transient"
	}
	return "misconfiguration"
}

// reason is one of a few words for why a session ended.
func reason(err error) string {
	switch {
	case errors.Is(err, tokenclient.ErrLoggedOut):
		return "logged_out"
	case errors.Is(err, tokenclient.ErrRefused):
		return "refused"
	}
	return "no_token"
}
