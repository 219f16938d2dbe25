package protocol_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestForgedHold: who can write a record, but has no key, can make others wait no longer
// than the longest hold that there may be.
func TestForgedHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &faultyMedium{}
		a := newEngine(m, nil, &testSealer{})
		seen := login(t, a, "k", "a")
		r, err := protocol.DecodeRecord(m.raw("k"))
		if err != nil {
			t.Fatal(err)
		}
		r.Lease, r.LeaseLen = [16]byte{1}, math.MaxUint32*time.Millisecond // 49 days
		m.put("k", r.Encode())
		start := time.Now()
		rec, err := a.Refresh(t.Context(), "k", seen, time.Second, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
			if d := time.Since(start); d != 2*time.Hour {
				t.Errorf("waited %v", d)
			}
			return next(ctx, cur)
		})
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'", 2)
	})
}
