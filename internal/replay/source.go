package replay

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"sync"
	"time"
)

// A source is what the sendings of a request read. One of them at a time may do so: the
// reader, until another one takes its place.
type source struct {
	limit   int64                         // of kept
	often   bool                          // there may be more than two sendings
	getBody func() (io.ReadCloser, error) // the caller's; nil: what is read is kept
	rewind  *rewinder                     // nil: body cannot be read again from where it stood
	expect  *expectation                  // nil: the server was not asked for "100 Continue"
	first   sending                       // there is always one

	spoolDir string // "": nothing is kept in a file
	maxSpool int64

	mu      sync.Mutex    // guards all below; not held while body is used
	body    io.ReadCloser // the caller's, or the last that getBody gave; nil: it is closed
	earlier []io.Closer   // what getBody took the place of, and shall be closed with body
	reader  *sending      // who may read; nil: nobody
	reading bool          // a Read is at work
	ended   chan struct{} // closed when that Read ends; nil: nobody waits for it
	nth     int           // how many sendings have taken the place of another
	decided bool          // it is known which sending closes the body

	kept  []byte // what earlier sendings read, after what is in spool
	spool *spool // nil: there is none
	over  bool   // more was read than is kept
	err   error  // what body ended with: but for io.EOF in its own sending; in a Read that was handed on, with that too
}

var (
	errOver = errors.New("tokenclient: the request is sent again, and its first sending is over")
	errBusy = errors.New("tokenclient: the request cannot be sent again while its body is being read")
)

// takeBackTime is how long a Read may take to end before GetBody is called. GetBody says
// that the body can be had again, so it is no stream that waits for somebody.
const takeBackTime = 5 * time.Second

func newSource(req *http.Request, o Options, e *expectation) *source {
	s := &source{limit: o.Limit, often: o.Often, getBody: req.GetBody, body: req.Body, spoolDir: o.SpoolDir, maxSpool: o.MaxSpool, expect: e}
	s.first.source = s
	s.reader = &s.first
	if req.GetBody == nil {
		s.rewind = newRewinder(req.Body, req.ContentLength)
	}
	if s.rewind != nil && s.rewind.plain {
		s.limit = 0
	}
	return s
}

// readBody is a Read of s that has begun.
func (src *source) readBody(s *sending, body io.Reader, p []byte) (n int, err error) {
	ended := false
	defer func() {
		if !ended {
			src.broke()
		}
	}()
	n, err = body.Read(p)
	if src.rewind != nil {
		n, err = src.rewind.read(p[:n], err)
	}
	ended = true
	return src.end(s, p[:n], err)
}

// begin begins a Read of s, and returns the body, or the file with what earlier sendings had
// read; unless it can be answered at once: with what they had read and is in memory, n bytes
// of which are in p then, or with an error. It waits for a Read that was handed on, but not
// before all that came earlier was sent: the server may have to see it first.
func (src *source) begin(s *sending, p []byte) (n int, body io.Reader, file *spool, err error) {
	src.mu.Lock()
	defer src.mu.Unlock()
	for {
		switch {
		case src.reader != s:
			return 0, nil, nil, errOver
		case src.body == nil, s.closed:
			return 0, nil, nil, http.ErrBodyReadAfterClose
		case s.nth > 0 && src.spool.after(s.inSpool) > 0:
			return 0, nil, src.spool, nil
		case s.nth > 0 && len(src.kept) > s.inKept:
			n = copy(p, src.kept[s.inKept:])
			s.inKept += n
			if src.decided { // nobody else is going to read it
				src.kept, s.inKept = src.kept[s.inKept:], 0
			}
			if len(src.kept) == 0 {
				src.kept = nil
			}
			return n, nil, nil, nil
		case s.nth > 0 && src.err != nil:
			return 0, nil, nil, src.err
		case !src.reading:
			src.reading = true
			return 0, src.body, nil, nil
		}
		ended := src.endedLocked()
		src.mu.Unlock()
		<-ended
		src.mu.Lock()
	}
}

// end ends a Read of s, which brought p and err.
func (src *source) end(s *sending, p []byte, err error) (int, error) {
	src.mu.Lock()
	defer src.mu.Unlock()
	defer src.endReadLocked()
	src.keepLocked(s, p)
	if src.reader != s {
		if src.handedOnLocked() {
			src.err = err
		}
		return 0, errOver
	}
	if err != nil && err != io.EOF && !src.decided { //nolint:errorlint // io.Reader: the end is io.EOF itself
		src.err = err
	}
	return len(p), err
}

