package behaviour_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/sessiontest"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A tenantServer is one address with many virtual hosts. Whose host is named may see
// what is sent.
type tenantServer struct {
	*httptest.Server
	url *url.URL

	mu  sync.Mutex
	got []string // host and Authorization of each request
}

func newTenantServer(t *testing.T) *tenantServer {
	b := new(tenantServer)
	b.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.got = append(b.got, strings.TrimSpace(strings.ReplaceAll(r.Host, b.url.Host, "api")+" "+r.Header.Get("Authorization")))
	}))
	b.url, _ = url.Parse(b.URL)
	t.Cleanup(b.Close)
	return b
}

func (b *tenantServer) seen() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.got, ", ")
}

// gateway is a reverse proxy to b for alice. It is returned with what its ErrorHandler
// was told.
func (b *tenantServer) gateway(t *testing.T, proxy *httputil.ReverseProxy, hosts ...string) (gateway *httptest.Server, failed func() string) {
	t.Helper()
	users := new(store.Memory)
	if _, _, err := users.Replace(t.Context(), "alice", sessiontest.Pair("access-alice", "", 0)); err != nil {
		t.Fatal(err)
	}
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store: users,
		Config: func(context.Context, string) (tokenclient.Config, error) {
			return tokenclient.Config{Refresher: sessiontest.Refresher(), Origins: []string{b.URL}, Hosts: hosts}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	base := new(http.Transport)
	t.Cleanup(base.CloseIdleConnections)
	var mu sync.Mutex
	var errs []string
	proxy.Transport = pool.Transport(base)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err.Error())
		w.WriteHeader(http.StatusBadGateway)
	}
	gateway = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(w, r.WithContext(tokenclient.WithKey(r.Context(), "alice")))
	}))
	t.Cleanup(gateway.Close)
	return gateway, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(errs, ", ")
	}
}

// ask sends what a browser sends that was told that host is the gateway.
func askGateway(t *testing.T, gateway *httptest.Server, host, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, gateway.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := gateway.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestOriginGateway: a gateway passes on the Host that a stranger chose, and the server
// behind it has another virtual host of that name. Before Request.Host was looked at,
// evil-tenant.example got alice's token, and so it did by the path.
func TestOriginGateway(t *testing.T) {
	const evil, alice = "evil-tenant.example", "Bearer access-alice"

	t.Run("NewSingleHostReverseProxy", func(t *testing.T) {
		b := newTenantServer(t)
		gateway, failed := b.gateway(t, httputil.NewSingleHostReverseProxy(b.url))
		if status := askGateway(t, gateway, evil, "/"); status != http.StatusBadGateway || b.seen() != "" {
			t.Errorf("status %d, and the server behind saw %q", status, b.seen())
		}
		for _, want := range []string{"GET to " + b.URL, `"` + evil + `"`, `"` + b.url.Host + `"`, "Request.Host", "Rewrite", "SetURL", "Config.Hosts"} {
			if !strings.Contains(failed(), want) {
				t.Errorf("error %q does not say %q", failed(), want)
			}
		}
		if status := askGateway(t, gateway, b.url.Host, "/"); status != 200 || b.seen() != "api "+alice {
			t.Errorf("status %d, and the server behind saw %q", status, b.seen())
		}
	})

	t.Run("listed", func(t *testing.T) {
		b := newTenantServer(t)
		gateway, failed := b.gateway(t, httputil.NewSingleHostReverseProxy(b.url), "Good-Tenant.example")
		if status := askGateway(t, gateway, "good-tenant.example", "/"); status != 200 || b.seen() != "good-tenant.example "+alice {
			t.Errorf("status %d, error %q, and the server behind saw %q", status, failed(), b.seen())
		}
		if status := askGateway(t, gateway, evil, "/"); status != http.StatusBadGateway || strings.Contains(b.seen(), evil) {
			t.Errorf("status %d, and the server behind saw %q", status, b.seen())
		}
	})

	t.Run("SetURL", func(t *testing.T) {
		b := newTenantServer(t)
		gateway, failed := b.gateway(t, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(b.url) }})
		if status := askGateway(t, gateway, evil, "/"); status != 200 || b.seen() != "api "+alice {
			t.Errorf("status %d, error %q, and the server behind saw %q", status, failed(), b.seen())
		}
	})

	// Cutting a prefix off a path leaves what a server takes for a whole URL.
	t.Run("path", func(t *testing.T) {
		b := newTenantServer(t)
		gateway, failed := b.gateway(t, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(b.url)
			r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, "/api/")
		}})
		if status := askGateway(t, gateway, "", "/api/http://"+evil+"/"); status != http.StatusBadGateway || b.seen() != "" {
			t.Errorf("status %d, and the server behind saw %q", status, b.seen())
		}
		if !strings.Contains(failed(), "URL.Path") {
			t.Errorf("error %q", failed())
		}
	})
}
