package tokentest

import (
	"html/template"
	"net/http"
)

// A decision is what a person said.
type decision struct {
	user string // who approved; empty: refused
}

// authorizePage is what a person sees at /oauth/authorize. Its form is sent to the URL of the
// page, query included. It loads nothing else.
var authorizePage = template.Must(template.New("authorize").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Log in</title>
<h1>Log in</h1>
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
<p>{{.Client}} asks for access. This is a server for tests: it asks for no password.</p>
<form method="post">
<p><label>Who you are: <input name="user" required autocomplete="off"></label></p>
<p><button name="decision" value="approve">Approve</button>
<button name="decision" value="refuse" formnovalidate>Refuse</button></p>
</form>
</html>
`))

// readDecision returns what the person at authorizePage said, nil if nothing was, and what
// to tell them.
func (s *Server) readDecision(w http.ResponseWriter, r *http.Request) (d *decision, problem string) {
	if r.Method != http.MethodPost {
		return nil, ""
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	err := r.ParseForm()
	user := r.PostForm.Get("user")
	switch said := r.PostForm.Get("decision"); {
	case err != nil:
		return nil, "The form cannot be read."
	case said == "refuse":
		return new(decision), ""
	case said != "approve":
		return nil, "Press one of the two buttons."
	case user == "":
		return nil, "Say who you are."
	default:
		return &decision{user}, ""
	}
}

// serveAuthorizePage asks the person.
func serveAuthorizePage(w http.ResponseWriter, client, problem string) {
	status := http.StatusOK
	if problem != "" {
		status = http.StatusBadRequest
	}
	writePage(w, status, authorizePage, struct{ Client, Problem string }{client, problem})
}
