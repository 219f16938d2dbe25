package discovery_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestWhereItAsks: the examples of RFC 8414, sections 3.1 and 5, and of OpenID Connect
// Discovery 1.0, section 4.1, in the order of the package documentation.
func TestWhereItAsks(t *testing.T) {
	for issuer, want := range map[string][]string{
		"https://example.com": {
			"https://example.com/.well-known/oauth-authorization-server",
			"https://example.com/.well-known/openid-configuration",
		},
		"https://example.com/": {
			"https://example.com/.well-known/oauth-authorization-server",
			"https://example.com/.well-known/openid-configuration",
		},
		"https://example.com/issuer1": {
			"https://example.com/.well-known/oauth-authorization-server/issuer1",
			"https://example.com/issuer1/.well-known/openid-configuration",
			"https://example.com/.well-known/openid-configuration/issuer1",
		},
		"https://example.com:8443/a/b%2Fc/": {
			"https://example.com:8443/.well-known/oauth-authorization-server/a/b%2Fc",
			"https://example.com:8443/a/b%2Fc/.well-known/openid-configuration",
			"https://example.com:8443/.well-known/openid-configuration/a/b%2Fc",
		},
	} {
		w := new(web)
		_, err := w.client().Find(t.Context(), issuer)
		wantErr(t, err, "status 404")
		if asked := w.requests(); !slices.Equal(asked, want) {
			t.Errorf("%s: asked %q, want %q", issuer, asked, want)
		}
		for i, at := range want {
			w := new(web)
			w.set(at, page{body: `{"issuer":` + quote(issuer) + `,"token_endpoint":"https://example.com/token"}`})
			if _, err := w.client().Find(t.Context(), issuer); err != nil || len(w.requests()) != i+1 {
				t.Errorf("%s at %s: %v", issuer, at, err)
			}
		}
	}
}

// TestServer: over real HTTP, without a cache.
func TestServer(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{ClientSecret: "x"})
	md, err := discovery.Find(t.Context(), srv.URL)
	if err != nil || md.TokenEndpoint != srv.URL+"/oauth/token" || md.RevocationEndpoint != srv.URL+"/oauth/revoke" ||
		!slices.Contains(md.TokenAuthMethods, "client_secret_post") {
		t.Errorf("%+v, %v", md, err)
	}
	new(tokenclient.Transport).CloseIdleConnections()
}

// TestRedirects: they are followed within an origin, and nowhere else.
func TestRedirects(t *testing.T) {
	other := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { other++ }))
	defer elsewhere.Close()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	answer := func(path, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) })
	}
	lead := func(from, to string) { mux.Handle(from, http.RedirectHandler(to, http.StatusFound)) }
	metadata := func(issuer string) string {
		return `{"issuer":` + quote(issuer) + `,"token_endpoint":` + quote(srv.URL+"/token") + `}`
	}
	lead("/.well-known/oauth-authorization-server/near", "/metadata?key=secret")
	answer("/metadata", metadata(srv.URL+"/near"))
	lead("/.well-known/oauth-authorization-server/far", elsewhere.URL+"/metadata?key=secret")
	lead("/.well-known/oauth-authorization-server/loop", "/.well-known/oauth-authorization-server/loop")
	lead("/.well-known/oauth-authorization-server/there", elsewhere.URL)
	answer("/there/.well-known/openid-configuration", metadata(srv.URL+"/there"))

	client := &discovery.Client{HTTPClient: srv.Client()}
	if md, err := client.Find(t.Context(), srv.URL+"/near"); err != nil || md.Issuer != srv.URL+"/near" {
		t.Errorf("near: %v", err)
	}
	if md, err := client.Find(t.Context(), srv.URL+"/there"); err != nil || md.Issuer != srv.URL+"/there" {
		t.Errorf("there: %v", err)
	}
	_, err := client.Find(t.Context(), srv.URL+"/far")
	wantErr(t, err, "redirected to another origin: "+elsewhere.URL, "status 404")
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	_, err = client.Find(t.Context(), srv.URL+"/loop")
	wantErr(t, err, "redirected more than 5 times")
	if other != 0 {
		t.Error("another origin was asked")
	}
	if client.HTTPClient.CheckRedirect != nil {
		t.Error("the caller's client was changed")
	}
}

