package tokentest_test

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// http2 runs test over TLS and in a bubble over h2c.
func http2(t *testing.T, test func(t *testing.T, srv *tokentest.Server)) {
	t.Run("TLS", func(t *testing.T) { test(t, tokentest.NewServer(t, &tokentest.Options{HTTP2: true})) })
	t.Run("h2c", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			test(t, tokentest.NewServer(t, &tokentest.Options{HTTP2: true, InMemory: true}))
		})
	})
}

func TestHTTP2(t *testing.T) {
	http2(t, func(t *testing.T, srv *tokentest.Server) {
		r := (&sessiontest.Rig{Server: srv}).Another(t, nil)
		r.Login(t)
		srv.RevokeAccess("alice")
		client := r.Client
		body := strings.Repeat("x", 1<<20)
		resp, err := client.Post(srv.URL+"/api/", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
			t.Errorf("%s %s", resp.Proto, resp.Status)
		}
		// A cut resets the stream; the connection lives on.
		srv.FailAPI(1, tokentest.Fault{Cut: true})
		if resp, err := client.Post(srv.URL+"/api/", "text/plain", strings.NewReader("x")); err == nil {
			resp.Body.Close()
			t.Errorf("a cut answer is %s", resp.Status)
		}
		if resp, err = client.Get(srv.URL + "/api/"); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := tokentest.Counters{Refreshes: 1, Requests: 4, Unauthorized: 1}
		if got := srv.Counters(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if wantTLS := strings.HasPrefix(srv.URL, "https://127.0.0.1:"); wantTLS != (resp.TLS != nil) {
			t.Errorf("URL %s, TLS %v", srv.URL, resp.TLS != nil)
		}
	})
}

// Who speaks HTTP/1.1 is served as well, if the certificate is trusted.
func TestHTTP2ServesHTTP1(t *testing.T) {
	http2(t, func(t *testing.T, srv *tokentest.Server) {
		wired := srv.Client().Transport.(*http.Transport)
		own := &http.Transport{DialContext: wired.DialContext}
		if wired.TLSClientConfig != nil {
			own.TLSClientConfig = &tls.Config{RootCAs: wired.TLSClientConfig.RootCAs}
		}
		defer own.CloseIdleConnections()
		resp, err := (&http.Client{Transport: own}).Get(srv.URL + "/api/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.ProtoMajor != 1 || resp.StatusCode != 401 {
			t.Errorf("%s %s", resp.Proto, resp.Status)
		}
	})
}

func TestHTTP2Close(t *testing.T) {
	http2(t, func(t *testing.T, srv *tokentest.Server) { closeWhileHeld(t, srv, 1)() })
}

func TestHTTP2OverAListener(t *testing.T) {
	l := listen(t, ":0")
	srv, err := tokentest.Start(l, &tokentest.Options{HTTP2: true})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	if !strings.HasPrefix(srv.URL, "https://localhost:") {
		t.Errorf("URL %s", srv.URL)
	}
	wantStatus(t, "over a listener", get(t, srv, srv.Issue("alice").AccessToken), 200)
}

// An hour in a bubble takes no time over HTTP/2 either.
func TestHTTP2InABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := tokentest.NewServer(t, &tokentest.Options{HTTP2: true, InMemory: true})
		access := srv.Issue("alice").AccessToken
		wantStatus(t, "at first", get(t, srv, access), 200)
		time.Sleep(time.Hour)
		wantStatus(t, "after an hour", get(t, srv, access), 401)
	})
}
