package protocol

import "context"

// urgentKey marks the contexts of operations that are urgent.
type urgentKey struct{}

// Urgent returns a context whose operations go before others, in a Medium that has a line
// for them. What they write is nowhere else yet, a new pair above all, or somebody waits for
// them to be over.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// IsUrgent reports whether an operation with ctx goes before others.
func IsUrgent(ctx context.Context) bool { return ctx.Value(urgentKey{}) != nil }
