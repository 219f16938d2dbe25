package login

import "net/http"

// Opener is what OpenBrowser starts.
var Opener = opener

// Open is OpenBrowser with another patience.
var Open = open

// NewCallback expects the answer of a login with that state, from an issuer that may have
// announced to name itself.
func NewCallback(state, issuer string, named bool) (handler http.Handler, result func() (code string, err error, answered bool)) {
	l := &loopback{redirectURL: "http://127.0.0.1:8080/callback", path: "/callback", hosts: []string{"127.0.0.1:8080"}}
	cb := l.serve(expected{state: state, issuer: issuer, named: named})
	return cb, func() (string, error, bool) {
		select {
		case a := <-cb.answers:
			return a.code, a.err, true
		default:
			return "", nil, false
		}
	}
}
