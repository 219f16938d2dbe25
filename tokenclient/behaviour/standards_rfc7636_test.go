package behaviour_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"regexp"
	"testing"
)

// s256 is RFC 7636, section 4.2, from appendix A: base64url without padding.
func s256(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TestRFC7636AppendixB is the vector by which s256, with which the other test judges, is
// right.
func TestRFC7636AppendixB(t *testing.T) {
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	if got := s256(verifier); got != challenge {
		t.Errorf("%s, want %s", got, challenge)
	}
	octets := []byte{
		116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173,
		187, 186, 22, 212, 37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83,
		132, 141, 121,
	}
	if got := base64.RawURLEncoding.EncodeToString(octets); got != verifier {
		t.Errorf("%s, want %s", got, verifier)
	}
}

// TestRFC7636Requests: each login has a verifier of its own (section 4.1, 7.1), whose
// challenge by S256 is in the authorization request (4.2, 4.3), and which is in the token
// request (4.5).
func TestRFC7636Requests(t *testing.T) {
	form := regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)
	seen := map[string]bool{}
	for range 5 {
		w := &rfcWire{answers: []string{rfc6749Answer}}
		asked, err := browserLogin(t, w, nil, withState("?code=SplxlOBeZQQYbYS6WxSbIA&state=xyz"))
		if err != nil {
			t.Fatal(err)
		}
		sent, _ := url.ParseQuery(w.got()[0].form)
		verifier := sent.Get("code_verifier")
		if !form.MatchString(verifier) || seen[verifier] {
			t.Errorf("the verifier is %q", verifier)
		}
		seen[verifier] = true
		if asked.Get("code_challenge") != s256(verifier) || asked.Get("code_challenge_method") != "S256" {
			t.Errorf("asked with %v, of the verifier %s", asked, verifier)
		}
		w.wantSent(t, "RFC 6749, 4.1.3, with 4.5", `
POST /token HTTP/1.1
Host: server.example.com
Content-Type: application/x-www-form-urlencoded

grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA
&redirect_uri=`+url.QueryEscape(asked.Get("redirect_uri"))+`&client_id=s6BhdRkqt3
&code_verifier=`+verifier)
	}
}

// TestRFC7636Refused: a server that wants another challenge says so (section 4.4.1), and
// nothing else is tried (7.2).
func TestRFC7636Refused(t *testing.T) {
	w := &rfcWire{answers: []string{rfc6749Answer}}
	_, err := browserLogin(t, w, nil, withState("?error=invalid_request&error_description=transform%20algorithm%20not%20supported&state=xyz"))
	if err == nil || err.Error() != "login: the authorization server answered invalid_request (transform algorithm not supported)" || len(w.got()) != 0 {
		t.Errorf("%v after %v", err, w.got())
	}
}
