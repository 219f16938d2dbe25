package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/servers"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A lossy proxy cuts the connection instead of passing on the answer to a swap.
type lossy struct {
	address string
	swaps   atomic.Int64 // that were answered since lose was set
	lose    atomic.Int64 // number of the swap whose answer is lost, 0: none
}

func newLossy(t *testing.T, server string) *lossy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &lossy{address: l.Addr().String()}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(ctx, client, server) })
		}
	})
	return p
}

func (p *lossy) serve(ctx context.Context, client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	// A swap is asked for in one piece, which is small, and answered before the
	// next is asked for.
	var swap atomic.Bool
	go func() { // ends when either connection is closed
		_ = pump(server, client, func(request []byte) bool {
			swap.Store(bytes.Contains(request, []byte("evalsha")))
			return true
		})
		server.Close()
	}()
	_ = pump(client, server, func(answer []byte) bool {
		return !swap.Load() || bytes.HasPrefix(answer, []byte("-NOSCRIPT")) || p.swaps.Add(1) != p.lose.Load()
	})
}

// pump copies until pass says no.
func pump(to io.Writer, from io.Reader, pass func([]byte) bool) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !pass(buffer[:n]) {
			return nil
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
}

// losing makes the proxy lose the answer to the n-th swap from now.
func (p *lossy) losing(n int64) {
	p.swaps.Store(0)
	p.lose.Store(n)
}

// A swap is not sent again by go-redis, which does that with all else.
func TestLostReplyIsAnError(t *testing.T) {
	s := servers.Redis(t)
	p := newLossy(t, s.Address)
	kv := redisstore.New(connect(t, &redis.Options{Addr: p.address}), "")
	direct := connect(t, &redis.Options{Addr: s.Address})
	mustSwap(t, kv, nil, one)

	before := calls(t, direct, "evalsha")
	p.losing(1)
	if swapped, err := kv.CompareAndSwap(t.Context(), key, one, two); err == nil || swapped {
		t.Errorf("after a lost answer: %t, %v", swapped, err)
	}
	if n := calls(t, direct, "evalsha") - before; n != 1 {
		t.Errorf("Redis was asked %d times", n)
	}
	mustHave(t, kv, two)
}

// A resender is a client that sends each command again after a lost reply.
type resender struct{ redis.UniversalClient }

func (r resender) Process(ctx context.Context, cmd redis.Cmder) error {
	again := redis.NewCmd(ctx, cmd.Args()...)
	if cmd.Name() != "evalsha" {
		return r.UniversalClient.Process(ctx, cmd)
	}
	again.SetFirstKeyPos(3)
	err := r.UniversalClient.Process(ctx, again)
	// cmd holds the answer in a field that only go-redis can set.
	if cmd, ok := cmd.(interface{ SetVal(any) }); ok {
		cmd.SetVal(again.Val())
	}
	cmd.SetErr(err)
	return err
}

// Whichever answer is lost, whether it then is an error or, because the client asked
// again, a false: the store finds out what happened.
func TestLostRepliesAreMadeUpFor(t *testing.T) {
	s := servers.Redis(t)
	p := newLossy(t, s.Address)
	client := connect(t, &redis.Options{Addr: p.address})
	for name, kv := range map[string]store.KV{
		"error": redisstore.New(client, "error:"),
		"false": redisstore.New(resender{client}, "false:"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Run("KV", func(t *testing.T) {
				mustSwap(t, kv, nil, one)
				p.losing(1)
				swapped, err := kv.CompareAndSwap(t.Context(), key, one, two)
				if swapped || (err != nil) != (name == "error") {
					t.Errorf("CompareAndSwap: %t, %v: the test does not test what it says", swapped, err)
				}
			})
			sessions := shared(t, kv)
			for lost := range int64(4) { // 0: none
				t.Run(fmt.Sprintf("login, lost %d", lost), func(t *testing.T) {
					p.losing(lost)
					now, _, err := sessions.Replace(t.Context(), t.Name(), token(1))
					if err != nil || now.Number != 1 || now.State != tokenclient.Active {
						t.Errorf("%+v, %v", now, err)
					}
				})
				t.Run(fmt.Sprintf("logout, lost %d", lost), func(t *testing.T) {
					login(t, p, sessions)
					p.losing(lost)
					now, was, err := sessions.Replace(t.Context(), t.Name(), nil)
					if err != nil || now.State != tokenclient.LoggedOut || was.Token == nil {
						t.Errorf("%+v after %+v, %v", now, was, err)
					}
				})
				t.Run(fmt.Sprintf("refresh, lost %d", lost), func(t *testing.T) {
					seen := login(t, p, sessions)
					p.losing(lost)
					calls := 0
					now, err := sessions.Refresh(t.Context(), t.Name(), seen, time.Minute, func(_ context.Context, r tokenclient.Record) (*tokenclient.Token, error) {
						calls++
						if r.Announced != 1 {
							t.Errorf("announced %d times", r.Announced)
						}
						return token(2), nil
					})
					if err != nil || calls != 1 || now.Number != 2 {
						t.Errorf("%+v, %v after %d calls", now, err, calls)
					}
					if r, err := sessions.Load(t.Context(), t.Name()); err != nil || r.Token.RefreshToken != "refresh-2" {
						t.Errorf("stored: %+v, %v", r, err)
					}
				})
				t.Run(fmt.Sprintf("refused, lost %d", lost), func(t *testing.T) {
					seen := login(t, p, sessions)
					p.losing(lost)
					_, err := sessions.Refresh(t.Context(), t.Name(), seen, time.Minute, refused)
					if !errors.Is(err, tokenclient.ErrRefused) {
						t.Error(err)
					}
					if r, _ := sessions.Load(t.Context(), t.Name()); r.State != tokenclient.Refused {
						t.Errorf("stored: %+v", r)
					}
				})
				t.Run(fmt.Sprintf("failed, lost %d", lost), func(t *testing.T) {
					seen := login(t, p, sessions)
					p.losing(lost)
					_, err := sessions.Refresh(t.Context(), t.Name(), seen, 100*time.Millisecond, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
						return nil, tokenclient.ErrNotPresented
					})
					if !errors.Is(err, tokenclient.ErrNotPresented) {
						t.Error(err)
					}
					// If the release was lost on its way back, it was made all the same.
					if now, err := sessions.Refresh(t.Context(), t.Name(), seen, time.Second, returns(token(2))); err != nil || now.Number != 2 {
						t.Errorf("%+v, %v", now, err)
					}
				})
				t.Run(fmt.Sprintf("rolled back, lost %d", lost), func(t *testing.T) {
					seen := login(t, p, sessions)
					seen.Number, seen.Token = 5, token(5)
					p.losing(lost)
					now, err := sessions.Refresh(t.Context(), t.Name(), seen, time.Minute, returns(token(6)))
					if err != nil || now.Number != 6 {
						t.Errorf("%+v, %v", now, err)
					}
				})
			}
		})
	}
}

// login stores a token, with no answer lost.
func login(t *testing.T, p *lossy, sessions *store.Shared) tokenclient.Record {
	t.Helper()
	p.losing(0)
	seen, _, err := sessions.Replace(t.Context(), t.Name(), token(1))
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func returns(token *tokenclient.Token) func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
	return func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return token, nil }
}
