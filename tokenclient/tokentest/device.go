package tokentest

import (
	"bytes"
	"crypto/rand"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// deviceLifetime is how long a login may take, by the server's clock.
const deviceLifetime = 10 * time.Minute

// deviceGrant is the grant type of RFC 8628, section 3.4.
const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// serveDevice is POST /oauth/device (RFC 8628, section 3.1).
func (s *Server) serveDevice(w http.ResponseWriter, r *http.Request) {
	form, bad := s.readForm(w, r)
	s.countLogin()
	s.delay(r)
	client := clientID(r, form)
	switch {
	case bad != nil:
		bad.write(w)
		return
	case client == "":
		refusal(http.StatusBadRequest, "invalid_request", "client_id missing").write(w)
		return
	}
	device, user := rand.Text(), rand.Text()
	user = user[:4] + "-" + user[4:8]
	s.mu.Lock()
	if s.logins.devices == nil {
		s.logins.devices = map[string]*login{}
	}
	s.logins.devices[device] = &login{
		client: client, expiry: s.options.now().Add(deviceLifetime), userCode: user, strength: s.strengthLocked(form),
	}
	s.mu.Unlock()
	answer{status: http.StatusOK, body: map[string]any{
		"device_code":               device,
		"user_code":                 user,
		"verification_uri":          s.URL + "/device",
		"verification_uri_complete": s.URL + "/device?" + url.Values{"user_code": {user}}.Encode(),
		"expires_in":                int64(deviceLifetime / time.Second),
		"interval":                  1, // the least: tests wait for it
	}}.write(w)
}

// redeemDeviceLocked is RFC 8628, section 3.5, but that nobody is told to slow
// down: clients and server count a second differently, and tests would flake.
func (s *Server) redeemDeviceLocked(client, code, jkt string) answer {
	l := s.logins.devices[code]
	if l == nil || l.client != client {
		return refusal(http.StatusBadRequest, "invalid_grant", "not a device code for this client")
	}
	decided, user := s.logins.decided, s.logins.user
	if l.decided {
		decided, user = true, l.user
	}
	switch {
	case !s.options.now().Before(l.expiry):
		return refusal(http.StatusBadRequest, "expired_token", "the device code expired")
	case !decided:
		return refusal(http.StatusBadRequest, "authorization_pending", "the user has not decided yet")
	case user == "":
		return refusal(http.StatusBadRequest, "access_denied", "the user refused")
	}
	delete(s.logins.devices, code)
	l.strength.at = s.options.now()
	return s.pairLocked(&family{id: rand.Text(), user: user, jkt: jkt, strength: l.strength}, true)
}

// devicePage is what a person sees at the verification_uri (RFC 8628, section 3.3). It
// loads nothing else.
var devicePage = template.Must(template.New("device").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Log in a device</title>
<h1>Log in a device</h1>
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
{{with .Done}}<p role="status">{{.}}</p>
<p><a href="/device">Another code</a></p>
{{else}}<p>This is a server for tests: it asks for no password.</p>
<form method="post" action="/device">
<p><label>Code that the device shows: <input name="user_code" value="{{.Code}}" required autocomplete="off"></label></p>
<p><label>Who you are: <input name="user" value="{{.User}}" required autocomplete="off"></label></p>
<p><button name="decision" value="approve">Approve</button>
<button name="decision" value="refuse" formnovalidate>Refuse</button></p>
</form>
{{end}}</html>
`))

// A devicePageData is what differs from one devicePage to the next.
type devicePageData struct{ Code, User, Problem, Done string }

// serveDevicePage is GET and POST /device: a form, and what came of it.
func (s *Server) serveDevicePage(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	err := r.ParseForm()
	s.delay(r)
	status := http.StatusOK
	data := devicePageData{Code: r.Form.Get("user_code"), User: r.Form.Get("user")}
	if r.Method == http.MethodPost {
		if err != nil {
			data.Problem = "The form cannot be read."
		} else {
			data.Done, data.Problem = s.decide(data.Code, data.User, r.Form.Get("decision"))
		}
	}
	if data.Problem != "" {
		status = http.StatusBadRequest
	}
	writePage(w, status, devicePage, data)
}

// writePage answers with a page that may load nothing, and be embedded nowhere.
func writePage(w http.ResponseWriter, status int, t *template.Template, data any) {
	var page bytes.Buffer
	if err := t.Execute(&page, data); err != nil {
		panic(err) // text in a buffer
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // RFC 8628, section 5.4
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the client may be gone
}

// decide is [Server.Approve] for the device code that belongs to userCode, and returns
// what to tell the person: what was done, or why nothing was.
func (s *Server) decide(userCode, user, decision string) (done, problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l *login
	for _, waiting := range s.logins.devices {
		if plainCode(waiting.userCode) == plainCode(userCode) {
			l = waiting
		}
	}
	switch {
	case l == nil:
		return "", "No device waits with this code."
	case !s.options.now().Before(l.expiry):
		return "", "The code has expired. Start again at the device."
	case l.decided:
		return "", "Somebody has decided already. Start again at the device."
	case decision == "refuse":
		user = ""
		done = "Refused. The device gets no tokens."
	case decision != "approve":
		return "", "Press one of the two buttons."
	case user == "":
		return "", "Say who you are."
	default:
		done = "Approved. The device is logged in as " + user + "."
	}
	l.decided, l.user = true, user
	return done, ""
}

// plainCode is a user code as it is compared: people leave out the dash, and write small
// letters (RFC 8628, section 6.1).
func plainCode(code string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToUpper(code))
}
