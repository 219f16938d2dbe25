package login_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
)

// FuzzCallback: whatever comes as an answer, a code counts only if the query has the state,
// the issuer and the code once each and no error, as another parser reads it; and nothing of
// an answer is shown.
func FuzzCallback(f *testing.F) {
	for _, query := range []string{
		"", "?", "code=c&state=STATE&iss=https%3A%2F%2Fa.example", "code=c&state=STATE", "code=c&code=d&state=STATE", "state=STATE&state=STATE&code=c",
		"state=STATE&error=access_denied&error_description=x&iss=https://a.example", "state=STATE;code=c", "code=c&state=STATE&iss=%zz", "a=%00&state=STATE&code=%0a",
		"code=c&state=STATE&iss=https://a.example/", "state=state&code=c", "state=STATE&code=&error=", "state=STATE&code=<script>", "%73tate=STATE&c%6fde=c&iss=https://a.example#x",
	} {
		f.Add(query, true, "GET", "/callback", "127.0.0.1:8080")
		f.Add(query, false, "GET", "/callback", "127.0.0.1:8080")
	}
	f.Add("code=c&state=STATE", false, "POST", "/callback", "127.0.0.1:8080")
	f.Add("code=c&state=STATE", false, "GET", "/callback/", "127.0.0.1:8080")
	f.Add("code=c&state=STATE", false, "GET", "/callback", "attacker.example")
	f.Fuzz(func(t *testing.T, query string, named bool, method, path, host string) {
		const state, issuer = "STATE", "https://a.example"
		h, result := login.NewCallback(state, issuer, named)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Method, r.URL, r.Host = method, &url.URL{Path: path, RawQuery: query}, host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		code, err, answered := result()

		want, mine := readQuery(query)
		mine = mine && method == "GET" && path == "/callback" && strings.EqualFold(host, "127.0.0.1:8080")
		if answered != mine {
			t.Fatalf("%s %s?%s of %s: answered %v", method, path, query, host, answered)
		}
		if answered != (w.Code == http.StatusSeeOther) || answered && w.Header().Get("Location") != "http://127.0.0.1:8080/callback" || !answered && w.Code < 400 {
			t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
		}
		if len(query) > 20 && strings.Contains(w.Body.String(), query) {
			t.Errorf("?%s is in the page", query)
		}
		if !answered {
			return
		}
		ok := want != "" && err == nil
		if issuers, _ := values(query, "iss"); ok && len(issuers) > 0 && issuers[0] != "" && issuers[0] != issuer || ok && named && (len(issuers) == 0 || issuers[0] != issuer) {
			t.Errorf("?%s: taken from another issuer", query)
		}
		if err == nil && code != want || err != nil && code != "" {
			t.Errorf("?%s: code %q and error %v, want %q", query, code, err, want)
		}
		if _, typed := errors.AsType[*login.ResponseError](err); err != nil && !typed {
			t.Errorf("?%s: %#v", query, err)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			t.Errorf("?%s: %q", query, err)
		}
	})
}

// readQuery reads a query by hand: whether it is for this login, and the code that counts, if
// there is one.
func readQuery(query string) (code string, mine bool) {
	states, _ := values(query, "state")
	mine = len(states) == 1 && states[0] == "STATE"
	codes, whole := values(query, "code")
	denials, _ := values(query, "error")
	if !mine || !whole || len(codes) != 1 || len(denials) > 1 || len(denials) == 1 && denials[0] != "" {
		return "", mine
	}
	return codes[0], mine
}

// values returns the values of a name in a form (WHATWG URL, section 5.1), and whether all of
// it could be read.
func values(query, name string) (list []string, whole bool) {
	whole = true
	for _, part := range strings.Split(query, "&") {
		if strings.Contains(part, ";") {
			whole = false // net/url drops it
			continue
		}
		n, v, _ := strings.Cut(part, "=")
		n, okName := unescape(n)
		v, okValue := unescape(v)
		if !okName || !okValue {
			whole = false
			continue
		}
		if n == name && part != "" {
			list = append(list, v)
		}
	}
	return list, whole
}

func unescape(s string) (string, bool) {
	var b strings.Builder
	hex := func(c byte) int { return strings.IndexByte("0123456789abcdef", strings.ToLower(string(rune(c)))[0]) }
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] != '%':
			b.WriteByte(s[i])
		case i+2 >= len(s):
			return "", false
		default:
			high, low := hex(s[i+1]), hex(s[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			b.WriteByte(byte(high<<4 | low))
			i += 2
		}
	}
	return b.String(), true
}
