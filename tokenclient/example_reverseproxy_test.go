package tokenclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A gateway: a reverse proxy that puts the token of whoever is logged in on requests to
// an API. ReverseProxy.Rewrite with SetURL has the API told its own name, whatever name
// the browser used for the gateway.
//
// NewSingleHostReverseProxy passes the browser's Host header on, and with it the choice
// of the virtual host that gets to see the token. With a Transport of this package that
// is an error, which ReverseProxy's ErrorHandler gets, unless Config.Hosts lists the
// name.
func ExamplePool_Transport_reverseProxy() {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own := r.Host == r.Context().Value(http.LocalAddrContextKey).(fmt.Stringer).String()
		fmt.Fprintf(w, "%s; Host is the API's: %v", r.Header.Get("Authorization"), own)
	}))
	defer api.Close()
	target, err := url.Parse(api.URL)
	if err != nil {
		log.Fatal(err)
	}

	everybody := tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api.URL + "/token/refresh"},
		Origins:   []string{api.URL},
	}
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store:  new(store.Memory), // a store.File or store.Shared in earnest
		Config: func(context.Context, string) (tokenclient.Config, error) { return everybody, nil },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	session, err := pool.Session(ctx, "alice")
	if err != nil {
		log.Fatal(err)
	}
	if err := session.SetToken(ctx, &tokenclient.Token{AccessToken: "alice's token"}); err != nil { // after her login
		log.Fatal(err)
	}

	failed := func(w http.ResponseWriter, _ *http.Request, err error) {
		if errors.Is(err, tokenclient.ErrLoginRequired) {
			http.Error(w, "log in", http.StatusUnauthorized)
			return
		}
		http.Error(w, "not sent", http.StatusBadGateway) // and log err
	}
	good := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Cookie")        // the gateway's own
			r.Out.Header.Del("Authorization") // a browser has no say in it
		},
		Transport:    pool.Transport(nil),
		ErrorHandler: failed,
	}
	bad := httputil.NewSingleHostReverseProxy(target)
	bad.Transport, bad.ErrorHandler = pool.Transport(nil), failed

	for _, proxy := range []*httputil.ReverseProxy{good, bad} {
		user := "alice" // whom the gateway knows by its cookie
		req := httptest.NewRequestWithContext(tokenclient.WithKey(ctx, user), http.MethodGet, "http://gateway.example/things", nil)
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, req)
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d %s\n", answer.Code, body)
	}
	if err := pool.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 200 Bearer alice's token; Host is the API's: true
	// 502 not sent
}
