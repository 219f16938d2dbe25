package tokenclient_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"reflect"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

func TestClientAuth(t *testing.T) {
	basic := func(pair string) http.Header {
		return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}}
	}
	for _, c := range []struct {
		name   string
		auth   tokenclient.ClientAuth
		form   url.Values
		header http.Header
	}{
		{"public", tokenclient.PublicClient("app"), url.Values{"client_id": {"app"}}, http.Header{}},
		{"post", tokenclient.ClientSecretPost("app", "a+b c"), url.Values{"client_id": {"app"}, "client_secret": {"a+b c"}}, http.Header{}},
		{"basic", tokenclient.ClientSecretBasic("app", "secret"), url.Values{}, basic("app:secret")},
		// RFC 6749, section 2.3.1: form-urlencoded before it is joined, so that a
		// colon in the id does no harm.
		{"basic, escaped", tokenclient.ClientSecretBasic("my:app", "a+b c/%ü"), url.Values{}, basic("my%3Aapp:a%2Bb+c%2F%25%C3%BC")},
		{"basic, no secret", tokenclient.ClientSecretBasic("app", ""), url.Values{}, basic("app:")},
	} {
		form, header := url.Values{}, http.Header{}
		if err := c.auth.Authenticate(t.Context(), "https://auth.example.com/token", form, header); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !reflect.DeepEqual(form, c.form) || !reflect.DeepEqual(header, c.header) {
			t.Errorf("%s: form %v, header %v; want %v, %v", c.name, form, header, c.form, c.header)
		}
	}
}

func TestClientAuthWithoutID(t *testing.T) {
	for _, auth := range []tokenclient.ClientAuth{
		tokenclient.PublicClient(""), tokenclient.ClientSecretBasic("", "x"), tokenclient.ClientSecretPost("", "x"),
	} {
		if err := auth.Authenticate(t.Context(), "", url.Values{}, http.Header{}); err == nil {
			t.Errorf("%v: no error without an id", auth)
		}
	}
}
