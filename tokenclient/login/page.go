package login

import (
	"io"
	"net/http"
	"strconv"
)

// What the person at the browser is told. Nothing of a request is ever in a page.
const (
	loggedIn       = "You are logged in. You can close this window."
	denied         = "The login was refused. You can close this window."
	failed         = "The login has failed, and the program that began it says why. You can close this window."
	answeredBefore = "This login has been answered before. You can close this window."
	notThisLogin   = "This does not belong to the login that waits here. Begin again in the program."
	nothingHere    = "There is nothing here."
)

// setHeaders has the browser keep, load, embed and pass on nothing.
func setHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Connection", "close")
}

// write sends a page, which needs no script and nothing from elsewhere.
func write(w http.ResponseWriter, status int, text string) {
	page := "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n" +
		"<title>Log in</title>\n<p role=\"status\">" + text + "</p>\n</html>\n"
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(page)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, page) // the browser may be gone
}
