package protocol_test

import (
	"context"
	"errors"
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

// TestUnreadAnswerPauses: after a complete success that brought no token, those who wait for
// the hold do not present the token at once. After other failures they do.
func TestUnreadAnswerPauses(t *testing.T) {
	for status, want := range map[int]time.Duration{200: time.Second, 204: time.Second, 503: 0, 0: 0} {
		synctest.Test(t, func(t *testing.T) {
			m := &faultyMedium{}
			a, b := newEngine(m, nil, &testSealer{}), newEngine(m, nil, &testSealer{})
			seen := login(t, a, "k", "a")
			failure := &tokenclient.TokenError{StatusCode: status, Err: errors.New("no token")}
			if _, err := a.Refresh(t.Context(), "k", seen, time.Minute, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				return nil, failure
			}); !errors.Is(err, failure) {
				t.Fatal(err)
			}
			failed := time.Now()
			rec, err := b.Refresh(t.Context(), "k", seen, time.Minute, func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
				if d := time.Since(failed); d < want || d > want+time.Second {
					t.Errorf("status %d: presented after %v, want about %v", status, d, want)
				}
				if cur.Announced != 2 {
					t.Errorf("status %d: %d presentations are announced, want 2", status, cur.Announced)
				}
				return next(ctx, cur)
			})
			if err != nil {
				t.Fatal(err)
			}
			wantToken(t, rec, "refresh-a'", 2)
		})
	}
}

// TestTimeoutLingers: after a call that got no answer in time the hold stays until the server is
// done with whatever it may have got, counted from when the call began; and after one that came
// to nothing late, for the margin alone.
func TestTimeoutLingers(t *testing.T) {
	const timeout = 20 * time.Second
	for _, tc := range []struct {
		takes, margin, want time.Duration
	}{
		{0, 0, 21 * time.Second}, // a margin of 0 is a second, of such a call
		{time.Second, 0, 20 * time.Second},
		{timeout, 0, time.Second},
		{time.Minute, 0, time.Second},
		{time.Second, 5 * time.Second, 24 * time.Second},
		{time.Minute, 5 * time.Second, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := &faultyMedium{}
			a := newEngine(m, nil, &testSealer{})
			a.Margin = tc.margin
			seen := login(t, a, "k", "a")
			if _, err := a.Refresh(t.Context(), "k", seen, timeout, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
				if tc.takes > 0 {
					time.Sleep(tc.takes)
				}
				return nil, context.DeadlineExceeded
			}); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			if h := m.header(t); h.Lease == [16]byte{} || h.LeaseLen != tc.want || h.Announced != 1 {
				t.Errorf("after %v, with a margin of %v: held %v for %v, %d announced; want %v", tc.takes, tc.margin, h.Lease != [16]byte{}, h.LeaseLen, h.Announced, tc.want)
			}
		})
	}
}
