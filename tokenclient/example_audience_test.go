package tokenclient_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Two APIs, for each of which the server issues tokens of its own by "resource" (RFC 8707),
// and one login with one refresh token.
func ExampleAudience() {
	n := 1
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("server: refresh token", r.FormValue("refresh_token"), "for", r.FormValue("resource"))
		n++
		fmt.Fprintf(w, `{"access_token":"%s-%d","refresh_token":"refresh-%[2]d","expires_in":900}`, r.FormValue("resource"), n)
	}))
	defer auth.Close()
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Authorization")) })
	mail, files := httptest.NewServer(api), httptest.NewServer(api)
	defer mail.Close()
	defer files.Close()

	refresher := func(resource string) *tokenclient.OAuth2Refresher {
		return &tokenclient.OAuth2Refresher{
			TokenURL: auth.URL, ClientAuth: tokenclient.PublicClient("my-app"), Params: url.Values{"resource": {resource}},
		}
	}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: refresher("mail"), Origins: []string{mail.URL},
		Audiences: []tokenclient.Audience{{Name: "files", Refresher: refresher("files"), Origins: []string{files.URL}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer session.Close(ctx)
	if err := session.SetToken(ctx, &tokenclient.Token{RefreshToken: "refresh-1"}); err != nil {
		fmt.Println(err)
		return
	}
	client := session.Client()
	for _, to := range []*httptest.Server{mail, files, mail} {
		resp, err := client.Get(to.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		var got [64]byte
		length, _ := resp.Body.Read(got[:])
		_ = resp.Body.Close()
		fmt.Println("API:", string(got[:length]))
	}
	// Output:
	// server: refresh token refresh-1 for mail
	// API: Bearer mail-2
	// server: refresh token refresh-2 for files
	// API: Bearer files-3
	// API: Bearer mail-2
}
