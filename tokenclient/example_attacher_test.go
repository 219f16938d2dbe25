package tokenclient_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A stamped Attacher has another one put the token on the request, and adds the client's
// time in milliseconds.
type stamped struct{ tokenclient.Attacher }

func (s stamped) Attach(req *http.Request, t *tokenclient.Token) error {
	if err := s.Attacher.Attach(req, t); err != nil {
		return err
	}
	req.Header.Set("X-Timestamp", strconv.FormatInt(time.Now().UnixMilli(), 10))
	return nil
}

// An Attacher of one's own that wraps another: each request carries the time at which it
// was sent, beside the token, and a replay one of its own.
func ExampleAttacher() {
	began := time.Now().UnixMilli()
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		at, err := strconv.ParseInt(r.Header.Get("X-Timestamp"), 10, 64)
		fmt.Println(r.Header.Get("Authorization"), "in time:", err == nil && at >= began)
	}))
	defer api.Close()

	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api.URL + "/token/refresh"},
		Attacher:  stamped{tokenclient.Bearer{}},
		Origins:   []string{api.URL},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer session.Close(ctx)
	if err := session.SetToken(ctx, &tokenclient.Token{AccessToken: "access-1"}); err != nil {
		fmt.Println(err)
		return
	}
	resp, err := session.Client().Get(api.URL + "/things")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	// Output:
	// Bearer access-1 in time: true
}
