package protocol

import (
	"context"
	"slices"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// settle stores what is not stored yet of key. Its error is that of a store that
// cannot be used: as long as a newer token is not in it, nothing may be done with
// the one that is.
func (e *Engine) settle(ctx context.Context, key string) error {
	e.mu.Lock()
	unsaved := slices.Clone(e.unsaved[key])
	e.mu.Unlock()
	for _, u := range unsaved {
		if err := u.Save(ctx); !settled(err) {
			return e.fail(ctx, "save the last token of", key, err)
		}
	}
	return nil
}

func (e *Engine) rememberUnsaved(key string, u *tokenclient.NotSavedError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.unsaved == nil {
		e.unsaved = make(map[string][]*tokenclient.NotSavedError)
	}
	e.unsaved[key] = append(e.unsaved[key], u)
}

func (e *Engine) forgetUnsaved(key string, u *tokenclient.NotSavedError) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rest := slices.DeleteFunc(e.unsaved[key], func(v *tokenclient.NotSavedError) bool { return v == u })
	if len(rest) == 0 {
		delete(e.unsaved, key)
	} else {
		e.unsaved[key] = rest
	}
}
