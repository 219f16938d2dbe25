// Package redact keeps secrets out of text that people read: errors and logs.
//
// A server that refuses a token likes to say which one, and a transport that fails
// likes to quote what it was given. So whatever an error is made of is searched, before
// it is shown, for the secrets that were sent. [Secrets.In] is that search, and
// [Secrets.Replace] is for text that should stay readable all the same. [URLs] takes out
// of an error what a URL has beside its host and path: nobody knows which keys travel
// in there. [Error] is an error that says something else than the one it stands for.
//
// # What is found
//
// A secret of up to 16 bytes is found whole. Of a longer one 16 bytes in a row are
// enough: servers cut what they echo, and a piece is worth a lot to somebody who knows
// the rest. Letters count in any case, and what does not print does not count. The secret
// is found as it is, and in what the standard library's encodings make of it, alone or
// inside of something longer: escaped for a URL, for HTML, as a JSON or a Go string; in
// hexadecimal, base64, base32 and ascii85; and as the numbers that package fmt prints of
// bytes. What was encoded in two of these ways is found if the outer one is an escape.
// What was compressed, encrypted or hashed is not found.
//
// # What it costs
//
// The text is decoded and indexed, not the secrets encoded: a search takes time in
// proportion to the length of the text plus that of the secrets, whatever they hold. Text
// of more than 16 KiB is not searched: it counts as showing a secret. A token endpoint
// decides how long a token is, so it must not decide how long an error takes.
//
// # What this package does not know
//
// It knows nothing of tokens, requests and servers. What is secret is said by those who
// send it.
package redact

import (
	"strings"
	"unicode"
)

// Mark stands in the place of what was taken out.
const Mark = "[redacted]"

const (
	// piece is how many bytes in a row of a longer secret are a leak.
	piece = 16

	// minLong is how long a secret has to be to be looked for where shorter ones are
	// found by chance.
	minLong = 6

	// maxSearched is how many bytes of text are searched.
	maxSearched = 16 << 10
)

// Secrets are what must not be shown. Empty ones do not count.
type Secrets []string

// In reports whether text shows one of s, or enough of one.
func (s Secrets) In(text string) bool {
	switch {
	case text == "":
		return false
	case len(text) > maxSearched:
		return true
	}
	return s.in(newSearch(text))
}

func (s Secrets) in(x *search) bool {
	for _, secret := range s {
		if x.finds(plain(secret)) {
			return true
		}
	}
	return false
}

// Replace returns text without s. Each secret that is there as it is gives way to
// [Mark]. If one is there in another form, or a piece of one, nothing is left of text but
// Mark. Secrets of less than 6 bytes are replaced as they are and not looked for otherwise:
// they may be in any text.
func (s Secrets) Replace(text string) string {
	var long Secrets
	for _, secret := range s {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, Mark)
		}
		if len(secret) >= minLong {
			long = append(long, secret)
		}
	}
	if long.In(strings.ReplaceAll(text, Mark, " ")) {
		return Mark
	}
	return text
}

// Clean removes what does not print, such as line breaks, and cuts text to limit bytes.
func Clean(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, text)
}

// plain is text without what a search ignores.
func plain(text string) string { return strings.ToLower(Clean(text, len(text))) }
