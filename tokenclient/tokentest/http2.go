package tokentest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"time"
)

// useHTTP2 is Options.HTTP2, for a server that was not started yet. The network
// in memory has no use for TLS, and a bubble's clock may be at any time.
func (s *Server) useHTTP2(l net.Listener) error {
	server, client := new(http.Protocols), new(http.Protocols)
	server.SetHTTP1(true)
	s.http.Protocols, s.transport.Protocols = server, client
	if _, ok := l.(*memoryNetwork); ok {
		server.SetUnencryptedHTTP2(true)
		client.SetUnencryptedHTTP2(true)
		return nil
	}
	server.SetHTTP2(true)
	client.SetHTTP2(true)
	cert, err := selfSigned(l)
	if err != nil {
		return err
	}
	s.http.ErrorLog = log.New(io.Discard, "", 0) // else each handshake that a client gave up or Close cut
	s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	s.transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	s.URL = "https" + strings.TrimPrefix(s.URL, "http")
	return nil
}

// selfSigned makes a certificate for this machine and the address of l. That of
// package httptest is out of reach without a second server, and importing it
// gives every program a flag.
func selfSigned(l net.Listener) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:         true, // of itself, so that clients can take it for a root

		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		template.IPAddresses = append(template.IPAddresses, a.IP)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// serve accepts connections until the server is closed.
func (s *Server) serve(l net.Listener) {
	if s.http.TLSConfig != nil {
		_ = s.http.ServeTLS(l, "", "") // always ends with an error: Close
		return
	}
	_ = s.http.Serve(l)
}
