package dpop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// median is that of a machine which does other things too.
func median(list []time.Duration) float64 {
	slices.Sort(list)
	return float64(list[len(list)/2].Nanoseconds())
}

// BenchmarkRequest is one request with a proof, from Transport.RoundTrip to its Base and back,
// beside one bare ES256 signature of golang-jwt's with the same key, turn and turn about: the
// medians of both. Its goal is at most 1.15 times of that.
func BenchmarkRequest(b *testing.B) {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	p := &dpop.Prover{Signer: signer}
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: tokenclient.RefresherFunc(func(context.Context, *tokenclient.Token) (*tokenclient.Token, error) {
			return nil, tokenclient.ErrLoginRequired
		}),
		Attacher: p, Origins: []string{"https://api.example.com"},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	if err := s.SetToken(b.Context(), &tokenclient.Token{AccessToken: "an-access-token-of-some-forty-characters", TokenType: "DPoP", Expiry: time.Now().Add(time.Hour)}); err != nil {
		b.Fatal(err)
	}
	answer := &http.Response{StatusCode: 200, Header: http.Header{"Dpop-Nonce": {"a-nonce-of-the-server"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}, Body: http.NoBody}
	transport := s.Transport(roundTrip(func(*http.Request) (*http.Response, error) { return answer, nil }))
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://api.example.com/v1/things/42", nil)
	if err != nil {
		b.Fatal(err)
	}
	text := "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7fX0.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIn0"
	var bare, whole []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		if _, err := jwt.SigningMethodES256.Sign(text, signer); err != nil {
			b.Fatal(err)
		}
		between := time.Now()
		if _, err := transport.RoundTrip(req); err != nil {
			b.Fatal(err)
		}
		whole = append(whole, time.Since(between))
		bare = append(bare, between.Sub(began))
	}
	request, signature := median(whole), median(bare)
	b.ReportMetric(request/signature, "times-a-signature")
	b.ReportMetric(request, "ns/request")
	b.ReportMetric(signature, "ns/signature")
	b.ReportMetric(testing.AllocsPerRun(100, func() { _, _ = transport.RoundTrip(req) }), "allocs/request")
	b.ReportMetric(testing.AllocsPerRun(100, func() { _, _ = jwt.SigningMethodES256.Sign(text, signer) }), "allocs/signature")
	b.ReportMetric(0, "B/op")
	b.ReportMetric(0, "allocs/op")
	b.ReportMetric(0, "ns/op")
}
