package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What an agent does for TestHandOver: it waits at the store alone, without a session, a
// server and a request, each of which takes longer than what is measured.

// handOvers is what an agent's orders have in common.
var handOvers handOver

type handOver struct {
	store tokenclient.Store
	seen  tokenclient.Record // as "see" found it
	notes *os.File           // nil: nothing is written down
}

// What is written down, one a line, with the time.
const (
	noteAsked    = "asked"    // the engine is asked: a read, or a swap
	noteCalled   = "called"   // the token call begins
	noteAnswered = "answered" // it ends
	noteHolder   = "holder"   // who made it has the new token, which is saved
	noteServed   = "served"   // who waited has it
	noteLoads    = "loads"    // an agent begins a Load
	noteLoaded   = "loaded"   // it has it
)

// handOverTimeout is that of the token calls, none of which comes near it.
const handOverTimeout = time.Minute

func (h *handOver) begin(notes string) (err error) {
	if notes != "" {
		h.notes, err = os.OpenFile(notes, os.O_APPEND|os.O_WRONLY, 0)
	}
	return err
}

// note writes one line, in one write: all agents have the same file.
func (h *handOver) note(what string) {
	if h.notes != nil {
		_, _ = fmt.Fprintf(h.notes, "%s %d\n", what, time.Now().UnixNano())
	}
}

func (h *handOver) orders() map[string]func(context.Context, processes.Order) error {
	return map[string]func(context.Context, processes.Order) error{
		"see": func(ctx context.Context, _ processes.Order) (err error) {
			h.seen, err = h.store.Load(ctx, account)
			return err
		},
		"load at":   h.loadAt,
		"hand over": h.refresh,
	}
}

// loadAt loads the token at the time that is o's Limit, so that all agents do it at once.
func (h *handOver) loadAt(ctx context.Context, o processes.Order) error {
	time.Sleep(time.Until(time.Unix(0, o.Limit)))
	h.note(noteLoads)
	_, err := h.store.Load(ctx, account)
	h.note(noteLoaded)
	return err
}

// refresh refreshes what "see" saw, o.Limit times at once. The token call takes o.Pause.
func (h *handOver) refresh(ctx context.Context, o processes.Order) error {
	errs := make([]error, o.Limit)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			last := noteServed
			now, err := h.store.Refresh(ctx, account, h.seen, handOverTimeout,
				func(context.Context, tokenclient.Record) (*tokenclient.Token, error) {
					last = noteHolder
					h.note(noteCalled)
					time.Sleep(o.Pause)
					h.note(noteAnswered)
					return longToken(), nil
				})
			h.note(last)
			if err == nil && now.Number != h.seen.Number+1 {
				err = fmt.Errorf("number %d after %d", now.Number, h.seen.Number)
			}
			errs[i] = err
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// longToken is as long as that of servers whose access tokens are JWTs.
func longToken() *tokenclient.Token {
	return &tokenclient.Token{
		AccessToken:  strings.Repeat("a", 850),
		RefreshToken: strings.Repeat("r", 600),
		Expiry:       time.Now().Add(time.Hour),
	}
}

// noted is kv, and writes down what it is asked.
func noted(kv store.KV) store.KV {
	if n, ok := kv.(store.Notifier); ok {
		return notedNotifier{notedKV{n}, n}
	}
	return notedKV{kv}
}

type notedKV struct{ kv store.KV }

func (n notedKV) Get(ctx context.Context, key string) ([]byte, error) {
	handOvers.note(noteAsked)
	return n.kv.Get(ctx, key)
}

func (n notedKV) CompareAndSwap(ctx context.Context, key string, old, new []byte) (bool, error) {
	handOvers.note(noteAsked)
	return n.kv.CompareAndSwap(ctx, key, old, new)
}

type notedNotifier struct {
	notedKV
	notifier store.Notifier
}

func (n notedNotifier) Watch(key string, changed func()) (hears func() bool, stop func()) {
	return n.notifier.Watch(key, changed)
}
