package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"
)

// TestContenders: what is compared works. Each contender sends what it was given,
// with its token.
func TestContenders(t *testing.T) {
	for _, c := range contenders {
		t.Run(c.name, func(t *testing.T) {
			i := newIssuer()
			var got []*http.Request
			base := &server{issuer: i, seen: func(req *http.Request) { got = append(got, req) }}
			s, err := c.open(place{base: base, issuer: i, origin: origin})
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if status, err := s.get(t.Context(), origin+"/things"); err != nil || status != http.StatusOK {
				t.Fatalf("get: %d, %v", status, err)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+"/hot", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Caller", "value")
			resp, err := s.hot(req)()
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("hot: %v, %v", resp, err)
			}
			if last := got[len(got)-1]; last.URL.Path != "/hot" || last.Header.Get("X-Caller") != "value" {
				t.Errorf("hot sent %s with %v", last.URL, last.Header)
			}
			if base.refused.Load() != 0 {
				t.Error("a request had no token, or another one")
			}
		})
	}
}

func BenchmarkHot(b *testing.B) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, headers := range headerCounts {
			for _, c := range contenders {
				b.Run(fmt.Sprintf("%s/%d/%s", method, headers, c.name), func(b *testing.B) {
					call, closeIt, err := hotCall(c, method, headers)
					if err != nil {
						b.Fatal(err)
					}
					defer closeIt()
					b.ReportAllocs()
					for b.Loop() {
						if err := call(); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func BenchmarkStampede(b *testing.B) {
	for _, expired := range []bool{true, false} {
		for _, c := range contenders {
			b.Run(fmt.Sprintf("expired=%t/%s", expired, c.name), func(b *testing.B) {
				var seen stampedeSeen
				for b.Loop() {
					if err := stampedeOnce(c, full.callers, expired, &seen); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(seen.took.median()/1e6, "wall-ms")
				b.ReportMetric(seen.took.quantile(0)/1e6, "least-wall-ms")
				b.ReportMetric(seen.calls.median(), "token-calls")
				b.ReportMetric(seen.handed.median(), "401s-handed")
			})
		}
	}
}

func BenchmarkGet(b *testing.B) {
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			s, err := c.open(place{base: newStill(), issuer: newIssuer(), origin: origin})
			if err != nil {
				b.Fatal(err)
			}
			defer s.close()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.get(context.Background(), origin+"/things"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