// broke ends a Read that panicked. The body is not sent again.
func (src *source) broke() {
	src.mu.Lock()
	defer src.mu.Unlock()
	defer src.endReadLocked()
	src.over, src.rewind = true, nil
	src.forgetLocked()
}

func (src *source) endReadLocked() {
	src.reading = false
	if src.ended != nil {
		close(src.ended)
		src.ended = nil
	}
}

func (src *source) endedLocked() <-chan struct{} {
	if src.ended == nil {
		src.ended = make(chan struct{})
	}
	return src.ended
}

// takeClosersLocked returns what is to be closed, for the only one who closes it.
func (src *source) takeClosersLocked() []io.Closer {
	src.forgetLocked()
	list := src.earlier
	if src.body != nil {
		list = append(list, src.body)
	}
	src.body, src.earlier = nil, nil
	return list
}

func closeAll(list []io.Closer) error {
	var errs []error
	for _, c := range list {
		if err := c.Close(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

func (src *source) handOver() {
	src.mu.Lock()
	src.decided = true
	if r := src.reader; r == nil || r.nth == 0 || r.closed || len(src.kept) <= r.inKept && src.spool.after(r.inSpool) <= 0 {
		src.forgetLocked() // the answer may be read for hours
	}
	var list []io.Closer
	if src.reader == nil || src.reader.closed {
		list = src.takeClosersLocked()
	}
	src.mu.Unlock()
	src.expect.end()
	_ = closeAll(list)
}

// takeBack returns the body of the next sending.
func (src *source) takeBack(ctx context.Context) (io.ReadCloser, bool) {
	src.mu.Lock()
	if src.decided { // what was kept is being forgotten, and the body closed
		src.mu.Unlock()
		return nil, false
	}
	again := &sending{source: src, nth: src.nth + 1}
	broken := src.err != nil && (src.nth == 0 || src.err != io.EOF) //nolint:errorlint // io.Reader: the end is io.EOF itself
	open := src.getBody
	if open == nil && src.over && src.rewind != nil && !broken {
		open = src.rewind.rewind
	}
	if open != nil {
		src.mu.Unlock()
		if src.reopen(ctx, again, open) != nil {
			return nil, false
		}
		src.expect.end()
		return again, true
	}
	defer src.mu.Unlock()
	if src.over || broken {
		return nil, false
	}
	src.nth, src.decided, src.reader = again.nth, !src.often, again
	src.expect.end()
	if src.decided && len(src.kept) == 0 && src.spool == nil && !src.reading {
		body := src.body
		src.body = nil
		return body, true // as it came; net/http has short cuts for files
	}
	return again, true
}

// reopen gives next, and nobody else, the body that open returns. That may be the same one,
// rewound: so it waits until nothing reads it.
func (src *source) reopen(ctx context.Context, next *sending, open func() (io.ReadCloser, error)) error {
	if err := src.cutOff(ctx); err != nil {
		return err
	}
	body, err := open()
	if err != nil {
		return err
	}
	src.mu.Lock()
	defer src.mu.Unlock()
	if src.body != nil && !same(src.body, body) {
		src.earlier = append(src.earlier, src.body)
	}
	src.body, src.reader, src.err = body, next, nil
	if next.nth > src.nth {
		src.nth, src.decided = next.nth, !src.often
	}
	return nil
}

// cutOff takes the place of the reader away, when its Read has ended. An error says that it
// goes on as the reader.
func (src *source) cutOff(ctx context.Context) error {
	src.mu.Lock()
	defer src.mu.Unlock()
	reader := src.reader
	src.reader = nil
	if !src.reading {
		return nil
	}
	ended := src.endedLocked()
	src.mu.Unlock()
	timer := time.NewTimer(takeBackTime)
	defer timer.Stop()
	err := errBusy
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	src.mu.Lock()
	if !src.reading {
		return nil
	}
	src.reader = reader
	return err
}

func (src *source) busy() bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	return src.reading
}

// same reports whether a and b are one body, which is closed once.
func same(a, b io.ReadCloser) bool {
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}
