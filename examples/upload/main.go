// Command upload sends 64 MiB from a reader that cannot be rewound, on a token that
// the server has revoked.
//
//	go run ./examples/upload
//
// The server refuses the token before it has taken a byte, since the client asks
// before it sends the body ("Expect: 100-continue"). So the whole stream goes out
// with the next token, and no copy of it is ever made. Without
// Transport.ExpectContinue the program would get the 401, with a part of the
// stream gone.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const (
	user = "alice"
	mib  = 1 << 20
	size = 64 * mib

	// A copy of the stream would take all 64 MiB.
	allowed = 16 * mib
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "upload:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer) (err error) {
	server, err := tokentest.Start(nil, nil)
	if err != nil {
		return err
	}
	defer server.Close()

	// How much of the stream was gone when the token had to be refreshed.
	var body *stream
	gone := int64(-1)
	refresher := &tokenclient.JSONRefresher{TokenURL: server.URL + "/token/refresh"}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: tokenclient.RefresherFunc(func(ctx context.Context, old *tokenclient.Token) (*tokenclient.Token, error) {
			gone = body.given.Load()
			return refresher.Refresh(ctx, old)
		}),
		Origins: []string{server.URL},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()

	// The time after which net/http sends the body unasked. That of
	// http.DefaultTransport is a second, enough for most servers.
	base := &http.Transport{ExpectContinueTimeout: 10 * time.Second}
	defer base.CloseIdleConnections()
	transport := session.Transport(base)
	transport.ExpectContinue = true
	transport.MaxReplayBody = -1 // keep nothing: it is not needed here
	client := &http.Client{Transport: transport}

	// Issue stands in for a login.
	if err := session.SetToken(ctx, server.Issue(user)); err != nil {
		return err
	}
	server.RevokeAccess(user)
	fmt.Fprintf(stdout, "The server revoked the token. A stream of %d MiB is sent to it; no byte of it can be read twice.\n", size/mib)

	memory := lookBefore()
	body = newStream(size, memory)
	began := time.Now()
	got, err := upload(ctx, client, server.URL+"/api/upload", body)
	if err != nil {
		return err
	}
	o := outcome{body, gone, got, server.Counters(), time.Since(began), memory, memory.look()}
	o.tell(stdout)
	return o.check()
}

// An outcome is what came of the upload.
type outcome struct {
	sent      *stream
	gone      int64 // of it, at the 401
	got       received
	seen      tokentest.Counters
	took      time.Duration
	memory    *memory
	allocated uint64
}

func (o outcome) tell(stdout io.Writer) {
	fmt.Fprintf(stdout, "The server said 401. By then %d bytes of the stream had been read: there was nothing to keep.\n", o.gone)
	fmt.Fprintf(stdout, "The token was refreshed, and the stream sent with the next one.\n\n")
	fmt.Fprintf(stdout, "sent      %d bytes, sha256 %s\n", o.sent.given.Load(), o.sent.sha256())
	fmt.Fprintf(stdout, "received  %d bytes, sha256 %s\n", o.got.Length, o.got.SHA256)
	fmt.Fprintf(stdout, "The server counted: refreshes %d, requests %d, 401s %d. It took %d ms.\n\n",
		o.seen.Refreshes, o.seen.Requests, o.seen.Unauthorized, o.took.Milliseconds())
	fmt.Fprintf(stdout, "memory in use before      %5.1f MiB\n", inMiB(o.memory.before.HeapAlloc))
	fmt.Fprintf(stdout, "memory in use at most     %5.1f MiB, client and server\n", inMiB(o.memory.peak.Load()))
	fmt.Fprintf(stdout, "allocated meanwhile       %5.1f MiB in all\n", inMiB(o.allocated))
}

func (o outcome) check() error {
	switch {
	case o.gone != 0:
		return fmt.Errorf("not as told: %d bytes of the stream were gone at the 401", o.gone)
	case o.sent.given.Load() != size || o.got.Length != size || o.got.SHA256 != o.sent.sha256():
		return errors.New("not as told: the server did not receive the stream as it was")
	case o.seen.Refreshes != 1 || o.seen.Requests != 2 || o.seen.Unauthorized != 1:
		return fmt.Errorf("not as told: want 1 refresh, 2 requests and one 401, the server counted %+v", o.seen)
	case o.memory.peak.Load() > o.memory.before.HeapAlloc+allowed || o.allocated > allowed:
		return fmt.Errorf("not as told: that is more than %d MiB of memory", allowed/mib)
	}
	return nil
}

func inMiB(n uint64) float64 { return float64(n) / mib }

// received is what the server tells about an upload.
type received struct {
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
}

func upload(ctx context.Context, client *http.Client, url string, body io.Reader) (received, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return received{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return received{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return received{}, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	var got received
	err = json.NewDecoder(resp.Body).Decode(&got)
	return got, err
}
