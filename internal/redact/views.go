package redact

import (
	"encoding/ascii85"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"html"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// views returns what text is before and after the escapes of the standard library. What is
// no escape stays as it is, because the text around a secret may be anything.
func views(text string) []string {
	list := []string{text}
	for _, view := range []string{
		unescapePercent(text),
		unescapePercent(strings.ReplaceAll(text, "+", " ")),
		html.UnescapeString(text),
		unescapeBackslash(text),
	} {
		if !slices.Contains(list, view) {
			list = append(list, view)
		}
	}
	return list
}

func unescapePercent(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for ; s != ""; s = s[1:] {
		if s[0] == '%' && len(s) > 2 {
			if n, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
				b, s = append(b, byte(n)), s[2:]
				continue
			}
		}
		b = append(b, s[0])
	}
	return string(b)
}

func unescapeBackslash(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for s != "" {
		r, multibyte, tail, err := strconv.UnquoteChar(s, 0)
		switch {
		case err != nil: // a quote, or JSON's \/: what follows the backslash is what it says
			tail = s[1:]
		case multibyte:
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, byte(r))
		}
		s = tail
	}
	return string(b)
}

// codings turn bytes into blocks of so many characters.
var codings = []struct {
	chars  string
	block  int
	decode func(dst, src []byte) (int, error)
}{
	{"0123456789abcdefABCDEF", 2, hex.Decode},
	{upper + lower + "0123456789+/-_", 4, func(dst, src []byte) (int, error) {
		for i, c := range src { // one alphabet for both
			switch c {
			case '-':
				src[i] = '+'
			case '_':
				src[i] = '/'
			}
		}
		return base64.RawStdEncoding.Decode(dst, src)
	}},
	{upper + "234567", 8, base32.StdEncoding.WithPadding(base32.NoPadding).Decode},
	{upper[:'V'-'A'+1] + "0123456789", 8, base32.HexEncoding.WithPadding(base32.NoPadding).Decode},
	{`!"#$%&'()*+,-./0123456789:;<=>?@[\]^_` + "`" + upper + lower[:'u'-'a'+1], 5, func(dst, src []byte) (int, error) {
		n, _, err := ascii85.Decode(dst, src, true)
		if err != nil { // it ends with half a character, or what is none of it
			n, _, err = ascii85.Decode(dst, src, false)
		}
		return n, err
	}},
}

const (
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower = "abcdefghijklmnopqrstuvwxyz"
)

// decoded returns what each run of characters of a coding may be the code of, from each
// character on that a block can begin with. Most of that is nonsense, in which a long
// secret does not turn up by chance.
func decoded(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, base := range []int{0, 16} { // as %v, %#v, and % x print bytes
			if b := numbers(text, base); len(b) >= minLong && !yield(b) {
				return
			}
		}
		for _, c := range codings {
			for run := range strings.FieldsFuncSeq(text, func(r rune) bool { return !strings.ContainsRune(c.chars, r) }) {
				for i := range min(c.block, len(run)-minLong) { // every code is longer than what it codes
					dst := make([]byte, len(run))
					n, _ := c.decode(dst, []byte(run[i:])) // up to where the last block is not whole
					if n >= minLong && !yield(string(dst[:n])) {
						return
					}
				}
			}
		}
	}
}

// numbers returns the bytes that text has as numbers.
func numbers(text string, base int) string {
	var b []byte
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" ,[]{}", r) }) {
		if n, err := strconv.ParseUint(field, base, 8); err == nil {
			b = append(b, byte(n))
		}
	}
	return string(b)
}
