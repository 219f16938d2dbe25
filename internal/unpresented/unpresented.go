// Package unpresented marks the contexts of a Store.Refresh whose function presents
// nothing, because the token that it returns is there already. Packages tokenclient and
// store know of it, and nobody else has to.
package unpresented

import "context"

type key struct{}

// Context returns a context that is marked.
func Context(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, true) }

// In reports whether ctx is marked.
func In(ctx context.Context) bool { return ctx.Value(key{}) != nil }
