package sessiontest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// Many is n, a tenth of it in short mode, and no more than the race detector can
// follow: it gives up at 8,128 goroutines, and a request needs several.
func Many(n int) int {
	if testing.Short() {
		n /= 10
	}
	if Race {
		n = min(n, 500)
	}
	return n
}

// Crowd calls f from n goroutines and waits for all of them.
func Crowd(n int, f func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(f)
	}
	wg.Wait()
}

// Subject asks the API of a tokentest.Server at base whose token it was sent.
func Subject(ctx context.Context, client *http.Client, base string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/me", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct{ Subject string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != 200 {
		return "", fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	return answer.Subject, nil
}