// TestAnswersOnTheWire: what is compressed is read, as far as its length goes; what is
// cut is not.
func TestAnswersOnTheWire(t *testing.T) {
	compressed := func(s string) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	bomb := compressed(strings.Repeat(" ", 1<<20))
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	serve := func(name string, h http.HandlerFunc) {
		mux.HandleFunc("/.well-known/oauth-authorization-server/"+name, h)
	}
	metadata := func(name string) string {
		return `{"issuer":` + quote(srv.URL+"/"+name) + `,"token_endpoint":` + quote(srv.URL+"/token") + `}`
	}
	serve("gzip", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "application/json" {
			t.Errorf("Accept: %q", r.Header.Get("Accept"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(compressed(metadata("gzip")))
	})
	serve("bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb)
	})
	serve("cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, metadata("cut"))
	})
	serve("endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 4096))
		}
	})
	serve("silent", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/silent/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, metadata("silent")) })
	client := &discovery.Client{HTTPClient: srv.Client()}
	if _, err := client.Find(t.Context(), srv.URL+"/silent"); err != nil {
		t.Errorf("a 404 without an end: %v", err)
	}
	if _, err := client.Find(t.Context(), srv.URL+"/gzip"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"/bomb", "/endless"} {
		_, err := client.Find(t.Context(), srv.URL+name)
		wantErr(t, err, "the answer is longer than 262144 bytes")
	}
	_, err := client.Find(t.Context(), srv.URL+"/cut")
	wantErr(t, err, "the answer broke off")
}

// TestLifetime: how long an answer is kept.
func TestLifetime(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"":                                       time.Hour,
		"Cache-Control: max-age=600":             10 * time.Minute,
		"Cache-Control: public, MAX-AGE=\"600\"": 10 * time.Minute,
		"Cache-Control: public\nCache-Control: max-age=600": 10 * time.Minute,
		"Cache-Control: max-age=5":                          time.Minute,
		"Cache-Control: max-age=0":                          time.Minute,
		"Cache-Control: no-store":                           time.Minute,
		"Cache-Control: private, no-cache":                  time.Minute,
		"Cache-Control: max-age=31536000, immutable":        24 * time.Hour,
		"Cache-Control: max-age=99999999999999999999":       24 * time.Hour,
		"Cache-Control: max-age=soon":                       time.Minute,
		"Cache-Control: max-age":                            time.Minute,
		"Cache-Control: max-age=-1":                         time.Minute,
		"Cache-Control: s-maxage=600":                       time.Hour,
		"Expires: Thu, 01 Jan 1970 00:00:00 GMT":            time.Hour,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := oneServer(header, good)
			client := w.client()
			asked := func() int {
				if _, err := client.Find(t.Context(), issuer); err != nil {
					t.Error(err)
				}
				return len(w.requests())
			}
			first := asked()
			time.Sleep(want - time.Nanosecond)
			second := asked()
			time.Sleep(time.Nanosecond)
			if third := asked(); first != 1 || second != 0 || third != 1 {
				t.Errorf("%q: asked %d, %d, %d times around %v", header, first, second, third, want)
			}
		})
	}
}

// TestStale: a page that is down is not what a refresh depends on, for a day.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const at = issuer + "/.well-known/oauth-authorization-server"
		w := oneServer("", good)
		client := w.client()
		find := func() error {
			md, err := client.Find(t.Context(), issuer)
			if err == nil && md.TokenEndpoint != issuer+"/token" {
				t.Errorf("%+v", md)
			}
			return err
		}
		if err := find(); err != nil {
			t.Fatal(err)
		}
		w.set(at, page{body: strings.Replace(good, "auth.", "evil.", 1)})
		time.Sleep(time.Hour)
		w.requests()
		for range 60 {
			if err := find(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if asked := w.requests(); len(asked) != 2 { // both places, once
			t.Errorf("asked %q in a minute", asked)
		}
		time.Sleep(23*time.Hour - 61*time.Second)
		if err := find(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		wantErr(t, find(), "the issuer in it is")
		w.set(at, page{body: good})
		if err := find(); err != nil {
			t.Error(err)
		}
	})
}

// TestStaleWhileItHangs: nor does a refresh depend on a page that says nothing. One waits
// for it, as long as it may, once a minute.
func TestStaleWhileItHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := oneServer("", good)
		client := w.client()
		find := func(patience time.Duration) time.Duration {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			if _, err := client.Find(ctx, issuer); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		find(time.Hour)
		w.wait = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		for _, patience := range []time.Duration{2 * time.Second, time.Hour} {
			time.Sleep(time.Hour)
			var first sync.WaitGroup
			first.Go(func() {
				if took := find(patience); took != min(patience, 10*time.Second) {
					t.Errorf("the first waited for %v", took)
				}
			})
			synctest.Wait()
			for range 10 {
				if took := find(time.Second); took != 0 {
					t.Errorf("one more waited for %v", took)
				}
			}
			first.Wait()
			if took := find(time.Second); took != 0 {
				t.Errorf("the next waited for %v", took)
			}
		}
	})
}

