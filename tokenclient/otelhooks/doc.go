// Package otelhooks makes OpenTelemetry metrics and spans of what happens to the
// sessions of package tokenclient. It uses the API of OpenTelemetry only: the
// program chooses the SDK and the exporter.
//
// It is one function, [New]:
//
//	hooks, err := otelhooks.New(meterProvider, tracerProvider)
//	...
//	session, err := tokenclient.New(tokenclient.Config{..., Hooks: hooks})
//
// # Metrics
//
//   - tokenclient.requests, tokenclient.rejections, tokenclient.replays: counters of
//     requests with the token, of answers that refused it, and of second sendings.
//   - tokenclient.refresh.duration, tokenclient.refresh.waiters: histograms of how
//     long refreshes took, in seconds, and of how many callers waited at their end.
//     Their attributes are tokenclient.cause ("soft", "hard", "rejected", "forced",
//     "timer"), tokenclient.outcome ("refreshed", "adopted", "overtaken", "failed")
//     and, for those that failed, error.type ("terminal", "transient",
//     "misconfiguration", "store", "_OTHER").
//   - tokenclient.active_refreshes: refreshes under way.
//   - tokenclient.adoptions: a counter of tokens taken over from another session or
//     process, or from an answer.
//   - tokenclient.foreign_origins: a counter of the origins that are not allowed, and to
//     which a session sent requests without the token; each counts once for a session.
//   - tokenclient.kept_headers: a counter of the allowed origins to which a session sent
//     requests on which the caller had set the token's header; each counts once for a
//     session.
//   - tokenclient.storms: a counter of the times that the storm guard began to hold
//     refreshes back.
//   - tokenclient.still_refused: a counter of the times that the token endpoint refused the
//     third refresh of a session in a row, not for good.
//   - tokenclient.save_failures: a counter of failed attempts to store a new token.
//     While a token is not stored there is about one a minute.
//   - tokenclient.sessions_ended: a counter, with tokenclient.reason ("logged_out",
//     "refused", "no_token").
//
// The set of attributes is bounded. No key, user, host or error text is in any, nor
// in a span, let alone a token. docs/observability.md in the repository says what to
// watch and when to alert.
//
// # Spans
//
// Each refresh is a span "tokenclient.refresh" with the attributes above, its
// number of waiters, the generation of the token that the session holds after it,
// and the status code of a token endpoint that failed. It is the root of a trace,
// since a refresh belongs to all requests that wait for it and to none, and it is
// made when the refresh is over, so that it has no children.
//
// A request whose context has a span that records gets an event
// "tokenclient.attached" on it, with the generation of the token that it was sent
// with. That is how the two are found together.
package otelhooks
