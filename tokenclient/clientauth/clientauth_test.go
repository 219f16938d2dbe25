package clientauth_test

import (
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
)

// TestPlainBasic: id and secret go as they are, where ClientSecretBasic encodes them.
func TestPlainBasic(t *testing.T) {
	for _, c := range []struct {
		id, secret string
		same       bool // as ClientSecretBasic
	}{
		{"app", "secret", true},
		{"app-1_x.y", "Abc-123_x.y", true},
		{"my app", "a+b c/%ü=", false},
		{"app", "with:colon", false},
		{"app", "%41", false},
	} {
		form, header := authenticated(t, clientauth.PlainBasic(c.id, c.secret))
		want := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(c.id+":"+c.secret))}}
		if len(form) != 0 || !reflect.DeepEqual(header, want) {
			t.Errorf("%s: form %v, header %v, want %v", c.id, form, header, want)
		}
		r := http.Request{Header: header}
		if id, secret, ok := r.BasicAuth(); id != c.id || secret != c.secret || !ok {
			t.Errorf("a server reads %q and %q", id, secret)
		}
		_, encoded := authenticated(t, tokenclient.ClientSecretBasic(c.id, c.secret))
		if same := reflect.DeepEqual(header, encoded); same != c.same {
			t.Errorf("%s, %s: same as ClientSecretBasic: %v", c.id, c.secret, same)
		}
	}
}

// TestPlainBasicInAnAnswer: a server that quotes the secret gets it into no error.
func TestPlainBasicInAnAnswer(t *testing.T) {
	const secret = "planted/+:secret %41 0123456789"
	for _, said := range []string{secret, base64.StdEncoding.EncodeToString([]byte("app:" + secret)), url.QueryEscape(secret)} {
		e := newEndpoint(t, func(w http.ResponseWriter, _ url.Values, _ int) {
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "no such secret: " + said})
		})
		_, err := e.session(t, clientauth.PlainBasic("app", secret)).Refresh(t.Context())
		if err == nil || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), said) {
			t.Errorf("error %v", err)
		}
	}
}

func TestMutualTLS(t *testing.T) {
	form, header := authenticated(t, clientauth.MutualTLS("app"))
	if want := (url.Values{"client_id": {"app"}}); !reflect.DeepEqual(form, want) || len(header) != 0 {
		t.Errorf("form %v, header %v", form, header)
	}
}

func TestNoClient(t *testing.T) {
	form, header := authenticated(t, clientauth.NoClient())
	if len(form) != 0 || len(header) != 0 {
		t.Errorf("form %v, header %v", form, header)
	}
}

// plantedKey is a key that package fmt would print: it is no pointer.
type plantedKey struct {
	ed25519.PrivateKey
	Note string
}

// TestPrintsNoSecret tries all verbs on what the functions return, wherever it is.
func TestPrintsNoSecret(t *testing.T) {
	seed := []byte("planted-seed-of-exactly-32-bytes")
	key := plantedKey{ed25519.NewKeyFromSeed(seed), plantedSecret}
	for want, auth := range map[string]tokenclient.ClientAuth{
		`PrivateKeyJWT("app")`:   clientauth.PrivateKeyJWT("app", key, nil),
		`PrivateKeyJWT("wrong")`: clientauth.PrivateKeyJWT("wrong", key, &clientauth.JWTOptions{Algorithm: "x"}),
		`ClientSecretJWT("app")`: clientauth.ClientSecretJWT("app", plantedSecret, nil),
		`PlainBasic("app")`:      clientauth.PlainBasic("app", plantedSecret),
		`MutualTLS("app")`:       clientauth.MutualTLS("app"),
		`NoClient()`:             clientauth.NoClient(),
	} {
		type hidden struct{ a tokenclient.ClientAuth }
		refresher := &tokenclient.OAuth2Refresher{TokenURL: tokenURL, ClientAuth: auth}
		for _, v := range []any{auth, hidden{auth}, &hidden{auth}, []tokenclient.ClientAuth{auth}, refresher} {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "%U", "%p", "%t"} {
				if s := fmt.Sprintf(verb, v); shows(s, seed) {
					t.Errorf("%s of %T: %s", verb, v, s)
				}
			}
			if b, err := json.Marshal(v); err != nil || shows(string(b), seed) {
				t.Errorf("JSON of %T: %s, %v", v, b, err)
			}
		}
		if got := fmt.Sprint(auth); got != want {
			t.Errorf("printed as %s, want %s", got, want)
		}
		if got, want := fmt.Sprint(refresher), "OAuth2Refresher{auth.example.com/token, "+want+"}"; got != want {
			t.Errorf("printed as %s, want %s", got, want)
		}
	}
	// The control: without a closure around it the key is there to see.
	if s := fmt.Sprintf("%s %d", struct{ k crypto.Signer }{key}, struct{ k crypto.Signer }{key}); !shows(s, seed) {
		t.Errorf("the search finds nothing: %s", s)
	}
}

// shows reports whether s has the planted secret or the seed in it, as text, in
// hexadecimal, in base64 or as numbers.
func shows(s string, seed []byte) bool {
	numbers := strings.Trim(fmt.Sprint(seed[:8]), "[]")
	for _, secret := range []string{"planted", hex.EncodeToString([]byte("planted")), base64.StdEncoding.EncodeToString(seed)[:10], numbers} {
		if strings.Contains(strings.ToLower(s), strings.ToLower(secret)) {
			return true
		}
	}
	return false
}
