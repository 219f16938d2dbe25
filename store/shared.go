package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

const (
	defaultMargin = 10 * time.Second
	minMargin     = time.Second
)

// SharedOptions change what [NewShared] does by default. A nil *SharedOptions is
// like a zero one.
type SharedOptions struct {
	// Margin is what a hold is longer than the call that is made under it, the
	// session's RefreshTimeout. 0: 10 s; otherwise at least 1 s and at most 1 h. It
	// has to cover how long the engine takes to write the claim, and how long a
	// process or its network may stand still without harm. After a process was
	// killed in the middle of a call, the others wait for RefreshTimeout and
	// Margin, 30 s by default: if the server accepts the previous refresh token for
	// some seconds, choose them to fit into that time.
	Margin time.Duration
}

// A Shared keeps records in an engine that many processes and machines use, a [KV],
// and lets one of them at a time exchange a refresh token. Nothing is held open in
// the engine meanwhile: no connection, transaction or lock. The hold is written in
// the record, with its length; whoever meets it waits for as long without seeing it
// change, by its own clock, and then takes over. So no two machines need to agree on
// the time.
//
// The others wait no more than a tenth longer than the refresh takes: they look for the
// result after a millisecond and then ever less often, up to once a second, at times left
// to chance. One looks for all in a process who wait for the same key. Those who wait for
// many keys look less often, some ninety times a second together; but for each key once a
// second, so they wait a second longer at most. A KV that is a [Notifier] wakes them, and
// is looked at once a second.
//
// The package documentation says what is guaranteed and what is not.
type Shared struct{ engine protocol.Engine }

var _ tokenclient.Store = (*Shared)(nil)

// NewShared returns a Shared that keeps its records in kv, sealed by s before they
// get there. o may be nil. It refuses a kv that is nil, a Sealer that is nil, zero or
// made of bad keys, and a Margin out of its range. All processes that share a kv
// need the same keys; they may have different options.
//
// It does not ask kv for anything: a program can start before its engine does.
func NewShared(kv KV, s *Sealer, o *SharedOptions) (*Shared, error) {
	if kv == nil {
		return nil, errors.New("store: NewShared: the KV is nil")
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	margin := defaultMargin
	if o != nil && o.Margin != 0 {
		margin = o.Margin
	}
	if margin < minMargin || margin > protocol.MaxMargin {
		return nil, fmt.Errorf("store: NewShared: SharedOptions.Margin is %v, not between %v and %v", margin, minMargin, protocol.MaxMargin)
	}
	return &Shared{protocol.Engine{Medium: kvMedium{kv}, Sealer: sealing{s}, Margin: margin}}, nil
}

// Format writes the kind of store, whatever the verb: a KV may hold credentials.
func (s *Shared) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "store.Shared") }

// Load returns the record of key; see [tokenclient.Store].
func (s *Shared) Load(ctx context.Context, key string) (tokenclient.Record, error) {
	return s.engine.Load(ctx, key)
}

// Replace stores a login, or a logout if t is nil; see [tokenclient.Store].
func (s *Shared) Replace(ctx context.Context, key string, t *tokenclient.Token) (now, was tokenclient.Record, err error) {
	return s.engine.Replace(ctx, key, t)
}

// Refresh calls fn to exchange the token that follows seen, unless a newer one is
// stored; see [tokenclient.Store]. With the context of fn, Refresh of the same key
// is [tokenclient.ErrReentrant], while Load and Replace, which wait for nobody, are
// answered. After a [tokenclient.NotSavedError] other processes wait until its token
// is saved or the hold has run out.
func (s *Shared) Refresh(ctx context.Context, key string, seen tokenclient.Record, timeout time.Duration,
	fn func(ctx context.Context, current tokenclient.Record) (*tokenclient.Token, error)) (tokenclient.Record, error) {
	return s.engine.Refresh(ctx, key, seen, timeout, fn)
}

// Save stores t as the token that follows seen, without waiting for a refresh in
// progress; see [tokenclient.Store].
func (s *Shared) Save(ctx context.Context, key string, seen tokenclient.Record, t *tokenclient.Token) (tokenclient.Record, error) {
	return s.engine.Save(ctx, key, seen, t)
}
