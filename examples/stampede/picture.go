package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/timeline"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A ride is what became of one request. The goroutine of the request writes it.
type ride struct {
	asked, answered time.Time
	sendings        []sending
}

// A sending is one time that a request went to the API, and came back.
type sending struct {
	from, to time.Time
	status   int
}

type rideKey struct{}

// watched looks at what goes to the API, below the session.
type watched struct{ base http.RoundTripper }

func (w watched) RoundTrip(req *http.Request) (*http.Response, error) {
	s := sending{from: time.Now()}
	resp, err := w.base.RoundTrip(req)
	s.to = time.Now()
	if resp != nil {
		s.status = resp.StatusCode
	}
	if r, ok := req.Context().Value(rideKey{}).(*ride); ok {
		r.sendings = append(r.sendings, s)
	}
	return resp, err
}

// A timed Refresher knows when its last refresh began and ended.
type timed struct {
	tokenclient.Refresher
	from, to time.Time
}

func (t *timed) Refresh(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
	t.from = time.Now()
	defer func() { t.to = time.Now() }()
	return t.Refresher.Refresh(ctx, old)
}

// take makes the request, and notes when.
func (r *ride) take(ctx context.Context, client *http.Client, url string) error {
	r.asked = time.Now()
	err := get(context.WithValue(ctx, rideKey{}, r), client, url)
	r.answered = time.Now()
	return err
}

// draw shows ten of the rides, in the order of their answers, and the refresh that they waited for.
func draw(w io.Writer, rides []*ride, refresh *timed) {
	const shown, width = 10, 60
	byAnswer := slices.SortedFunc(slices.Values(rides), func(a, b *ride) int { return a.answered.Compare(b.answered) })
	began := slices.MinFunc(rides, func(a, b *ride) int { return a.asked.Compare(b.asked) }).asked
	last := byAnswer[len(byAnswer)-1].answered
	d := timeline.New(began, (last.Sub(began)/width + time.Millisecond).Truncate(time.Millisecond))
	for i := range shown {
		n := i * (len(byAnswer) - 1) / (shown - 1)
		drawRide(d.Row(fmt.Sprintf("request %4d", n+1)), byAnswer[n])
	}
	d.Row("the refresh").Span(refresh.from, refresh.to, '=')
	fmt.Fprint(w, d)
	fmt.Fprintf(w, ". waits for the token, - on its way (%d connections), x answered 401, o answered 200\n", connections)
}

func drawRide(row *timeline.Row, r *ride) {
	row.Span(r.asked, r.answered, '.')
	for _, s := range r.sendings {
		row.Span(s.from, s.to, '-')
	}
	for _, s := range r.sendings {
		sign := 'x'
		if s.status == http.StatusOK {
			sign = 'o'
		}
		row.Mark(s.to, sign)
	}
}
