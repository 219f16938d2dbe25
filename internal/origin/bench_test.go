package origin_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

// BenchmarkJudge is what every request pays. The keys of the header map are looked at
// one by one, and that is most of it: some have the length of one that is looked for.
func BenchmarkJudge(b *testing.B) {
	rules, err := origin.New(origin.Settings{Origins: []string{"https://api.example.com"}})
	if err != nil {
		b.Fatal(err)
	}
	keys := []string{
		"Accept", "User-Agent", "Content-Type", "If-None-Match", "Etag", "X-Request-Id", "Traceparent",
		"Accept-Encoding", "Accept-Language", "Cache-Control", "Cookie", "Idempotency-Key", "Date", "Range",
	}
	for _, n := range []int{0, 7, 14} {
		b.Run(fmt.Sprintf("headers=%d", n), func(b *testing.B) {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://api.example.com/things", nil)
			if err != nil {
				b.Fatal(err)
			}
			for _, key := range keys[:n] {
				req.Header.Set(key, "value")
			}
			b.ReportAllocs()
			for b.Loop() {
				if attach, _, err := rules.Judge(req, "Authorization", nil); !attach || err != nil {
					b.Fatal(attach, err)
				}
			}
		})
	}
}
