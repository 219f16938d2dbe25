package tokentest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// codeLifetime is how long a login may take, by the server's clock.
const codeLifetime = time.Minute

// logins are those that began at /oauth/authorize or /oauth/device.
type logins struct {
	decided bool              // somebody called Approve
	user    string            // who approves; empty: refused
	codes   map[string]*login // by authorization code
	devices map[string]*login // by device code
}

// A login is what the server remembers until it gives tokens for it.
type login struct {
	client      string
	expiry      time.Time // by the server's clock
	user        string    // who approved; empty: refused
	strength    strength
	userCode    string  // this and what follows: device codes only
	decided     bool    // user was, at the verification_uri; else Approve decides
	redirectURI string  // as the client wrote it; this and what follows: codes only
	challenge   string  // of PKCE
	jkt         string  // of the key that is to have the tokens (RFC 9449, section 10); "": of any
	family      *family // of the tokens that it bought; nil: none yet
}

// Approve plays the person at the browser: user approves every device code that
// waits, and every login at /oauth/authorize and /oauth/device from now on. An
// empty user refuses them. The user need not be known. Until the first call device codes
// wait, and /oauth/authorize asks: a browser, whose Accept names text/html, gets a page
// with two buttons, and others a 403, as there is nobody to ask. A person can decide about
// one device code at its verification_uri; what was decided there stays.
func (s *Server) Approve(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins.decided, s.logins.user = true, user
}

// serveAuthorize is GET and POST /oauth/authorize, with PKCE (RFC 7636), which public
// clients need (RFC 9700, section 2.1.1) and others may as well use. The POST is that of the
// page, at the same URL. Each answer says who gives it (RFC 9207).
func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	here, problem := s.readDecision(w, r)
	if r.Method == http.MethodGet {
		s.countLogin()
	}
	s.delay(r)
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || !back.IsAbs() || q.Get("client_id") == "" {
		// There is no place to send the browser to: RFC 6749, section 4.1.2.1.
		refusal(http.StatusBadRequest, "invalid_request", "client_id or an absolute redirect_uri missing").write(w)
		return
	}
	out := back.Query()
	code, refused, description := s.authorize(q, here)
	switch {
	case refused != "":
		out.Set("error", refused)
		out.Set("error_description", description)
	case code == "" && strings.Contains(r.Header.Get("Accept"), "text/html"):
		serveAuthorizePage(w, q.Get("client_id"), problem)
		return
	case code == "":
		refusal(http.StatusForbidden, "access_denied", "nobody is there to approve: the test must call Server.Approve").write(w)
		return
	default:
		out.Set("code", code)
	}
	if state := q.Get("state"); state != "" {
		out.Set("state", state)
	}
	out.Set("iss", s.URL)
	back.RawQuery = out.Encode()
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, back.String(), http.StatusFound)
}

// authorize returns a code, or the error to send back, or neither if nobody has
// decided yet. here is what was decided for this login alone, nil if nothing was.
func (s *Server) authorize(q url.Values, here *decision) (code, refused, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.logins
	decided, user := l.decided, l.user
	if here != nil {
		decided, user = true, here.user
	}
	switch {
	case q.Get("response_type") != "code":
		return "", "unsupported_response_type", "only code"
	case q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "":
		return "", "invalid_request", "code_challenge with the code_challenge_method S256 missing"
	case !decided:
		return "", "", ""
	case user == "":
		return "", "access_denied", "the user refused"
	}
	if l.codes == nil {
		l.codes = map[string]*login{}
	}
	code = rand.Text()
	l.codes[code] = &login{
		client: q.Get("client_id"), redirectURI: q.Get("redirect_uri"), challenge: q.Get("code_challenge"),
		user: user, expiry: s.options.now().Add(codeLifetime), jkt: q.Get("dpop_jkt"),
		strength: s.strengthLocked(q),
	}
	return code, "", ""
}

// redeem answers a call of /oauth/token that is no refresh.
func (s *Server) redeem(client string, form url.Values, jkt string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch form.Get("grant_type") {
	case "authorization_code":
		return s.redeemCodeLocked(client, form, jkt)
	case deviceGrant:
		return s.redeemDeviceLocked(client, form.Get("device_code"), jkt)
	case "client_credentials":
		if client == "" {
			return refusal(http.StatusBadRequest, "invalid_request", "client_id missing")
		}
		return s.pairLocked(&family{id: rand.Text(), user: client, jkt: jkt, strength: s.strengthLocked(form)}, false)
	case "":
		return refusal(http.StatusBadRequest, "invalid_request", "grant_type missing")
	default:
		return refusal(http.StatusBadRequest, "unsupported_grant_type", "only refresh_token, authorization_code, client_credentials and "+deviceGrant)
	}
}

// redeemCodeLocked is RFC 6749, section 4.1.3, and RFC 7636, section 4.6.
func (s *Server) redeemCodeLocked(client string, form url.Values, jkt string) answer {
	l := s.logins.codes[form.Get("code")]
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	why := ""
	switch {
	case l == nil:
		why = "not a code of this server"
	case l.family != nil: // RFC 6749, section 4.1.2
		l.family.revoked = true
		why = "the code was used before; its tokens are revoked"
	case !s.options.now().Before(l.expiry):
		why = "the code expired"
	case l.client != client:
		why = "the code is another client's"
	case l.redirectURI != form.Get("redirect_uri"):
		why = "redirect_uri is another one than at /oauth/authorize"
	case l.challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
		why = "code_verifier does not fit the code_challenge"
	case l.jkt != "" && l.jkt != jkt: // RFC 9449, section 10
		why = "the code is bound to another key"
	default:
		l.family = &family{id: rand.Text(), user: l.user, jkt: jkt, strength: l.strength}
		return s.pairLocked(l.family, true)
	}
	return refusal(http.StatusBadRequest, "invalid_grant", why)
}

// clientID returns who the client says it is, in the form or by HTTP Basic.
func clientID(r *http.Request, form url.Values) string {
	if id, _, ok := r.BasicAuth(); ok {
		id, _ = url.QueryUnescape(id) // RFC 6749, section 2.3.1
		return id
	}
	return form.Get("client_id")
}

func (s *Server) countLogin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counters.Logins++
}
