package redact

import (
	"slices"
	"strings"
)

// A search looks for secrets in one text. It is made for long secrets and short text:
// what the text may stand for is indexed once, and each secret is passed over once.
type search struct {
	views, coded []string // see [views] and [decoded]; plain

	// Each run of gram, and of piece, bytes in views and coded.
	grams, pieces map[string]struct{}

	// steps counts looks into the index, by which a test holds the search to its bound.
	steps int
}

// gram and stride make one look do for nine bytes of a secret. Every piece of a secret
// has a run of gram bytes in it that begins at a multiple of stride, and so the text has,
// if it has the piece.
const (
	gram   = piece / 2
	stride = piece - gram + 1
)

func newSearch(text string) *search {
	x := &search{grams: make(map[string]struct{}, len(text)), pieces: make(map[string]struct{}, len(text))}
	for _, view := range views(text) {
		x.views = append(x.views, x.index(view))
		for d := range decoded(view) {
			x.coded = append(x.coded, x.index(d))
		}
	}
	return x
}

func (x *search) index(view string) string {
	view = plain(view)
	if len(view) < piece {
		return view
	}
	for i := range len(view) - gram + 1 {
		x.grams[view[i:i+gram]] = struct{}{}
		if i+piece <= len(view) {
			x.pieces[view[i:i+piece]] = struct{}{}
		}
	}
	return view
}

// finds reports whether the text shows the plain secret, or a piece of it.
func (x *search) finds(secret string) bool {
	within := func(view string) bool { return strings.Contains(view, secret) }
	switch {
	case secret == "":
		return false
	case len(secret) <= piece:
		return slices.ContainsFunc(x.views, within) ||
			len(secret) >= minLong && slices.ContainsFunc(x.coded, within)
	}
	for i := 0; i+gram <= len(secret) && len(x.pieces) > 0; i += stride {
		if !x.has(x.grams, secret[i:i+gram]) {
			continue
		}
		for j := max(i-gram, 0); j <= min(i, len(secret)-piece); j++ {
			if x.has(x.pieces, secret[j:j+piece]) {
				return true
			}
		}
	}
	return false
}

func (x *search) has(index map[string]struct{}, run string) bool {
	x.steps++
	_, ok := index[run]
	return ok
}
