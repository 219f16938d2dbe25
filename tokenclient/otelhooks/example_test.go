package otelhooks_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/otelhooks"
)

// A program measures what its sessions do, beside a hook of its own. A real one has
// readers and exporters of its choice in place of the ManualReader.
func Example() {
	ctx := context.Background()
	reader := sdkmetric.NewManualReader()
	hooks, err := otelhooks.New(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), sdktrace.NewTracerProvider())
	if err != nil {
		log.Fatal(err)
	}
	refreshed := make(chan tokenclient.Cause, 1)
	hooks = tokenclient.JoinHooks(hooks, &tokenclient.Hooks{
		Refreshed: func(i tokenclient.RefreshInfo) { refreshed <- i.Cause },
	})
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return &tokenclient.Token{AccessToken: "second", RefreshToken: "r2"}, nil
		}),
		Origins: []string{"https://api.example.com"},
		Hooks:   hooks,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	first := &tokenclient.Token{AccessToken: "first", RefreshToken: "r1", Expiry: time.Now().Add(-time.Hour)}
	if err := session.SetToken(ctx, first); err != nil {
		log.Fatal(err)
	}
	if _, err := session.Token(ctx); err != nil { // has expired
		log.Fatal(err)
	}
	fmt.Println("cause:", <-refreshed)

	var metrics metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &metrics); err != nil {
		log.Fatal(err)
	}
	for _, m := range metrics.ScopeMetrics[0].Metrics {
		fmt.Println(m.Name)
	}
	// Unordered output:
	// cause: hard
	// tokenclient.active_refreshes
	// tokenclient.refresh.duration
	// tokenclient.refresh.waiters
}

// setHooks is what docs/observability.md shows.
func setHooks(config *tokenclient.Config, meterProvider metric.MeterProvider, tracerProvider trace.TracerProvider, askForLogin func(error)) error {
	hooks, err := otelhooks.New(meterProvider, tracerProvider) // nil: no metrics, or no spans
	if err != nil {
		return err
	}
	hooks = tokenclient.JoinHooks(hooks, &tokenclient.Hooks{
		SessionEnded: func(err error) { askForLogin(err) }, // your own
	})
	config.Hooks = hooks
	return nil
}

// A program that measures nothing yet, and tells its user when only a login helps.
func ExampleNew() {
	ctx := context.Background()
	config := tokenclient.Config{
		Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return nil, tokenclient.ErrLoginRequired
		}),
		Origins: []string{"https://api.example.com"},
	}
	ended := make(chan error, 1)
	if err := setHooks(&config, nil, nil, func(err error) { ended <- err }); err != nil {
		log.Fatal(err)
	}
	session, err := tokenclient.New(config)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx)
	if err := session.SetToken(ctx, &tokenclient.Token{RefreshToken: "r1"}); err != nil {
		log.Fatal(err)
	}
	if _, err := session.Token(ctx); err == nil {
		log.Fatal("a token after the end")
	}
	fmt.Println(errors.Is(<-ended, tokenclient.ErrLoginRequired))
	// Output: true
}
