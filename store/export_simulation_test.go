package store

import (
	"context"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// SetTiming gives s a clock and jitter of its own. It is for before the first use.
func (s *Shared) SetTiming(clock func() time.Time, chance func(below time.Duration) time.Duration) {
	s.engine.timing = &timing{clock, chance}
}

// DecodePlaintext returns the header of what a Plaintext store wrote as key, and its
// token, which is nil in a tombstone.
func DecodePlaintext(key string, raw []byte) (Header, *tokenclient.Token, error) {
	h, err := DecodeHeader(raw)
	if err != nil || h.State != tokenclient.Active {
		return h, nil, err
	}
	r, err := decodeRecord(raw)
	if err != nil {
		return h, nil, err
	}
	t, err := Plaintext().open(context.Background(), key, r)
	return h, t, err
}
