package grpcauth

import (
	"context"
	"errors"
	"io"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A second is the second attempt of a stream, as a call of the function of Session.Do that lasts
// until it is known what came of it. So the session learns whether the refresh before it helped, and
// the attempt has the token of the user of the first one.
//
// What came of it says conclude, or gRPC if the program never reads: a stream may also end with its
// connection. So the goroutine lasts no longer than the attempt.
type second struct {
	lent chan loan     // has what Do lends
	came chan error    // has what came of the attempt
	over chan struct{} // closed when Do has returned err
	err  error
}

// A loan is what Do gives its function.
type loan struct {
	ctx   context.Context
	token *tokenclient.Token
}

// begin makes the second call of the Do that ctx is from. Its over comes without lent if there is
// no token for it.
func begin(ctx context.Context, s *tokenclient.Session) *second {
	d := &second{lent: make(chan loan, 1), came: make(chan error, 1), over: make(chan struct{})}
	go func() {
		defer close(d.over)
		d.err = s.Do(ctx, func(ctx context.Context, t *tokenclient.Token) error {
			d.lent <- loan{ctx, t}
			select {
			case err := <-d.came:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return d
}

// tell says that err came of the attempt. The first that is said counts.
func (d *second) tell(err error) {
	select {
	case d.came <- err:
	default:
	}
}

// concludes says that err, of RecvMsg, came of the attempt, whose creds these are, and returns when
// the session knows.
func (d *second) concludes(c *creds, err error) {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	d.tell(c.judge(err))
	<-d.over
}
