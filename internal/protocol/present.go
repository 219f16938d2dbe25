package protocol

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// present calls fn with the record that the claim wrote. done is false if the
// token was refused, but the record cannot be made a tombstone before another look
// at it.
func (f *flight) present(ctx context.Context, held entry, cur tokenclient.Record) (rec tokenclient.Record, done bool, err error) {
	if ctx.Err() != nil {
		return rec, true, f.e.fail(ctx, "refresh", f.key, ctx.Err()) // run takes the claim back
	}
	f.claiming = false
	// fn's context lasts as long as its request may, not as long as the caller
	// waits or the hold lasts: an answer that is thrown away is a lost session.
	detached := context.WithoutCancel(ctx)
	fnCtx, cancel := context.WithTimeout(context.WithValue(detached, reentry{f.e, f.key}, true), f.timeout)
	arg := cur
	arg.Token = cur.Token.Clone() // fn may change it
	res := call(fnCtx, f.fn, arg)
	cancel()
	return f.finish(Urgent(detached), held, cur, res)
}

// outcome is what became of fn.
type outcome struct {
	token *tokenclient.Token
	err   error
	late  bool // fn's context ended before it returned
}

// call runs fn on a goroutine of its own. The deferred send answers for a fn that
// panics or ends its goroutine, as a failed test does. A fn that is late is waited
// for: it may have the only good pair.
func call(ctx context.Context, fn refreshFunc, cur tokenclient.Record) outcome {
	result := make(chan outcome, 1)
	go func() {
		res := outcome{err: errors.New("store: the refresh function ended its goroutine")}
		defer func() {
			if p := recover(); p != nil {
				res = outcome{err: errors.New("store: the refresh function panicked" + panicText(p))}
			}
			result <- res
		}()
		t, err := fn(ctx, cur)
		if err == nil && t == nil {
			err = errors.New("store: the refresh function returned neither a token nor an error")
		} else if err == nil {
			err = notEmpty(t)
		}
		res = outcome{t, err, ctx.Err() != nil}
	}()
	return <-result
}

// panicText shows a panic's value only if it is a text or an error, which were made to
// be read; anything else could be a token. It is a text because a panic has no
// meaning, even if its value is an error that has one.
func panicText(p any) string {
	switch p := p.(type) {
	case error:
		return ": " + p.Error()
	case string:
		return ": " + p
	}
	return fmt.Sprintf(" with a %T", p)
}

// finish does what the outcome of fn asks for. done is as for present. ctx is not
// the caller's: from here on nobody may leave.
func (f *flight) finish(ctx context.Context, held entry, cur tokenclient.Record, res outcome) (rec tokenclient.Record, done bool, err error) {
	switch {
	case res.err == nil:
		rec, err = f.save(ctx, held, res.token)
		return rec, true, err
	case errors.Is(res.err, tokenclient.ErrRefused):
		f.e.rememberRefusal(f.key, held.rec, res.err)
		return f.refuse(ctx, held, res.err)
	}
	announced := held.rec.Announced
	switch {
	case notSpent(res.err):
		announced = f.before
	case unread(res.err):
		// The server is done with the request, and has most likely spent the token. Who
		// waits for the hold would present it a second time within a millisecond.
		f.lingers = unreadPause
	case res.late || timedOut(res.err):
		// The server may be at work on the request, and who presented the token
		// meanwhile would end the session. Whoever gave up early says nothing about
		// that; and if the process was stopped in the call, or the connection was
		// slow to come about, the request left late, and is handled later than the
		// timeout, by up to the margin.
		f.lingers = f.timeout + f.margin
		if age, ok := f.e.timing.elapsed(f.issued); ok {
			f.lingers = max(f.lingers-age, f.margin)
		}
	}
	f.release(ctx, held, announced, f.lingers)
	cur.Announced = int(announced)
	return cur, true, res.err
}

// notSpent tells the failures after which the refresh token is as good as before:
// nothing was sent, or the server answered that it is the request that is at
// fault. A 5xx is not among them: a proxy sends it after the server behind it has
// rotated, too; nor is 408, which may be a proxy's.
func notSpent(err error) bool {
	var t *tokenclient.TokenError
	return errors.Is(err, tokenclient.ErrNotPresented) ||
		errors.As(err, &t) && t.StatusCode >= 400 && t.StatusCode < 500 && t.StatusCode != 408
}

// unreadPause is how long a hold stays after an answer that could not be read.
const unreadPause = time.Second

// unread reports whether err is a complete success that brought no token.
func unread(err error) bool {
	var t *tokenclient.TokenError
	return errors.As(err, &t) && t.StatusCode >= 200 && t.StatusCode < 300
}

// timedOut reports whether err says that there was no answer in time, be it the
// context's time or that of a connection.
func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// release frees the hold in the record, or shortens what is left of it to linger,
// once: if that fails, those who come next wait for the length of the lease, and no
// harm is done.
func (f *flight) release(ctx context.Context, held entry, announced uint8, linger time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, patienceLimit)
	defer cancel()
	r := *held.rec
	r.WriteID, r.LeaseLen, r.Announced = newID(), linger, announced
	if linger == 0 {
		r.Lease = [16]byte{}
	}
	_, _ = f.e.Medium.CompareAndSwap(ctx, f.key, held.raw, r.Encode())
}

// retract takes a claim back that was not used, if it is in the record at all.
func (f *flight) retract(ctx context.Context) {
	ctx, cancel := context.WithTimeout(Urgent(context.WithoutCancel(ctx)), patienceLimit)
	defer cancel()
	q, err := f.e.read(ctx, f.key)
	if err == nil && q.rec != nil && q.rec.Lease == f.lease {
		f.release(ctx, q, f.before, 0)
	}
}
