package clients_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-retryablehttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"k8s.io/client-go/third_party/forked/httpcache"
)

const (
	retryableModule = "github.com/hashicorp/go-retryablehttp"
	otelModule      = "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	quicModule      = "github.com/quic-go/quic-go"
)

// layerRows are about transports above and below the session's, and other ways to the API.
var layerRows = []clientRow{
	{"hashicorp/go-retryablehttp, below", retryableModule, "`bytes.Reader`", whole, whole, "`session.Transport(&retryablehttp.RoundTripper{Client: c})`, and `c.HTTPClient` follows no redirects", []int{2 * mib}, overLayer(below(retryable), plainBytes), 0},
	{"hashicorp/go-retryablehttp, below", retryableModule, "a pipe, up to `MaxReplayBody`", whole, whole, "the same", []int{900 * kib}, overLayer(below(retryable), pipe), 0},
	{"httpcache, as client-go keeps it, above", kubeModule, "a pipe, up to `MaxReplayBody`", whole, whole, "`httpcache.Transport{Transport: session.Transport(base)}`", []int{900 * kib}, overLayer(above(cache), pipe), 0},
	{"httpcache, as client-go keeps it, above", kubeModule, "an answer that is kept, refused when it is validated", whole, whole, "the same; a cache for each user", []int{100 * kib}, overCached(above(cache)), 0},
	{"httpcache, as client-go keeps it, below", kubeModule, "a pipe, up to `MaxReplayBody`", whole, whole, "`session.Transport(&httpcache.Transport{…})`", []int{900 * kib}, overLayer(below(cache), pipe), 0},
	{"httpcache, as client-go keeps it, below", kubeModule, "an answer that is kept, refused when it is validated", whole, whole, "the same; a cache for each user", []int{100 * kib}, overCached(below(cache)), 0},
	{"otelhttp, above", otelModule, "`bytes.Reader`", whole, whole, "`otelhttp.NewTransport(session.Transport(base))`", []int{2 * mib}, overLayer(above(otel), plainBytes), 0},
	{"otelhttp, above", otelModule, "a pipe, up to `MaxReplayBody`", whole, whole, "the same", []int{900 * kib}, overLayer(above(otel), pipe), 0},
	{"otelhttp, below", otelModule, "`bytes.Reader`", whole, whole, "`session.Transport(otelhttp.NewTransport(base))`", []int{2 * mib}, overLayer(below(otel), plainBytes), 0},
	{"otelhttp, below", otelModule, "a pipe, up to `MaxReplayBody`", whole, whole, "the same", []int{900 * kib}, overLayer(below(otel), pipe), 0},
	{"`httputil.ReverseProxy`", "", "a body that comes in, up to `MaxReplayBody`", whole, whole, "`Transport: session.Transport(base)`, and `Rewrite` deletes `Authorization`", []int{10, 900 * kib}, overReverseProxy(nil), 0},
	{"`httputil.ReverseProxy`", "", "a longer body that comes in", whole, whole, "the same, and `Transport.SpoolDir`", []int{2 * mib}, overReverseProxy(spool), 0},
	{"`httputil.ReverseProxy`", "", "a WebSocket that comes in, refused at the handshake", whole, whole, "as for a body that comes in", streamSizes, overStream(atStart, openWebSocketByProxy), 1},
	{"`httputil.ReverseProxy`", "", "a WebSocket that comes in and outlives its token", whole, whole, "the same", streamSizes, overStream(outlives, openWebSocketByProxy), 1},
	{"net/http by a proxy, `CONNECT`", "", "a pipe, up to `MaxReplayBody`", whole, whole, "`http.Transport.Proxy` of the base", []int{900 * kib}, overProxy, 2},
	{"`http3.Transport` of quic-go", quicModule, "`bytes.Reader`", whole, whole, "`session.Transport(&http3.Transport{…})`", []int{2 * mib}, overNetHTTP(nil, plainBytes), 3},
	{"`http3.Transport` of quic-go", quicModule, "a pipe, up to `MaxReplayBody`", whole, whole, "the same", []int{900 * kib}, overNetHTTP(nil, pipe), 3},
	{"`http3.Transport` of quic-go", quicModule, "a longer pipe", whole, whole, "the same, and `Transport.SpoolDir`", []int{2 * mib}, overNetHTTP(spool, pipe), 3},
	{"`http3.Transport` of quic-go", quicModule, "a stream that outlives its token", whole, whole, "the same", streamSizes, overStream(outlives, openHTTP), 3},
}

