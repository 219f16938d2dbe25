package endpoint

import (
	"slices"
	"strings"
)

// schemes are the token types that are authentication schemes too, as those write them: RFC
// 6750, RFC 9449, and the draft that RFC 6749, section 7.1, names.
var schemes = []string{"Bearer", "DPoP", "MAC"}

// Scheme returns the authentication scheme with which a token of that type goes into a
// header: the type itself if it is a known scheme or one of more, in the spelling of the
// list, else Bearer. Servers write all kinds of things there, such as jwt-bearer, N_A,
// user, or the URN of a type of RFC 8693, and want Bearer.
func Scheme(tokenType string, more ...string) string {
	for _, list := range [][]string{more, schemes} {
		if i := slices.IndexFunc(list, func(s string) bool { return strings.EqualFold(s, tokenType) }); i >= 0 {
			return list[i]
		}
	}
	return schemes[0]
}
