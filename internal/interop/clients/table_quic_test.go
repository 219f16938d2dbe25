package clients_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// listenQUIC serves the API over HTTP/3.
func (r *rig) listenQUIC(t *testing.T) {
	keys := httptest.NewUnstartedServer(http.NotFoundHandler()) // for its certificate
	keys.StartTLS()
	keys.Close()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http3.Server{Handler: r, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: keys.TLS.Certificates})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(conn) // ends with Close
	}()
	base := &http3.Transport{TLSClientConfig: keys.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	t.Cleanup(func() {
		if err := base.Close(); err != nil {
			t.Error(err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
		_ = conn.Close()
	})
	r.url, r.base = "https://"+conn.LocalAddr().String(), base
}