// A layer makes a transport of the one below it.
type layer = func(http.RoundTripper) http.RoundTripper

func above(l layer) func(*rig) http.RoundTripper {
	return func(r *rig) http.RoundTripper { return l(r.transport()) }
}

func below(l layer) func(*rig) http.RoundTripper {
	return func(r *rig) http.RoundTripper { return r.session.Transport(l(r.base)) }
}

func otel(next http.RoundTripper) http.RoundTripper { return otelhttp.NewTransport(next) }

func cache(next http.RoundTripper) http.RoundTripper {
	t := httpcache.NewMemoryCacheTransport()
	t.Transport = next
	return t
}

// retryable follows no redirects: a client below the session's transport would take the token
// along, past Config.Origins.
func retryable(next http.RoundTripper) http.RoundTripper {
	c := retryablehttp.NewClient()
	c.Logger = nil
	c.HTTPClient = &http.Client{Transport: next, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &retryablehttp.RoundTripper{Client: c}
}

func put(ctx context.Context, client *http.Client, url string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, body)
	if err != nil {
		return err
	}
	return judge(client.Do(req))
}

func overLayer(over func(*rig) http.RoundTripper, body func(*testing.T, []byte) (io.Reader, error)) func(*testing.T, *rig) sender {
	return func(t *testing.T, r *rig) sender {
		client := &http.Client{Transport: over(r)}
		return func(ctx context.Context, data []byte) error {
			b, err := body(t, data)
			if err != nil {
				return err
			}
			return put(ctx, client, r.url+"/sink", b)
		}
	}
}

// overCached gets an answer, and again when it has to be validated.
func overCached(over func(*rig) http.RoundTripper) func(*testing.T, *rig) sender {
	return func(_ *testing.T, r *rig) sender {
		var kept []byte
		r.mux.HandleFunc("/kept/", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("ETag", `"1"`)
			if req.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = w.Write(kept)
		})
		r.hits = func(req *http.Request) bool { return req.Header.Get("If-None-Match") != "" }
		client := &http.Client{Transport: over(r)}
		n := 0
		return func(ctx context.Context, data []byte) error {
			kept = data
			n++
			var got bytes.Buffer
			for range 2 {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/kept/%d", r.url, n), nil)
				if err != nil {
					return err
				}
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				got.Reset()
				_, err = got.ReadFrom(resp.Body)
				if err := errors.Join(err, judge(resp, nil)); err != nil {
					return err
				}
			}
			r.arrives(&got)
			return nil
		}
	}
}

// reverseProxy has the session.
func (r *rig) reverseProxy(t *testing.T, o setting) *httptest.Server {
	to, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Header.Del("Authorization")
		},
		Transport: r.clientWith(t, o).Transport,
	})
	t.Cleanup(proxy.Close)
	return proxy
}

func overReverseProxy(o setting) func(*testing.T, *rig) sender {
	return func(t *testing.T, r *rig) sender {
		proxy := r.reverseProxy(t, o)
		return func(ctx context.Context, data []byte) error {
			return put(ctx, proxy.Client(), proxy.URL+"/sink", struct{ io.Reader }{bytes.NewReader(data)})
		}
	}
}

// overProxy goes to the API by way of a tunnel.
func overProxy(t *testing.T, r *rig) sender {
	var tunnels atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodConnect || "https://"+req.Host != r.url {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		there, err := new(net.Dialer).DialContext(req.Context(), "tcp", req.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		tunnels.Add(1)
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = there.Close()
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		tunnel(here, there)
	}))
	t.Cleanup(proxy.Close)
	t.Cleanup(func() {
		if tunnels.Load() == 0 {
			t.Error("nothing came by the proxy")
		}
	})
	by, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	base := r.base.(*http.Transport)
	base.Proxy = http.ProxyURL(by)
	return func(ctx context.Context, data []byte) error {
		b, err := pipe(t, data)
		if err != nil {
			return err
		}
		return put(ctx, r.client(), r.url+"/sink", b)
	}
}

// tunnel copies until either side is at its end.
func tunnel(a, b net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(a, b)
		_ = a.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(b, a)
		_ = b.Close()
	})
	both.Wait()
}
