package awake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/awake"
)

type key struct{}

func TestWithTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, end := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		end()
		began := time.Now()
		ctx, cancel := awake.WithTimeout(parent, time.Minute)
		defer cancel()
		if ctx.Value(key{}) != "value" {
			t.Error("the values of the parent are not there")
		}
		if deadline, ok := ctx.Deadline(); !ok || deadline.Sub(began) != time.Minute {
			t.Errorf("deadline %v, %v", deadline, ok)
		}
		if err := ctx.Err(); err != nil {
			t.Errorf("it has ended with its parent: %v", err)
		}
		child, cancelChild := context.WithCancel(ctx)
		defer cancelChild()
		<-child.Done()
		if time.Since(began) != time.Minute {
			t.Errorf("it ended after %v", time.Since(began))
		}
		for _, err := range []error{ctx.Err(), context.Cause(ctx), child.Err(), context.Cause(child)} {
			if err != context.DeadlineExceeded {
				t.Errorf("error %v", err)
			}
		}
		cancel()
		if err := ctx.Err(); err != context.DeadlineExceeded {
			t.Errorf("error %v after cancel", err)
		}
	})
}

func TestWithTimeoutCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := awake.WithTimeout(t.Context(), time.Minute)
		child, cancelChild := context.WithCancel(ctx)
		defer cancelChild()
		cancel()
		cancel()
		<-child.Done()
		time.Sleep(time.Hour)
		if err := ctx.Err(); err != context.Canceled || child.Err() != err || context.Cause(ctx) != err {
			t.Errorf("error %v", err)
		}
	})
}

// TestWithTimeoutStopped: a timer that is late because the process was stopped gives the
// answer another second, and one that is late because the machine is busy does not.
func TestWithTimeoutStopped(t *testing.T) {
	for _, tc := range []struct{ late, more time.Duration }{
		{0, 0},
		{249 * time.Millisecond, 0},
		{250 * time.Millisecond, time.Second},
		{time.Hour, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			ctx, cancel := awake.WithLateTimer(t.Context(), time.Minute, time.Minute+tc.late)
			defer cancel()
			<-ctx.Done()
			if got, want := time.Since(began), time.Minute+tc.late+tc.more; got != want {
				t.Errorf("%v late: it ended after %v, want %v", tc.late, got, want)
			}
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("error %v", ctx.Err())
			}
		})
	}
}

// TestWithTimeoutStoppedCanceled: cancel ends the second, too, and no timer is left.
func TestWithTimeoutStoppedCanceled(t *testing.T) {
	for _, after := range []time.Duration{time.Second, time.Minute + time.Second, time.Minute + 2500*time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := awake.WithLateTimer(t.Context(), time.Minute, time.Minute+2*time.Second)
			time.Sleep(after)
			synctest.Wait()
			cancel()
			time.Sleep(time.Hour)
			if ctx.Err() != context.Canceled {
				t.Errorf("canceled after %v: %v", after, ctx.Err())
			}
		})
	}
}
