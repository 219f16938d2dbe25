package simulation_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A call is a step of the program while it runs.
type call struct {
	step  *step
	p     *process
	user  string
	began time.Duration
	until time.Duration // when its context ends; 0: it does not

	// The goroutine's, and the scheduler's while that waits.
	sendings  int
	seen      []*sending
	cut       bool // the network broke one of its requests
	cutAnswer bool
	stepUp    bool // the API wants a wider scope
	reached   bool // it has got a session, or closes them all
	last      bool // it is of the end of the history, where all is well
	body      *stream
}

func (c *call) who() string { return fmt.Sprintf("p%d #%d", c.p.id, c.step.n) }

// A sending is one request on the wire.
type sending struct {
	call       *call
	host, path string
	method     string
	number     int
	token      string
	proof      *proof        // nil: it has none
	wanted     string        // the nonce that the API wants in its place; "": it takes that
	decided    time.Duration // when its process gave it to the network
	at         time.Duration // when it left
	access     *access
	refused    bool
	demand     string // what the API wanted beyond its token; "": nothing
	heard      bool   // its answer reached the process
	heardAt    time.Duration
}

func (x *sending) String() string {
	token := "no token"
	if x.access != nil {
		token = x.access.String()
	} else if x.token != "" {
		token = "a token that nobody issued"
	}
	return fmt.Sprintf("#%d (%s%s, %s)", x.call.step.n, x.host, x.path, token)
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// A stream is a body that can be read once.
type stream struct {
	rest   *bytes.Reader
	closed bool
	p      *process
}

func (s *stream) Read(p []byte) (int, error) { return s.rest.Read(p) }

func (s *stream) Close() error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.closed = true
	return nil
}

// content is the body of a step's request.
func (st *step) content() []byte {
	if st.to != toAPI || st.kind != request {
		return nil
	}
	n := []int{0, 300, 100, 600}[st.body]
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + (st.n*7+i*i)%26)
	}
	return b
}

// do does a step of the program.
func (w *world) do(p *process, st *step, last bool) {
	c := &call{step: st, p: p, user: st.user, last: last}
	ctx, cancel := context.WithValue(context.Background(), callKey{}, c), context.CancelFunc(func() {})
	p.tell(fmt.Sprintf("step %03d", st.n), func() {
		c.began = w.now()
		if st.patience > 0 {
			c.until = c.began + st.patience
		}
		w.note(c.who(), "%s", st)
		w.judge.begins(c)
	})
	switch {
	case st.patience > 0 && st.cancels:
		ctx, cancel = context.WithCancel(ctx)
		timer := time.AfterFunc(st.patience, cancel)
		defer timer.Stop()
	case st.patience > 0:
		ctx, cancel = context.WithTimeout(ctx, st.patience)
	}
	defer cancel()
	status, err := w.doing(ctx, c)
	if err != nil {
		w.print(fmt.Sprintf("%+v", err))
	}
	p.tell(fmt.Sprintf("step %03d ends", st.n), func() {
		if err != nil {
			w.note(c.who(), "ends with %v", err)
		} else {
			w.note(c.who(), "ends well%s", map[bool]string{true: fmt.Sprintf(", status %d", status)}[status > 0])
		}
		w.judge.ends(c, status, err)
	})
}

// doing does it. The status is that of the last answer; 0: there is none.
func (w *world) doing(ctx context.Context, c *call) (status int, err error) {
	if c.step.kind == request {
		return c.request(ctx)
	}
	if c.step.kind == restart || c.step.kind == rekey {
		if !c.p.restarting.CompareAndSwap(false, true) {
			return 0, nil // it does already
		}
		defer c.p.restarting.Store(false)
		c.reached = true
		err := c.p.close(context.WithoutCancel(ctx))
		if !c.p.dead.Load() {
			c.p.start()
		}
		return 0, err
	}
	s, err := c.p.session(ctx, c.user)
	if err != nil {
		return 0, err
	}
	c.reached = true
	switch c.step.kind {
	case askToken:
		err = c.token(ctx, s)
	case forceRefresh:
		_, err = s.Refresh(ctx)
	case callDo:
		err = s.Do(ctx, func(ctx context.Context, t *tokenclient.Token) error {
			status, err = c.other(ctx, t)
			return err
		})
	case login:
		var t *tokenclient.Token
		c.p.tell(fmt.Sprintf("step %03d login", c.step.n), func() { t = w.judge.logsIn(c) })
		if err = s.SetToken(ctx, t); err == nil {
			c.p.keepFresh(c.user, s)
		}
	case logout:
		c.p.tell(fmt.Sprintf("step %03d logout", c.step.n), func() { w.judge.leaves(c) })
		err = s.Logout(ctx)
	}
	return status, err
}

// request makes an HTTP request and reads the answer.
func (c *call) request(ctx context.Context) (status int, err error) {
	ctx, client := c.p.client(ctx, c.user)
	content := c.step.content()
	var body io.Reader
	method := http.MethodGet
	if len(content) > 0 {
		method, body = http.MethodPost, bytes.NewReader(content)
		if c.step.body != givenAnew {
			c.body = &stream{rest: bytes.NewReader(content), p: c.p}
			body = c.body
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+c.host()+"/"+c.user, body)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		return resp.StatusCode, err
	}
	return resp.StatusCode, nil
}

// other is a call of a protocol without a RoundTripper.
func (c *call) other(ctx context.Context, t *tokenclient.Token) (status int, err error) {
	resp, err := c.otherSending(ctx, t)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		return resp.StatusCode, err
	}
	if resp.StatusCode == http.StatusUnauthorized && !c.stepUp && c.seen[len(c.seen)-1].wanted == "" {
		return resp.StatusCode, fmt.Errorf("the other protocol: %w", tokenclient.ErrRejected)
	}
	return resp.StatusCode, nil
}

// host is where its request goes first.
func (c *call) host() string {
	switch {
	case c.step.kind == request && c.step.to == toElsewhere:
		return otherHost
	case c.p.w.plan.set.audiences && c.step.kind == callDo: // that is for the session's own token
	case (c.p.w.plan.set.bound || c.p.w.plan.set.audiences) && c.p.w.plan.unit(fmt.Sprint("host of ", c.step.n)) < 0.4:
		return secondHost
	}
	return apiHost
}

// otherSending sends the request of another protocol, with what its token needs.
func (c *call) otherSending(ctx context.Context, t *tokenclient.Token) (resp *http.Response, err error) {
	for asked := 0; ; asked++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.host()+"/"+c.user, nil)
		if err != nil {
			return nil, err
		}
		if c.p.prover == nil {
			req.Header.Set("Authorization", "Bearer "+t.AccessToken)
			return line{c.p}.RoundTrip(req)
		}
		req.Response = resp
		if err := c.p.prover.Attach(req, t); err != nil {
			return nil, err
		}
		resp, err = line{c.p}.RoundTrip(req)
		if err != nil || !c.p.prover.Answered(req, resp, t) || asked == maxAsked {
			return resp, err
		}
		_ = resp.Body.Close()
	}
}