// TestFailuresAreNotRemembered: who asks again gets another answer.
func TestFailuresAreNotRemembered(t *testing.T) {
	w := new(web)
	client := w.client()
	_, err := client.Find(t.Context(), issuer)
	wantErr(t, err, "status 404")
	w.set(issuer+"/.well-known/oauth-authorization-server", page{body: good})
	if _, err := client.Find(t.Context(), issuer); err != nil {
		t.Error(err)
	}
}

// TestOneCall: those who ask at the same time share one call, also one that fails.
func TestOneCall(t *testing.T) {
	for _, body := range []string{good, "x"} {
		synctest.Test(t, func(t *testing.T) {
			w := oneServer("", body)
			w.wait = func(context.Context) error { time.Sleep(time.Second); return nil }
			client := w.client()
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if _, err := client.Find(t.Context(), issuer); (err == nil) != (body == good) {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if asked := w.requests(); len(asked) > 2 {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

// TestWaitersLeave: each waits with its own context. If the one leaves whose call it is,
// another takes it up, and its result is not the one of who left.
func TestWaitersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := oneServer("", good)
		w.wait = func(ctx context.Context) error {
			select {
			case <-time.After(5 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		client := w.client()
		began := time.Now()
		var all sync.WaitGroup
		find := func(patience time.Duration, is error) {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := client.Find(ctx, issuer)
				if !errors.Is(err, is) || is != nil && time.Since(began) != patience {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				if err != nil && !strings.Contains(err.Error(), issuer) {
					t.Errorf("%v does not say what was asked for", err)
				}
			})
			synctest.Wait()
		}
		find(2*time.Second, context.DeadlineExceeded) // its call
		find(time.Second, context.DeadlineExceeded)
		find(time.Hour, nil)
		find(time.Hour, nil)
		all.Wait()
		if asked := w.requests(); len(asked) != 2 || time.Since(began) != 7*time.Second {
			t.Errorf("asked %q, %v", asked, time.Since(began))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := client.Find(ended, issuer+"/other"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// TestServerHangs: nobody waits for longer than 10 seconds for a server that says
// nothing, no other place is asked then, and the connection is not left to the next call.
func TestServerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &web{wait: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		began := time.Now()
		client := w.client()
		_, err := client.Find(t.Context(), issuer)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second || len(w.requests()) != 1 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if w.last.Close {
			t.Error("the first call wants a connection to itself")
		}
		if _, err := client.Find(t.Context(), issuer); err == nil || !w.last.Close {
			t.Errorf("the next call: error %v, Close %v", err, w.last.Close)
		}
	})
}

// TestPanic: a Transport that panics leaves nobody waiting.
func TestPanic(t *testing.T) {
	w := oneServer("", good)
	w.wait = func(context.Context) error { panic("broken") }
	client := w.client()
	func() {
		defer func() { _ = recover() }()
		_, _ = client.Find(t.Context(), issuer)
	}()
	w.wait = nil
	if _, err := client.Find(t.Context(), issuer); err != nil {
		t.Error(err)
	}
}

// TestBound: of very many issuers the hundred are kept whose time is not over.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(web)
		client := w.client()
		find := func(i int) (asked int) {
			name := fmt.Sprintf("%s/%d", issuer, i)
			w.set(fmt.Sprintf("%s/.well-known/oauth-authorization-server/%d", issuer, i),
				page{body: `{"issuer":` + quote(name) + `,"token_endpoint":"https://auth.example.com/token"}`})
			if _, err := client.Find(t.Context(), name); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
			return len(w.requests())
		}
		for i := range 150 {
			find(i)
		}
		for i := range 100 {
			if find(149-i) != 0 {
				t.Errorf("issuer %d was forgotten", 149-i)
			}
		}
		if find(49) != 1 || find(50) != 1 {
			t.Error("more than a hundred were kept")
		}
	})
}

// TestOwnClient: a session's own client needs no token in order to find out where tokens
// are.
func TestOwnClient(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return nil, errors.New("not asked")
		}),
		Origins: []string{srv.URL},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(t.Context()) }()
	client := &discovery.Client{HTTPClient: session.Wrap(srv.Client())}
	if _, err := client.Find(t.Context(), srv.URL); err != nil {
		t.Error(err)
	}
}
