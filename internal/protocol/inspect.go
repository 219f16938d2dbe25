package protocol

import (
	"context"
	"errors"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Inspect returns the record of key as it is stored, nil if there is none, and its token
// if there is one and it can be opened. If it cannot, the error is that of Load, and the
// record is returned all the same: a header needs no key.
func (e *Engine) Inspect(ctx context.Context, key string) (*Record, *tokenclient.Token, error) {
	if err := e.made("Inspect"); err != nil {
		return nil, nil, err
	}
	q, err := e.read(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	rec, err := e.answer(ctx, key, q)
	if errors.Is(err, tokenclient.ErrNoToken) {
		err = nil
	}
	return q.rec, rec.Token, err
}
